"""Finding a database's files in the folder that a user unpacked it to."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import normalize

from diffagiqa.data.json_stream import json_values
from diffagiqa.data.lines import open_text
from diffagiqa.data.litter import holds_litter, is_litter
from diffagiqa.data.members import ARCHIVES, member_size, member_sizes, read_member, split_member
from diffagiqa.data.records import Record, TableReader, read_frame, whole_rows
from diffagiqa.data.samples import IMAGE_SUFFIXES, open_location
from diffagiqa.errors import DatabaseError, TableError

if TYPE_CHECKING:
    import pandas as pd


class Folder:
    """All files below a root, found once; names are compared without case and in one Unicode form."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise DatabaseError(
                f"{self.root} is not a folder; give the folder that the database was unpacked to"
            )
        self.files: list[str] = []  # relative, with forward slashes; shallow ones first
        seen: set[str] = set()  # linked folders are followed, each once
        for folder, folders, names in os.walk(self.root, followlinks=True):
            if (real := os.path.realpath(folder)) in seen:
                folders.clear()
                continue
            seen.add(real)
            folders[:] = sorted(n for n in folders if not (n.startswith(".") or is_litter(n)))
            names = [name for name in names if not is_litter(name)]
            base = Path(folder).relative_to(self.root).as_posix()
            self.files += [name if base == "." else f"{base}/{name}" for name in sorted(names)]
        self.files.sort(key=lambda file: file.count("/"))
        self._by_path = {_key(file): file for file in reversed(self.files)}
        self._by_name: dict[str, list[str]] = {}
        self._by_stem: dict[str, list[str]] = {}
        for file in self.files:
            name = _key(file.rpartition("/")[2])
            stem, suffix = os.path.splitext(name)
            self._by_name.setdefault(name, []).append(file)
            if suffix in IMAGE_SUFFIXES:
                self._by_stem.setdefault(stem, []).append(file)

    def file(self, *names: str) -> Path | None:
        """The first of these names that is anywhere below the root, or None."""
        for name in names:
            files = self._by_name.get(_key(name))
            if files is not None:
                return self.root / files[0]  # the one nearest to the root
        return None

    def need(self, *names: str) -> Path:
        """The first of these names that is there; an error that lists them where none is."""
        path = self.file(*names)
        if path is None:
            there = ", ".join(file for file in self.files[:5]) or "nothing"
            raise DatabaseError(
                f"{self.root} holds none of {', '.join(names)} (but {there}"
                f"{', ...' if len(self.files) > 5 else ''}); "
                "give the folder that the database was unpacked to"
            )
        return path

    def image(self, name: str, folders: Sequence[str] = ()) -> str | None:
        """Where an image is, relative to the root, or None.

        Looked for under its name in the root, then in the sub-folders of the distribution, then in any
        other, and with another suffix of an image, as re-uploads have it, these two only where one file
        alone is called so; and at last in tar and zip files, as ``archive::member``.
        """
        wanted = _key(name.replace("\\", "/")).removeprefix("./")
        if "::" in name and split_member(str(self.root / name)):  # a cell of a table
            return name
        base = wanted.rpartition("/")[2]
        for by_path, by_name in ((self._by_path, self._by_name), self._archived):
            for folder in ("", *folders):
                path = by_path.get(f"{_key(folder)}/{wanted}" if folder else wanted)
                if path is not None:
                    return path
            named = by_name.get(base) or []
            if not named and by_name is self._by_name:
                named = self._by_stem.get(os.path.splitext(base)[0], [])
            if len(named) == 1:
                return named[0]
        return None

    @cached_property
    def _archived(self) -> tuple[dict[str, str], dict[str, list[str]]]:
        """Members of tar and zip files below the root, as ``archive::member``: by path and by name.

        A member's path may begin with the archive's name, as it does where that was unpacked.
        """
        by_path: dict[str, str] = {}
        by_name: dict[str, list[str]] = {}
        for file in self.files:
            if not file.lower().endswith(ARCHIVES):
                continue
            stem = os.path.splitext(file)[0]
            for member in member_sizes(str(self.root / file)):
                if member.lower().endswith(IMAGE_SUFFIXES) and not holds_litter(member):
                    location, plain = f"{file}::{member}", _key(member).removeprefix("./")
                    by_path.setdefault(plain, location)
                    by_path.setdefault(f"{_key(stem)}/{plain}", location)
                    by_name.setdefault(plain.rpartition("/")[2], []).append(location)
        return by_path, by_name


