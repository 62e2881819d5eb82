"""What a reader finds in a database's label files, before any image is looked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from diffagiqa.data.cells import cell_number, cell_text
from diffagiqa.data.databases.database import Database, Expected, Scale
from diffagiqa.data.databases.files import Folder, identical_files
from diffagiqa.data.preferences import PreferenceGroup
from diffagiqa.data.samples import quoted
from diffagiqa.data.splits import PARTS, prompt_key
from diffagiqa.data.wording import counted
from diffagiqa.errors import DatabaseError, TableError

if TYPE_CHECKING:
    import pandas as pd

_MISSING = ("", "nan", "none", "na", "<na>")
PERCEPTION, AUTHENTICITY, ALIGNMENT = "perception", "authenticity", "alignment"


@dataclass(frozen=True)
class Listing:
    """The rows of a database as its label files name them.

    Attributes:
        table: columns image, prompt, generator, one per task, and what else the database says;
            ``elsewhere`` is another name that the image may have, ``path`` where it is known to lie.
        parts: the part of the official split that each row is in ("train", "validation", "test"), or
            None where the distribution has no split.
        notes: what was found on the way, one sentence each.
        groups: preferences, as groups of the table's rows.
    """

    table: pd.DataFrame
    parts: list[str] | None = None
    notes: tuple[str, ...] = ()
    groups: tuple[PreferenceGroup, ...] = ()


@dataclass(frozen=True)
class Source:
    """One database as distributed: how to read its labels, where its images lie, what it should hold.

    Attributes:
        read: folder -> listing; raises DatabaseError where label files or columns are missing.
        scales: opinion scores' range by task, as the database's paper or its files say.
        folders: sub-folders that the distribution keeps images in.
        expected: rows, distinct prompts and generators of a whole copy.
        scale_of: scales where they depend on the copy (see AIGCIQA2023).
    """

    name: str
    title: str
    read: Callable[[Folder], Listing]
    scales: Mapping[str, Scale]
    folders: tuple[str, ...]
    expected: Expected
    citation: str
    licence: str
    home: str
    scale_of: Callable[[Listing], Mapping[str, Scale]] | None = field(default=None)


def number_columns(table: pd.DataFrame, names: list[str], where: Path | str) -> None:
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


def build(
    name: str,
    folder: Folder,
    listing: Listing,
    scales: Mapping[str, Scale],
    folders: tuple[str, ...] = (),
    *,
    expected: Expected = Expected(),
    citation: str = "",
    licence: str = "",
    home: str = "",
) -> Database:
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
    tasks = tuple(scales)
    first = ["image", "path", "prompt", "generator", "group", "duplicates", *tasks]
    table = table[[*first, *(column for column in table if column not in first)]]
    splits: dict[str, NDArray[np.int64]] | None = None
    if listing.parts is not None:
        parts = np.array(listing.parts, dtype=object)
        splits = {part: np.flatnonzero(parts == part) for part in PARTS if (parts == part).any()}
    return Database(
        name, folder.root, table, tasks, dict(scales), splits,
        citation, licence, home, expected, listing.notes, listing.groups,
    )  # fmt: skip


def _number_repeated_paths(table: pd.DataFrame, start: int) -> None:
    """Rows that share one file are duplicates too; ``identical_files`` sees that file only once."""
    shared = table["path"].notna() & table["path"].duplicated(keep=False)
    for path in dict.fromkeys(table.loc[shared & (table["duplicates"] == -1), "path"]):
        table.loc[table["path"] == path, "duplicates"] = start
        start += 1
