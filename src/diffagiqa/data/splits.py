"""Tables of rated images -> train, validation and test parts, saved so that anyone can rerun them.

The unit that is drawn is a *group*, which is never on two sides: the prompt (``by="prompt"``, the honest
one: with 300 prompts over 10 generator settings, a random image almost always has siblings in the
training part), the image (``by="image"``, what many papers report), or any other column, such as
``subject`` or ``generator``. ``leave_out_split`` holds out generators and prompts at once, which says how
a model does on a new generator. Byte-identical files with different prompts are different groups; leave
them out first (``Database.without_duplicates``).
"""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diffagiqa.data.atomic import write_file
from diffagiqa.data.samples import quoted
from diffagiqa.data.wording import counted
from diffagiqa.errors import DatabaseError

if TYPE_CHECKING:
    import pandas as pd

Rows = NDArray[np.int64]
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
        fractions: asked shares of test and validation rows; empty for official splits.
        table_hash: SHA-256 of the images and prompts that were split (see ``table_hash``).
        train, validation, test: image names, sorted; where generators are left out, some are in none.
    """

    kind: str
    seed: int | None
    fractions: Mapping[str, float]
    table_hash: str
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def rows(self, table: pd.DataFrame) -> dict[str, Rows]:
        """Row positions of each part, ascending, in the very table that was split.

        Raises:
            DatabaseError: where the table holds other images or prompts.
        """
        found = table_hash(table)
        if found != self.table_hash:
            names, known = set(table["image"]), {*self.train, *self.validation, *self.test}
            raise DatabaseError(
                f"the table has hash {found[:12]} with {counted(len(table), 'row')}, and the split was "
                f"made from {self.table_hash[:12]} "
                f"({counted(len(names - known), 'image is', 'images are')} new, "
                f"{len(known - names)} gone, or prompts differ); use the same database, or make the "
                "split again"
            )
        part_of = {name: part for part in PARTS for name in getattr(self, part)}
        parts = table["image"].map(part_of).to_numpy()
        return {part: np.flatnonzero(parts == part) for part in PARTS}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write as JSON."""
        write_file(path, json.dumps(asdict(self), indent=1) + "\n")

    @staticmethod
    def load(path: str | os.PathLike[str], table: pd.DataFrame | None = None) -> Split:
        """Read what ``save`` wrote, and verify it against ``table`` where one is given.

        Raises:
            DatabaseError: where the file is no split, or names an image twice, or the table is another.
        """
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
            parts = {part: tuple(map(str, values.pop(part))) for part in PARTS}
            split = Split(**{**values, **parts})
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise DatabaseError(
                f"{path} is not a saved split ({error}); expected JSON with kind, seed, fractions, "
                "table_hash, train, validation and test"
            ) from None
        names = [name for part in PARTS for name in parts[part]]
        if len(set(names)) != len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise DatabaseError(
                f"{path} names {counted(len(twice), 'image')} twice ({twice[0]}); make the split again"
            )
        if table is not None:
            split.rows(table)
        return split


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
        own = "group" in table
        keys = map(str, table["group"]) if own else map(prompt_key, map(str, table["prompt"]))
        return [key or f"\0{image}" for key, image in zip(keys, table["image"], strict=True)]
    if by not in table or table[by].isna().all():
        known = [name for name in ("image", "prompt", "subject", "generator") if name in table]
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
    among: Collection[str] | None = None,
) -> Split:
    """Draw whole groups at random until each part has its share of the rows.

    A function of (the images and prompts, seed, fractions, by), not of the rows' order. The test part
    does not depend on ``validation``, so figures with and without early stopping share it.

    Args:
        table: with columns ``image`` and ``prompt``.
        test, validation: shares of all rows; a part may exceed its share by less than one group.
        by: "prompt", "image", or another column.
        among: prompts that test images may have; any by default. For models part of which has seen the
            others: what was pretrained on them has then seen no test prompt.

    Raises:
        DatabaseError: where the shares are out of range, a part would be empty, or ``among`` holds too
            few images.
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
    allowed = _allowed(table, keys, among)
    rows = round(test * len(keys))
    tested = _take([group for group in order if group in allowed], sizes, rows)
    if (filled := sum(sizes[group] for group in tested)) < rows:
        raise DatabaseError(
            f"the prompts that may be tested have {counted(filled, 'image')}, and {rows} are to be "
            "drawn; give more prompts or a smaller share"
        )
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
    fractions = {"test": test, "validation": validation}
    return _split(table, parts, by, seed, fractions)


def _take(order: Sequence[str], sizes: Mapping[str, int], rows: int) -> set[str]:
    """The first groups, until they have so many rows."""
    before = accumulate((sizes[group] for group in order), initial=0)
    return {group for group, filled in zip(order, before, strict=False) if filled < rows}


def _allowed(table: pd.DataFrame, keys: Sequence[str], among: Collection[str] | None) -> set[str]:
    """The groups all of whose images have prompts ``among``."""
    if among is None:
        return set(keys)
    known = {prompt_key(prompt) for prompt in among}
    seen = [prompt_key(str(prompt)) in known for prompt in table["prompt"]]
    return set(keys) - {key for key, tested in zip(keys, seen, strict=True) if not tested}


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
    shared = {key for key, own in zip(prompts, families, strict=True) if own != chosen}
    parts = []
    for image, own, key in zip(table["image"], families, prompts, strict=True):
        part = part_of[str(image)]
        if own == chosen:
            parts.append("test" if part == "test" or key not in shared else "")
        else:
            parts.append("" if part == "test" else part)
    if empty := sorted({"train", "test"} - set(parts)):
        raise DatabaseError(
            f"without the generators of {quoted(chosen)} the {empty[0]} part is empty; leave out others"
        )
    fractions = {"test": test, "validation": validation}
    return _split(table, parts, f"leaving out {chosen}", seed, fractions)


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
    parts: Mapping[str, Sequence[int] | Rows],
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


def official_split(table: pd.DataFrame, parts: Mapping[str, Sequence[int] | Rows] | None) -> Split:
    """The split that a database is distributed with, from ``Database.official_splits``."""
    if not parts:
        raise DatabaseError(
            "this database is distributed without a split; split at random, by prompt or by image"
        )
    names = np.full(len(table), "", dtype=object)
    for part, rows in parts.items():
        names[np.asarray(rows, dtype=np.int64)] = part
    if (names == "").any():
        raise DatabaseError(
            f"{(names == '').sum()} of {counted(len(table), 'row')} are in no part of the official "
            "split; leave them out first"
        )
    return _split(table, list(names), "official", None, {})


def repeats(
    table: pd.DataFrame, n: int = 10, seed: int = 0, **options: Any
) -> list[Split]:  # options of random_split
    """``n`` random splits with the seeds seed, seed + 1, ..., seed + n - 1."""
    return [random_split(table, seed=seed + i, **options) for i in range(n)]


def _split(
    table: pd.DataFrame,
    parts: Sequence[str],
    kind: str,
    seed: int | None,
    fractions: Mapping[str, float],
) -> Split:
    names: dict[str, set[str]] = {part: set() for part in (*PARTS, "")}
    for image, part in zip(table["image"], parts, strict=True):
        names[part].add(str(image))
    for first, second in (("train", "test"), ("train", "validation"), ("validation", "test")):
        if both := names[first] & names[second]:
            raise DatabaseError(
                f"{len(both)} image names are in {first} and in {second} ({min(both)}); "
                "image names must be unique, or stay on one side"
            )
    train, validation, test = (tuple(sorted(names[part])) for part in PARTS)
    return Split(kind, seed, dict(fractions), table_hash(table), train, validation, test)
