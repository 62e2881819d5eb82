"""Everything that is unusual about a database, found in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffagiqa.data.databases.database import Database
from diffagiqa.data.images import decode_image
from diffagiqa.data.members import member_size, split_member
from diffagiqa.data.preferences import pairs_of
from diffagiqa.data.samples import printable
from diffagiqa.data.wording import counted
from diffagiqa.errors import ImageError

BINS = 20  # of the histograms, over the whole scale
TAIL = 64  # bytes of a file's end in which the mark of its end is looked for
ENDS = {".jpg": b"\xff\xd9", ".jpeg": b"\xff\xd9", ".png": b"IEND"}
SMALL = 0.2  # files below this share of the median size are opened: one colour compresses that well


@dataclass(frozen=True)
class LabelSummary:
    """One task's opinion scores: their number, spread and histogram over the scale (``BINS`` bins)."""

    task: str
    scale: tuple[float, float]
    labelled: int
    lowest: float
    highest: float
    mean: float
    std: float
    histogram: tuple[int, ...]


@dataclass(frozen=True)
class PreferenceSummary:
    """Groups of compared images: how many, the largest, and their pairs, of which ``ties`` are tied."""

    groups: int
    largest: int
    pairs: int
    ties: int


@dataclass(frozen=True)
class CheckReport:
    """What a database holds and what is wrong with it.

    Attributes:
        rows, prompts: rows, and distinct prompts (compared as ``prompt_key`` does).
        generators: rows per generator, most first.
        labels: one summary per task.
        preferences: of a database of preferences, None of any other.
        official: rows per part of the official split; empty without one.
        errors: why it cannot be used as it is; a whole database has none.
        notes: what a reader of its figures must know: parts missing, duplicates, missing labels.
        unreadable: paths of the images that were opened and cannot be read.
    """

    name: str
    root: str
    rows: int
    prompts: int
    generators: dict[str, int]
    labels: tuple[LabelSummary, ...]
    official: dict[str, int]
    errors: tuple[str, ...]
    notes: tuple[str, ...]
    unreadable: tuple[str, ...] = ()
    preferences: PreferenceSummary | None = None

    @property
    def usable(self) -> bool:
        return not self.errors

    def as_json(self) -> dict[str, Any]:
        """Plain values for ``json.dumps``; numbers without a value are None."""
        values = {**asdict(self), "usable": self.usable}
        for summary in values["labels"]:
            for key, value in summary.items():
                if isinstance(value, float) and not np.isfinite(value):
                    summary[key] = None
        return values


def check_database(database: Database, decode: bool = False) -> CheckReport:
    """Verify counts, names, files, labels and duplicates; nothing is raised, everything is listed.

    Args:
        decode: open every image too (about 5 ms each), not only those that are suspiciously small
            or do not end as their format does, as a copy that was cut short.
    """
    table = database.table
    summaries = tuple(_summary(database, task) for task in database.tasks)
    errors = [*_missing(database), *_outside(summaries), *_empty(database, summaries)]
    notes = [*database.notes, *_counts(database), *_labels(summaries, len(table))]
    notes += [*_without_prompts(database), *_names(database), *_duplicates(database)]
    unreadable, plain = _images(database, decode)
    if unreadable:
        names = table.loc[table["path"].isin(unreadable), "image"].drop_duplicates().tolist()
        errors.append(f"{counted(len(unreadable), 'image')} cannot be read: {_some(names)}")
    if plain:
        are = counted(len(plain), "image is", "images are")
        notes.append(f"{are} of one colour only: {_some(plain)}")
    counts = table["generator"].value_counts()
    parts = database.official_splits or {}
    return CheckReport(
        name=database.name,
        root=str(database.root),
        rows=len(table),
        prompts=table["group"][table["prompt"] != ""].nunique(),
        generators={str(name): int(count) for name, count in counts.items()},
        labels=summaries,
        official={part: len(rows) for part, rows in parts.items()},
        errors=tuple(errors),
        notes=tuple(notes),
        unreadable=tuple(unreadable),
        preferences=_preferences(database),
    )


def _preferences(database: Database) -> PreferenceSummary | None:
    if not database.groups:
        return None
    outcomes = pairs_of(database.groups).outcome
    largest = max(len(group.rows) for group in database.groups)
    return PreferenceSummary(
        len(database.groups), largest, len(outcomes), int((outcomes == 0.5).sum())
    )


def _summary(database: Database, task: str) -> LabelSummary:
    values = database.table[task].to_numpy(dtype=np.float64)
    values = values[np.isfinite(values)]
    low, high = database.scales[task]
    histogram, _ = np.histogram(np.clip(values, low, high), bins=BINS, range=(low, high))
    known = len(values) > 0
    return LabelSummary(
        task,
        (low, high),
        len(values),
        float(values.min()) if known else float("nan"),
        float(values.max()) if known else float("nan"),
        float(values.mean()) if known else float("nan"),
        float(values.std()) if known else float("nan"),
        tuple(int(count) for count in histogram),
    )


