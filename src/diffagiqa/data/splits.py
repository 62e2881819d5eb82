"""Tables of rated images -> train, validation and test parts.

The unit that is drawn is a *group*, which is never on two sides: the prompt (``by="prompt"``, the honest
one: with 300 prompts over 10 generator settings, a random image almost always has siblings in the
training part), the image (``by="image"``, what many papers report), or any other column.
``leave_out_split`` holds out generators and prompts at once, which says how a model does on a new
generator. Byte-identical files with different prompts are different groups; leave them out first
(``Database.without_duplicates``).
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from diffagiqa.data.samples import quoted
from diffagiqa.data.wording import counted
from diffagiqa.errors import DatabaseError

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("train", "validation", "test")
ELSEWHERE = "another database"


def prompt_key(prompt: str) -> str:
    """The prompt as groups compare it: no case, no width variants, one space, no marks at the ends.

    >>> prompt_key(" A  Corgi. ") == prompt_key('"a corgi"')
    True
    """
    text = " ".join(unicodedata.normalize("NFKC", prompt).casefold().split())
    return text.strip(" .,;:!?\"'") or text


@dataclass(frozen=True)
class Split:
    """Which images are trained on, chosen by and judged by, by their names in the table.

    Attributes:
        kind: "prompt", "image", another column that was split by, "official", or "leaving out" and
            the family of generators that only the test part has.
        seed: of the draw; None for official splits.
        train, validation, test: image names, sorted; where generators are left out, some are in none.
    """

    kind: str
    seed: int | None
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def rows(self, images: Iterable[str]) -> dict[str, list[int]]:
        """Positions of each part, ascending, among the images of a table; others are passed over."""
        part_of = {name: part for part in PARTS for name in getattr(self, part)}
        rows: dict[str, list[int]] = {part: [] for part in PARTS}
        for row, image in enumerate(images):
            if (part := part_of.get(str(image))) is not None:
                rows[part].append(row)
        return rows


def table_hash(table: pd.DataFrame) -> str:
    """SHA-256 (hex) of images and prompts, in the order of the images: it ignores the rows' order."""
    lines = sorted(zip(table["image"].astype(str), table["prompt"].astype(str), strict=True))
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()


def group_keys(table: pd.DataFrame, by: str) -> list[str]:
    """The group of each row: the unit that is never on two sides.

    "prompt" takes the column ``group`` where the table has one, else ``prompt_key`` of the prompt, and
    an image without one by itself; "image" the image's name; anything else is a column.
    """
    if by == "prompt":
        grouped = "group" in table
        keys = map(str, table["group"]) if grouped else map(prompt_key, map(str, table["prompt"]))
        return [key or f"\0{image}" for key, image in zip(keys, table["image"], strict=True)]
    if by not in table or table[by].isna().all():
        known = [name for name in ("image", "prompt", "generator") if name in table]
        raise DatabaseError(
            f"this table has no column {quoted(by)} to split by; expected one of {', '.join(known)}"
        )
    return [str(value) for value in table[by]]


def random_split(
    table: pd.DataFrame,
    test: float = 0.2,
    seed: int = 0,
    by: str = "prompt",
    validation: float = 0.0,
) -> Split:
    """Draw whole groups at random until each part has its share of the rows.

    A function of (the images and prompts, seed, shares, by), not of the rows' order. The test part
    does not depend on ``validation``, so figures with and without early stopping share it.

    Args:
        table: with columns ``image`` and ``prompt``.
        test, validation: shares of all rows; a part may exceed its share by less than one group.
        by: "prompt", "image", or another column.

    Raises:
        DatabaseError: where the shares are out of range, or a part would be empty.
    """
    if not (0 < test < 1 and 0 <= validation < 1 and test + validation < 1):
        raise DatabaseError(
            f"the shares are test={test} and validation={validation}; "
            "expected test above 0, validation at least 0, and less than 1 together"
        )
    keys = group_keys(table, by)
    sizes = Counter(keys)
    groups = sorted(sizes)
    order = [groups[i] for i in np.random.default_rng(seed).permutation(len(groups))]
    tested = _take(order, sizes, round(test * len(keys)))
    rest = [group for group in order if group not in tested]
    validated = _take(rest, sizes, round(validation * len(keys)))
    part_of = dict.fromkeys(tested, "test") | dict.fromkeys(validated, "validation")
    parts = [part_of.get(key, "train") for key in keys]
    needed = {"train", "test"} | ({"validation"} if validation else set())
    if empty := sorted(needed - set(parts)):
        raise DatabaseError(
            f"{counted(len(keys), 'row')} in {counted(len(groups), 'group')} by {by} would "
            f"leave {', '.join(empty)} empty; give more rows or other shares"
        )
    return _split(table, parts, by, seed)


def _take(order: Sequence[str], sizes: Mapping[str, int], rows: int) -> set[str]:
    """The first groups, until they have so many rows."""
    before = accumulate((sizes[group] for group in order), initial=0)
    return {group for group, filled in zip(order, before, strict=False) if filled < rows}