def _key(name: str) -> str:
    """A name in small letters, composed ones as Unicode has them ("é", not "e" and an accent)."""
    return normalize("NFC", name).lower()


@contextmanager
def _as_database_error() -> Iterator[None]:
    try:
        yield
    except TableError as fault:
        raise DatabaseError(str(fault).rstrip(".")) from None


def read_sheet(path: Path) -> pd.DataFrame:
    """A table as ``data.records.read_frame`` reads it; DatabaseError where it cannot be read."""
    with _as_database_error():
        return read_frame(path)


def table_rows(path: Path) -> Iterator[tuple[int, Record]]:
    """The rows of a table, from 1; DatabaseError names the first that cannot be read."""
    with _as_database_error():
        yield from whole_rows(TableReader(path))


def read_cells(path: Path) -> list[list[str]]:
    """The rows of a CSV, TSV or xlsx without a header, as long as the longest."""
    with _as_database_error():
        rows = list(TableReader(path).cells())
    if wrong := next((row for row in rows if isinstance(row, str)), None):
        raise DatabaseError(f"{path}: {wrong.rstrip('.')}")
    width = max(map(len, rows))
    return [[*row, *[""] * (width - len(row))] for row in rows]


def json_entries(path: Path) -> Iterator[tuple[str, Record]]:
    """The objects in a JSON list or JSON Lines, with their numbers from 1; in an object, with their keys.

    Raises:
        DatabaseError: at the first entry that is no object or cannot be read, which it names.
    """
    number = 1
    try:
        with _as_database_error(), open_location(str(path)) as file, open_text(file) as text:
            for key, entry in json_values(text):
                if not isinstance(entry, dict):
                    raise ValueError(f"it is a {type(entry).__name__}, not an object")
                yield str(key), entry
                number += 1
    except (ValueError, RecursionError) as fault:
        raise DatabaseError(
            f"{path} cannot be read at entry {number} ({fault}); download it again"
        ) from None


class MissingColumnsError(DatabaseError):
    """A table without columns that were asked for."""


def columns(table: pd.DataFrame, wanted: Mapping[str, str], where: Path) -> pd.DataFrame:
    """The wanted columns {new name: name in the file}, found without case; an error names all missing."""
    known = {str(name).strip().lower(): name for name in table.columns}
    missing = [name for name in wanted.values() if name.strip().lower() not in known]
    if missing:
        raise MissingColumnsError(
            f"{where} lacks {', '.join(missing)}; it has columns "
            f"{', '.join(map(str, table.columns))}; expected {', '.join(wanted.values())}"
        )
    return table[[known[name.strip().lower()] for name in wanted.values()]].set_axis(
        list(wanted), axis=1
    )


def identical_files(paths: Iterable[Path]) -> dict[Path, int]:
    """Files that equal another of them byte for byte -> number of their set, from 0.

    Only files of equal size are read, so 20 000 files take about as long as their listing. Cells of
    Parquet tables are not compared: all of them would have to be read.
    """
    by_size: dict[int, list[Path]] = {}
    for path in dict.fromkeys(paths):
        if (size := member_size(str(path))) is not None:
            by_size.setdefault(size, []).append(path)
    by_digest: dict[str, list[Path]] = {}
    for same in by_size.values():
        for path in same if len(same) > 1 else ():
            digest = hashlib.sha256(_content(path)).hexdigest()
            by_digest.setdefault(digest, []).append(path)
    sets = [same for same in by_digest.values() if len(same) > 1]
    return {path: number for number, same in enumerate(sets) for path in same}


def _content(path: Path) -> bytes:
    member = split_member(str(path))
    return path.read_bytes() if member is None else read_member(*member, 1 << 32)