def _missing(database: Database) -> list[str]:
    names = database.table.loc[database.table["path"].isna(), "image"].tolist()
    if not names:
        return []
    return [
        f"{len(names)} of {counted(len(database), 'image')} are not below {database.root}: {_some(names)}"
    ]


def _outside(summaries: Sequence[LabelSummary]) -> list[str]:
    return [
        f"{s.task} runs from {s.lowest:.4g} to {s.highest:.4g}, outside its scale of {s.scale[0]:g} to "
        f"{s.scale[1]:g}"
        for s in summaries
        if s.labelled and not (s.scale[0] - 1e-6 <= s.lowest and s.highest <= s.scale[1] + 1e-6)
    ]


def _empty(database: Database, summaries: Sequence[LabelSummary]) -> list[str]:
    found = ["the table has no rows"] if len(database) == 0 else []
    blank = _blank(database)
    if blank.any() and not blank.all():
        rows = [str(row + 1) for row in np.flatnonzero(blank)]
        have = counted(len(rows), "row has", "rows have")
        found.append(f"{have} no prompt: {'row' if len(rows) == 1 else 'rows'} {_some(rows)}")
    if not database.tasks and not database.groups:
        found.append("the table has neither scores nor preferences")
    return found + [f"{s.task} has no scores" for s in summaries if not s.labelled]


def _blank(database: Database) -> NDArray[np.bool_]:
    """Of each row, whether it has no prompt."""
    return (database.table["prompt"].str.strip() == "").to_numpy(dtype=np.bool_)


def _without_prompts(database: Database) -> list[str]:
    if not len(database) or not _blank(database).all():
        return []
    return [
        "no row has a prompt, so every image goes with the empty one, and no split can be by prompt"
    ]


def _counts(database: Database) -> list[str]:
    """A part of a database is fine, and never passes for the whole."""
    expected, table = database.expected, database.table
    found = {
        "rows": (len(table), expected.rows),
        "prompts": (table["group"].nunique(), expected.prompts),
        "generators": (table["generator"].nunique(), expected.generators),
    }
    off = [
        f"{have} of {want} {what}"
        for what, (have, want) in found.items()
        if want not in (None, have)
    ]
    if not off:
        return []
    more = any(want is not None and have > want for have, want in found.values())
    kind = "not the distributed database" if more else "a part of the database"
    return [f"this copy is {kind}: {', '.join(off)}"]


def _labels(summaries: Sequence[LabelSummary], rows: int) -> list[str]:
    return [
        f"{rows - s.labelled} of {rows} rows {'has' if rows - s.labelled == 1 else 'have'} no {s.task} "
        "score"
        for s in summaries
        if 0 < s.labelled < rows
    ]


def _names(database: Database) -> list[str]:
    twice = database.table["image"][database.table["image"].duplicated()].unique().tolist()
    stand = counted(len(twice), "image name stands", "image names stand")
    return [f"{stand} in more than one row: {_some(twice)}"] if twice else []


def _duplicates(database: Database) -> list[str]:
    copies = database.table[database.table["duplicates"] != -1]
    if copies.empty:
        return []
    sets = copies.groupby("duplicates")
    prompts = int((sets["group"].nunique() > 1).sum())
    first = " = ".join(map(str, sets.get_group(copies["duplicates"].iloc[0])["image"]))
    return [
        f"{len(copies)} rows in {counted(sets.ngroups, 'set')} have byte-identical files, "
        f"{prompts} of the sets "
        f"with different prompts ({first}); leave them out of measurements"
    ]


def _images(database: Database, decode: bool) -> tuple[list[str], list[str]]:
    """Paths of images that cannot be read, and names of those of one colour."""
    table = database.table[database.table["path"].notna()].drop_duplicates("path")
    files = [database.root / path for path in table["path"]]
    # NaN, which is below no limit, for cells of tables: they would have to be read to know.
    sizes = np.array([member_size(str(file)) for file in files], dtype=np.float64)
    limit = SMALL * np.nanmedian(sizes) if np.isfinite(sizes).any() else 0.0
    unreadable, plain = [], []
    named = zip(table["image"], table["path"], files, sizes, strict=True)
    for name, path, file, size in named:
        if not (decode or size < limit or _cut_short(file)):
            continue
        try:
            image = decode_image(str(file))
        except ImageError:
            unreadable.append(path)
            continue
        if float(image.max() - image.min()) == 0:
            plain.append(name)
    return unreadable, plain


def _cut_short(file: Path) -> bool:
    """Whether a JPEG or PNG does not end as such files do; whole ones with more behind it are rare."""
    end = ENDS.get(file.suffix.lower())
    if end is None or split_member(str(file)):  # archives have checksums
        return False
    try:
        with file.open("rb") as content:
            content.seek(max(0, file.stat().st_size - TAIL))
            return end not in content.read()
    except OSError:
        return True  # reading it says why


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(printable(str(name)) for name in names[:3])
    return shown + (", ..." if len(names) > 3 else "")
