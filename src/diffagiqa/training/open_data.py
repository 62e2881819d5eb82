"""Names and folders -> rows to train on, their split, and what must be said about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from diffagiqa.data.columns import TableColumns
from diffagiqa.data.databases import (
    DATABASES,
    Database,
    database_name,
    read_database,
    read_table,
    verified,
)
from diffagiqa.data.databases.choices import holds_choices, read_preferences
from diffagiqa.data.splits import PARTS, Split, official_split, prompt_key, random_split
from diffagiqa.errors import ConfigError
from diffagiqa.training.config import TrainingConfig, prompts_to_test
from diffagiqa.training.data import Rows, make_rows
from diffagiqa.training.unrated import mismatches_within


@dataclass(frozen=True)
class Opened:
    """Databases ready to train on."""

    rows: Rows
    official: Split | None
    notes: tuple[str, ...]


def open_data(
    names: Sequence[str], roots: Sequence[str], *, own: TableColumns | None = None,
    tasks: Sequence[str] | None = None, allow_partial: bool = False, skip_unreadable: bool = False,
) -> Opened:  # fmt: skip
    """Open databases by name, or tables of ratings by path.

    ``roots``: one folder for one database, or ``name=folder`` for each; a table's name is its path, or
    its file name without suffix, as notes call it. Byte-identical files that are rated differently are
    left out, since nothing says which rating is right; the notes say how many. ``allow_partial`` and
    ``skip_unreadable`` leave out rows whose image is not there, or cannot be read.
    """
    called = [_called(name) for name in names]
    if twice := sorted({name for name in called if called.count(name) > 1}):
        raise ConfigError(
            f"two of the databases are called {twice[0]}; give each once, and different names to tables"
        )
    folders = _folders(names, roots)
    found = [read_any(name, folders.get(name), own) for name in names]
    whole = [verified(database, allow_partial, skip_unreadable) for database in found]
    databases = [database.without_duplicates() for database in whole]
    rows = make_rows(
        {database.name: (database.samples(), database.scales) for database in databases}, tasks
    )
    official = None
    if len(databases) == 1 and databases[0].official_splits is not None:
        official = official_split(databases[0].table, databases[0].official_splits)
    return Opened(
        rows,
        official,
        tuple(note for database in databases for note in database.notes),
    )


def make_split(
    config: TrainingConfig, rows: Rows, official: Split | None = None
) -> dict[str, list[int]]:
    """Rows of the train, validation and test part, as ``config`` says.

    ``split_seed`` decides a random split. An official split without a validation part has one taken
    from its training part, by prompt. Unrated rows follow theirs into the training part.
    """
    parts = _rated_split(config, rows.rated, official)
    parts["train"] += mismatches_within(rows, parts["train"])
    return parts


def _rated_split(
    config: TrainingConfig, rows: Rows, official: Split | None
) -> dict[str, list[int]]:
    if config.split != "official":
        # validation_fraction is a share of what is not test, random_split wants one of everything.
        share = config.validation_fraction * (1 - config.test_fraction)
        split = random_split(
            rows.table(), config.test_fraction, config.split_seed, config.split, share,
            among=prompts_to_test(config),
        )  # fmt: skip
        return positions(split, rows)
    if official is None:
        raise ConfigError(
            f"{', '.join(rows.names)} has no official split; use --split prompt or --split image"
        )
    parts = positions(official, rows)
    if not parts["validation"] and config.validation_fraction:
        kept = parts["train"]
        table = rows.table().iloc[kept].reset_index(drop=True)
        inner = random_split(table, config.validation_fraction, config.split_seed, "prompt")
        within = inner.rows(table)
        parts["train"] = [kept[i] for i in within["train"]]
        parts["validation"] = [kept[i] for i in within["test"]]
    return parts


def positions(split: Split, rows: Rows) -> dict[str, list[int]]:
    """Rows of each part; images that the split names and training leaves out are passed over."""
    part_of = {name: part for part in PARTS for name in getattr(split, part)}
    names = rows.table()["image"]
    return {
        part: [row for row, name in enumerate(names) if part_of.get(str(name)) == part]
        for part in PARTS
    }


def prompts_of(rows: Rows, part: Sequence[int]) -> set[str]:
    """The distinct prompts of some rows; the empty one is none."""
    prompts = rows.prompts
    return {prompt_key(prompts[row]) for row in part} - {""}


def read_any(
    name: str, root: str | None, own: TableColumns | None = None, pairs: Sequence[str] = ()
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
            f"{name!r} is neither a database ({', '.join(DATABASES)}) nor a table of ratings"
        )
    if (own is None or not own.labels) and (pairs or holds_choices(name)):
        prompt = "prompt" if own is None else own.prompt or "prompt"
        return read_preferences(name, pairs, prompt=prompt, root=root)
    if own is None or not own.labels:
        raise ConfigError(
            f"{name} is a table of one's own, so its columns must be named: "
            "--label perception=mos --scale perception=1:5"
        )
    return read_table(name, own, root)


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
