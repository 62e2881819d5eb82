"""Names and folders, as a command is given them -> databases, verified."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diffagiqa.data.columns import TableColumns
from diffagiqa.data.databases.choices import holds_choices, read_preferences
from diffagiqa.data.databases.database import Database
from diffagiqa.data.databases.loading import DATABASES, database_name, read_database, verified
from diffagiqa.data.databases.table import read_table
from diffagiqa.errors import ConfigError, quoted


def open_databases(
    names: Sequence[str], roots: Sequence[str], *, columns: TableColumns | None = None,
    pairs: Sequence[str] = (), allow_partial: bool = False, skip_unreadable: bool = False,
) -> list[Database]:  # fmt: skip
    """Open databases by name, or tables of ratings or choices by path, without contradictory duplicates.

    Args:
        names: keys of ``DATABASES``, or paths of tables; a table is called by its file name.
        roots: one folder for one database, or ``name=folder`` for each.
        columns: what the columns of tables of ratings are called.
        pairs: columns of tables of choices, where they have other names than usual.
        allow_partial, skip_unreadable: leave out rows whose image is not there, or cannot be read.

    Raises:
        ConfigError: a name is no database and no table, stands twice, or has no folder.
        DatabaseError: one cannot be used as it is.
    """
    called = [_called(name) for name in names]
    if twice := sorted({name for name in called if called.count(name) > 1}):
        raise ConfigError(
            f"two of the databases are called {twice[0]}; give each once, and different names to tables"
        )
    folders = _folders(names, roots)
    databases = [read_any(name, folders.get(name), columns, pairs) for name in names]
    return [verified(d, allow_partial, skip_unreadable).without_duplicates() for d in databases]


def read_any(
    name: str, root: str | None, columns: TableColumns | None = None, pairs: Sequence[str] = ()
) -> Database:
    """A database by its name, or a table of ratings or choices by its path, as it lies there.

    ``pairs``: columns of a table of choices, where they have other names than usual.

    Raises:
        ConfigError: it is neither, or a table whose columns are not named, or has no folder.
        DatabaseError: it cannot be read.
    """
    if name in DATABASES:
        if root is None:
            raise ConfigError(f"{name} needs its folder; give --root FOLDER")
        return read_database(name, root)
    if not Path(name).is_file():
        raise ConfigError(
            f"{quoted(name)} is neither a database ({', '.join(DATABASES)}) nor a table of ratings"
        )
    rated = columns is not None and bool(columns.labels)
    if holds_choices(name, ranks=not rated) or (pairs and not rated):
        prompt = "prompt" if columns is None else columns.prompt or "prompt"
        return read_preferences(name, pairs, prompt=prompt, root=root)
    if columns is None or not columns.labels:
        raise ConfigError(
            f"{name} is a table of your own, so its columns must be named: "
            "--label perception=mos --scale perception=1:5"
        )
    return read_table(name, columns, root)


def _called(name: str) -> str:
    """What notes and tables call a database: its name, or a table's file name without suffix."""
    return name if name in DATABASES else Path(name).stem


def _folders(names: Sequence[str], roots: Sequence[str]) -> dict[str, str]:
    """The folder of each database that was given one."""
    known = {_called(name): name for name in names} | {name: name for name in names}
    folders: dict[str, str] = {}
    for root in roots:
        key, equals, folder = root.partition("=")
        name = known.get(database_name(key), known.get(key)) if equals else None
        if name is None:  # a folder alone, in whose own name there may be a "="
            if len(names) > 1:
                choice = " or ".join(_called(name) for name in names)
                raise ConfigError(
                    f"--root {root} does not say whose folder it is; write --root NAME=FOLDER, NAME "
                    f"being {choice}"
                )
            name, folder = names[0], root
        if name in folders:
            raise ConfigError(
                f"--root gives {_called(name)} the folders {folders[name]} and {folder}; give one"
            )
        folders[name] = folder
    return folders
