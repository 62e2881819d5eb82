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
from diffagiqa.data.splits import PARTS
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
    labels = tuple(_summary(database, task) for task in database.tasks)
    errors, notes = _errors(database, labels), [*database.notes, *_notes(database, labels)]
    unreadable, plain = _images(database, decode)
    if unreadable:
        names = table.loc[table["path"].isin(unreadable), "image"].drop_duplicates().tolist()
        errors.append(f"{counted(len(unreadable), 'image')} cannot be read: {_some(names)}")
    if plain:
        are = counted(len(plain), "image is", "images are")
        notes.append(f"{are} of one colour only: {_some(plain)}")
    parts = table["part"].value_counts() if "part" in table else {}
    return CheckReport(
        name=database.name,
        root=str(database.root),
        rows=len(table),
        prompts=table["group"][table["prompt"] != ""].nunique(),
        generators={str(name): int(n) for name, n in table["generator"].value_counts().items()},
        labels=labels,
        official={part: int(parts[part]) for part in PARTS if part in parts},
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
    values = database.table[task]
    low, high = database.scales[task]
    clipped = values.dropna().clip(low, high)
    histogram, _ = np.histogram(clipped, bins=BINS, range=(low, high))
    return LabelSummary(
        task, (low, high), len(clipped), float(values.min()), float(values.max()),
        float(values.mean()), float(values.std(ddof=0)), tuple(map(int, histogram)),
    )  # fmt: skip


def _errors(database: Database, labels: Sequence[LabelSummary]) -> list[str]:
    table, errors = database.table, []
    if absent := table["image"][table["path"].isna()].tolist():
        images = counted(len(table), "image")
        errors.append(f"{len(absent)} of {images} are not below {database.root}: {_some(absent)}")
    errors += [
        f"{s.task} runs from {s.lowest:.4g} to {s.highest:.4g}, outside its scale of {s.scale[0]:g} to "
        f"{s.scale[1]:g} ({_some(table['image'][outside].tolist())})"
        for s in labels
        if (
            outside := (table[s.task] < s.scale[0] - 1e-6) | (table[s.task] > s.scale[1] + 1e-6)
        ).any()
    ]
    if table.empty:
        errors.append("the table has no rows")
    blank = np.flatnonzero(_blank(database))
    if 0 < len(blank) < len(table):
        have, rows = (
            counted(len(blank), "row has", "rows have"),
            "row" if len(blank) == 1 else "rows",
        )
        errors.append(f"{have} no prompt: {rows} {_some([str(row + 1) for row in blank])}")
    if not database.tasks and not database.groups:
        errors.append("the table has neither scores nor preferences")
    return errors + [f"{s.task} has no scores" for s in labels if not s.labelled]


def _blank(database: Database) -> NDArray[np.bool_]:
    """Of each row, whether it has no prompt."""
    return (database.table["prompt"].str.strip() == "").to_numpy(dtype=np.bool_)


def _notes(database: Database, labels: Sequence[LabelSummary]) -> list[str]:
    table, notes = database.table, []
    counts = {
        "rows": len(table), "prompts": table["group"].nunique(),
        "generators": table["generator"].nunique(),
    }  # fmt: skip
    expected = database.source.expected if database.source else {}
    off = {what: number for what, number in expected.items() if number != counts[what]}
    if off:  # a part of a database is fine, and never passes for the whole
        more = any(counts[what] > number for what, number in off.items())
        kind = "not the distributed database" if more else "a part of the database"
        shares = ", ".join(f"{counts[what]} of {number} {what}" for what, number in off.items())
        notes.append(f"this copy is {kind}: {shares}")
    for s in labels:
        if 0 < s.labelled < len(table):
            bare = len(table) - s.labelled
            have = "has" if bare == 1 else "have"
            notes.append(f"{bare} of {len(table)} rows {have} no {s.task} score")
    if len(table) and _blank(database).all():
        notes.append(
            "no row has a prompt, so every image goes with the empty one, and no split can be by prompt"
        )
    if twice := table["image"][table["image"].duplicated()].unique().tolist():
        stand = counted(len(twice), "image name stands", "image names stand")
        notes.append(f"{stand} in more than one row: {_some(twice)}")
    copies = table[table["duplicates"] != -1]
    if len(copies):
        sets = copies.groupby("duplicates")
        prompts = int((sets["group"].nunique() > 1).sum())
        first = " = ".join(map(str, sets.get_group(copies["duplicates"].iloc[0])["image"]))
        notes.append(
            f"{len(copies)} rows in {counted(sets.ngroups, 'set')} have byte-identical files, "
            f"{prompts} of the sets with different prompts ({first}); leave them out of measurements"
        )
    return notes


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
