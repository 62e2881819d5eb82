"""Name and folder -> a database that can be used, or one message that says why it cannot."""

from __future__ import annotations

import os
from dataclasses import replace

from diffagiqa.data.databases.agiqa import AGIQA_1K, AGIQA_3K, MADE
from diffagiqa.data.databases.aigc import AIGCIQA2023, AIGIQA_20K, PKU_AIGIQA_4K
from diffagiqa.data.databases.check import CheckReport, check_database
from diffagiqa.data.databases.database import Database
from diffagiqa.data.databases.files import Folder
from diffagiqa.data.databases.listing import Source, build
from diffagiqa.errors import DatabaseError

DATABASES: dict[str, Source] = {
    source.name: source
    for source in (AGIQA_1K, AGIQA_3K, MADE, AIGCIQA2023, AIGIQA_20K, PKU_AIGIQA_4K)
}


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
        raise DatabaseError(f"{name!r} is no known database; known are {', '.join(DATABASES)}")
    folder = Folder(root)
    listing = source.read(folder)
    return build(
        name, folder, listing, source.scales if source.scale_of is None else source.scale_of(listing),
        source.folders, expected=source.expected, citation=source.citation, licence=source.licence,
        home=source.home,
    )  # fmt: skip


def load_database(
    name: str, root: str | os.PathLike[str], *, allow_partial: bool = False
) -> Database:
    """Read one of ``DATABASES`` and verify it.

    A table that lists fewer rows than the distribution (some prompts, one part of the split) is a
    partial database: it loads, and ``notes`` say so. A table that lists images which are not there is
    an error, unless ``allow_partial``: then those rows go, and ``notes`` say so too.

    Args:
        name: "agiqa-1k", "agiqa-3k", "aigciqa2023", "aigiqa-20k" or "pku-aigiqa-4k".
        root: folder that it was unpacked to.

    Raises:
        DatabaseError: one message that names everything that makes it unusable.
        MissingExtraError: where it needs openpyxl and that is not installed.
    """
    database = read_database(name, root)
    return usable(database, check_database(database), allow_partial)


def usable(database: Database, report: CheckReport, allow_partial: bool) -> Database:
    """The database with the report's notes, or the error that lists all that is wrong with it."""
    here = database.table["path"].notna().to_numpy()
    if allow_partial and here.any() and not here.all():
        note = f"{(~here).sum()} of {len(here)} rows are left out: their images are not there"
        database = database.select(here, note)
        report = check_database(database)
    if report.errors:
        more = "" if here.all() else "; --allow-partial leaves out rows without an image"
        raise DatabaseError(
            f"{database.name} in {database.root} cannot be used: {'; '.join(report.errors)}{more}"
        )
    return replace(database, notes=report.notes)
