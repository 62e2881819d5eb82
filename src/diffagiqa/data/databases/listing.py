"""What a reader finds in a database's label files, before any image is looked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diffagiqa.data.cells import cell_number, cell_text
from diffagiqa.data.databases.database import Database, Scale, Source
from diffagiqa.data.databases.files import Folder, columns, identical_files, read_sheet
from diffagiqa.data.preferences import PreferenceGroup
from diffagiqa.data.samples import quoted
from diffagiqa.data.splits import prompt_key
from diffagiqa.data.wording import counted
from diffagiqa.errors import DatabaseError, TableError

if TYPE_CHECKING:
    import pandas as pd

_MISSING = ("", "nan", "none", "na", "<na>")
_PARTS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation",
          "test": "test"}  # fmt: skip
PERCEPTION, AUTHENTICITY, ALIGNMENT = "perception", "authenticity", "alignment"


@dataclass(frozen=True)
class Listing:
    """The rows of a database as its label files name them.

    Attributes:
        table: columns image, prompt, generator, one per task, and what else the database says;
            ``elsewhere`` is another name that the image may have, ``path`` where it is known to lie,
            ``part`` its part of the official split, "train", "validation" or "test".
        notes: what was found on the way, one sentence each.
        groups: preferences, as groups of the table's rows.
    """

    table: pd.DataFrame
    notes: tuple[str, ...] = ()
    groups: tuple[PreferenceGroup, ...] = ()


def number_columns(table: pd.DataFrame, names: Sequence[str], where: Path) -> None:
    """Make label columns float64 in place; empty cells become NaN, words raise an error naming them."""
    for name in names:
        values = [cell_number(cell) for cell in table[name]]
        texts = [str(cell).strip() for cell in table[name]]
        gaps = [row for row, value in enumerate(values) if value is None]
        if wrong := [row for row in gaps if texts[row].lower() not in _MISSING]:
            raise DatabaseError(
                f"{where} has {counted(len(wrong), 'score that is', 'scores that are')} no number "
                f"in {quoted(name)} (row {wrong[0] + 1}: {quoted(texts[wrong[0]])}); correct them, "
                "or leave the cells empty"
            )
        table[name] = np.array(values, dtype=np.float64)


def read_rated(where: Path, wanted: Mapping[str, str], scores: Sequence[str]) -> pd.DataFrame:
    """The wanted columns {new name: name in the file} of a table, those of ``scores`` as numbers."""
    table = columns(read_sheet(where), wanted, where)
    number_columns(table, scores, where)
    return table


def part_of(text: str) -> str | None:
    """The part of a split by one of its usual names, "train", "validation" or "test"; None for others."""
    return _PARTS.get(text.strip().lower())


def build(
    name: str, folder: Folder, listing: Listing, scales: Mapping[str, Scale],
    source: Source | None = None,
) -> Database:  # fmt: skip
    """Look for the images, number groups and duplicates, and put the columns in order."""
    import pandas as pd

    table = listing.table.reset_index(drop=True)
    for column in ("image", "prompt", "generator"):
        try:
            table[column] = table[column].map(cell_text).astype(object)
        except TableError as fault:
            raise DatabaseError(f"{name} has a row without a {column}: {fault}") from None
    table["generator"] = table["generator"].str.strip().replace("", "unknown")
    others = table.pop("elsewhere") if "elsewhere" in table else table["image"]
    given = table.pop("path") if "path" in table else [None] * len(table)
    folders = source.folders if source else ()
    paths = [
        path or folder.image(image, folders) or folder.image(other, folders)
        for path, image, other in zip(given, table["image"], others, strict=True)
    ]
    table["path"] = pd.Series(paths, dtype=object)  # None stays None
    if "group" not in table:
        table["group"] = [prompt_key(prompt) for prompt in table["prompt"]]
    files = {path: folder.root / path for path in paths if path is not None}
    sets = identical_files(files.values())
    numbers = {path: sets.get(file, -1) for path, file in files.items()}
    table["duplicates"] = [-1 if path is None else numbers[path] for path in paths]
    _number_repeated_paths(table, len(set(sets.values())))
    if source and source.rescaled:
        tasks = [task for task in scales if task in table]
        scales = dict.fromkeys(tasks, (0.0, 100.0 if table[tasks].max().max() > 5 else 5.0))
    first = ["image", "path", "prompt", "generator", "group", "duplicates", *scales]
    table = table[[*first, *(column for column in table if column not in first)]]
    return Database(name, folder.root, table, scales, listing.notes, listing.groups, source)


def _number_repeated_paths(table: pd.DataFrame, start: int) -> None:
    """Rows that share one file are duplicates too; ``identical_files`` sees that file only once."""
    shared = table["path"].notna() & table["path"].duplicated(keep=False)
    for path in dict.fromkeys(table.loc[shared & (table["duplicates"] == -1), "path"]):
        table.loc[table["path"] == path, "duplicates"] = start
        start += 1
