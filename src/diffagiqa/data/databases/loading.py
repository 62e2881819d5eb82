"""Name and folder -> a database that can be used, or one message that says why it cannot."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from diffagiqa.data.databases.agiqa import AGIQA_1K, AGIQA_3K
from diffagiqa.data.databases.aigc import AIGCIQA2023, AIGIQA_20K, PKU_AIGIQA_4K
from diffagiqa.data.databases.check import check_database
from diffagiqa.data.databases.choices import HPDV2, IMAGE_REWARD, PICK_A_PIC
from diffagiqa.data.databases.database import Database
from diffagiqa.data.databases.files import Folder
from diffagiqa.data.databases.listing import build
from diffagiqa.data.databases.named import EVALMI, Q_EVAL
from diffagiqa.data.databases.raters import EVALMUSE, GENAI_BENCH
from diffagiqa.data.wording import counted
from diffagiqa.errors import DatabaseError, quoted

_SOURCES = (
    AGIQA_1K, AGIQA_3K, AIGCIQA2023, AIGIQA_20K, PKU_AIGIQA_4K, EVALMUSE, GENAI_BENCH, EVALMI, Q_EVAL,
    HPDV2, IMAGE_REWARD, PICK_A_PIC,
)  # fmt: skip
DATABASES = {source.name: source for source in _SOURCES}


def database_name(text: str) -> str:
    """The key in ``DATABASES`` of a name written with or without hyphens and capitals.

    >>> database_name("AGIQA3K"), database_name("ratings.csv")
    ('agiqa-3k', 'ratings.csv')
    """
    plain = text.lower().replace("-", "").replace("_", "")
    return {name.replace("-", ""): name for name in DATABASES}.get(plain, text)


def read_database(name: str, root: str | os.PathLike[str]) -> Database:
    """The database as it lies there, faults and all: for ``check_database``.

    Raises:
        DatabaseError: where label files or their columns are missing, so that there is no table.
    """
    source = DATABASES.get(name)
    if source is None:
        raise DatabaseError(
            f"{quoted(name)} is no known database; known are {', '.join(DATABASES)}"
        )
    folder = Folder(root)
    return build(name, folder, source.read(folder), source.scales, source)


def verified(
    database: Database, allow_partial: bool = False, skip_unreadable: bool = False
) -> Database:
    """The database with the check's notes.

    A table that lists fewer rows than the distribution (some prompts, one part of the split) is a
    partial database, and ``notes`` say so. Rows whose image is not there go with ``allow_partial``, those
    whose image cannot be read with ``skip_unreadable``, and ``notes`` say so too.

    Raises:
        DatabaseError: one message that names everything that makes it unusable.
    """
    if allow_partial:
        there = database.table["path"].notna().to_numpy()
        database = _only(database, there, "images are not there")
    report = check_database(database)
    if skip_unreadable and report.unreadable:
        read = ~database.table["path"].isin(report.unreadable).to_numpy()
        database = _only(database, read, "images cannot be read")
        report = check_database(database)
    if report.errors:
        remedies = []
        if database.table["path"].isna().any():
            remedies.append("--allow-partial leaves out rows without an image")
        if report.unreadable:
            remedies.append("--unreadable skip leaves out rows whose image cannot be read")
        raise DatabaseError(
            f"{database.name} in {database.root} cannot be used: "
            f"{'; '.join([*report.errors, *remedies])}"
        )
    return replace(database, notes=report.notes)


def _only(database: Database, mask: NDArray[np.bool_], why: str) -> Database:
    """Some rows, with a note about the others; all, where none would be left."""
    if mask.all() or not mask.any():
        return database
    rows = f"of {counted(len(mask), 'row')}"
    are = counted(int((~mask).sum()), f"{rows} is", f"{rows} are")
    return database.select(mask, f"{are} left out: their {why}")