def generator_family(name: str) -> str:
    """A generator without its setting: what stands before the first "_", without case.

    >>> generator_family("sd1.5_lowcorr"), generator_family("Flux")
    ('sd1.5', 'flux')
    """
    return name.partition("_")[0].strip().casefold()


def leave_out_split(
    table: pd.DataFrame,
    family: str | None = None,
    test: float = 0.2,
    seed: int = 0,
    validation: float = 0.0,
) -> Split:
    """Test on generators and prompts that training never saw.

    A share of the prompts is drawn as by ``random_split``. The test part is the images that a left-out
    generator made of them, and of prompts that no other generator has; training and validation have the
    other generators' images of the other prompts. The rest of the images are in no part.

    Args:
        table: with columns ``image``, ``prompt`` and ``generator``.
        family: of generators that are left out (see ``generator_family``); by default the one of number
            ``seed`` modulo their count, in the order of their names.
        test, validation: shares of prompts, as in ``random_split``.
        seed: of the draw.

    Raises:
        DatabaseError: there is no such family, or no other, or a part would be empty.
    """
    families = [generator_family(name) for name in group_keys(table, "generator")]
    known = sorted(set(families))
    chosen = known[seed % len(known)] if family is None else generator_family(family)
    if chosen not in known or len(known) < 2:
        raise DatabaseError(
            f"generators of {quoted(chosen)} cannot be left out of {', '.join(known)}; "
            "name one of several"
        )
    drawn = random_split(table, test, seed, "prompt", validation)
    part_of = {name: part for part in PARTS for name in getattr(drawn, part)}
    prompts = group_keys(table, "prompt")
    shared = {key for key, other in zip(prompts, families, strict=True) if other != chosen}
    parts = []
    for image, generator, key in zip(table["image"], families, prompts, strict=True):
        part = part_of[str(image)]
        if generator == chosen:
            parts.append("test" if part == "test" or key not in shared else "")
        else:
            parts.append("" if part == "test" else part)
    if empty := sorted({"train", "test"} - set(parts)):
        raise DatabaseError(
            f"without the generators of {quoted(chosen)} the {empty[0]} part is empty; leave out others"
        )
    return _split(table, parts, f"leaving out {chosen}", seed)


@dataclass(frozen=True)
class SplitFacts:
    """How a result was split, which decides what it may be compared with.

    Attributes:
        kind: as in ``Split``; or ``ELSEWHERE``.
        test: rows of the test part.
        seen: of them, those whose prompt is in the training or validation part.
        prompts: distinct prompts of the test part.
        new_generators: those of the test part that training has no image of.
    """

    kind: str
    test: int
    seen: int
    prompts: int
    new_generators: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """What is printed with every result.

        >>> SplitFacts("image", 597, 597, 290).sentence
        'split by image: the prompts of 597 of 597 test rows (100 %) are in training'
        """
        how = f"split by {self.kind}"
        if self.kind.startswith("leaving out"):
            how = f"split by prompt, {self.kind}"
        elif self.kind in ("official", ELSEWHERE):
            how = "split as published" if self.kind == "official" else f"tested on {self.kind}"
        share = f" ({100 * self.seen / self.test:.0f} %)" if self.seen else ""
        text = f"{how}: the prompts of {self.seen} of {self.test} test rows{share} are in training"
        if self.new_generators:
            text += f"; new generators: {', '.join(self.new_generators)}"
        return text


def split_facts(
    kind: str,
    prompts: Sequence[str],
    generators: Sequence[str],
    parts: Mapping[str, Sequence[int]],
) -> SplitFacts:
    """The facts of a split, from what all rows have and the rows of each part.

    Args:
        kind: how it was made.
        prompts, generators: (N,) of every row; "" and "unknown" where there is none.
        parts: row positions of "train", "test" and perhaps "validation".
    """
    trained = [*parts["train"], *parts.get("validation", ())]
    seen = {prompt_key(prompts[row]) for row in trained} - {""}
    tested = [prompt_key(prompts[row]) for row in parts["test"]]
    known = {generators[row] for row in trained} | {"unknown"}
    new = sorted({generators[row] for row in parts["test"]} - known)
    repeated = sum(key in seen for key in tested)
    return SplitFacts(kind, len(tested), repeated, len(set(tested) - {""}), tuple(new))


def official_split(table: pd.DataFrame) -> Split:
    """The split that a database is distributed with: its column ``part``."""
    return _split(table, table["part"].tolist(), "official", None)


def _split(table: pd.DataFrame, parts: Sequence[str], kind: str, seed: int | None) -> Split:
    names: dict[str, set[str]] = {part: set() for part in (*PARTS, "")}
    for image, part in zip(table["image"], parts, strict=True):
        names[part].add(str(image))
    for first, second in (("train", "test"), ("train", "validation"), ("validation", "test")):
        if both := names[first] & names[second]:
            raise DatabaseError(
                f"{len(both)} image names are in {first} and in {second} ({min(both)}); "
                "image names must be unique, or stay on one side"
            )
    return Split(kind, seed, *(tuple(sorted(names[part])) for part in PARTS))
