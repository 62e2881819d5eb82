"""Finding a database's files in the folder that a user unpacked it to."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffagiqa.data.header import check_header
from diffagiqa.data.members import ARCHIVES, member_size, member_sizes, read_member, split_member
from diffagiqa.data.records import separator_of
from diffagiqa.data.results import bare_cell, is_ours
from diffagiqa.data.samples import IMAGE_SUFFIXES
from diffagiqa.data.workbooks import sheet_rows
from diffagiqa.errors import DatabaseError, MissingExtraError, TableError

if TYPE_CHECKING:
    import pandas as pd


class Folder:
    """All files below a root, found once; names are compared without case."""

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
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            base = Path(folder).relative_to(self.root).as_posix()
            self.files += [name if base == "." else f"{base}/{name}" for name in sorted(names)]
        self.files.sort(key=lambda file: file.count("/"))
        self._by_path = {file.lower(): file for file in reversed(self.files)}
        self._by_name: dict[str, list[str]] = {}
        self._by_stem: dict[str, list[str]] = {}
        for file in self.files:
            name = file.rpartition("/")[2].lower()
            stem, suffix = os.path.splitext(name)
            self._by_name.setdefault(name, []).append(file)
            if suffix in IMAGE_SUFFIXES:
                self._by_stem.setdefault(stem, []).append(file)

    def file(self, *names: str) -> Path | None:
        """The first of these names that is anywhere below the root, or None."""
        for name in names:
            found = self._by_name.get(name.lower())
            if found is not None:
                return self.root / found[0]  # the one nearest to the root
        return None

    def need(self, *names: str) -> Path:
        """The first of these names that is there; an error that lists them where none is."""
        found = self.file(*names)
        if found is None:
            there = ", ".join(file for file in self.files[:5]) or "nothing"
            raise DatabaseError(
                f"{self.root} holds none of {', '.join(names)} (but {there}"
                f"{', ...' if len(self.files) > 5 else ''}); "
                "give the folder that the database was unpacked to"
            )
        return found

    def image(self, name: str, folders: Sequence[str] = ()) -> str | None:
        """Where an image is, relative to the root, or None.

        Looked for under its name in the root, then in the sub-folders of the distribution, then in any
        other, and with another suffix of an image, as re-uploads have it, these two only where one file
        alone is called so; and at last in tar and zip files, as ``archive::member``.
        """
        wanted = name.replace("\\", "/").lower().removeprefix("./")
        if "::" in name and split_member(str(self.root / name)):  # a cell of a table
            return name
        base = wanted.rpartition("/")[2]
        for by_path, by_name in ((self._by_path, self._by_name), self._archived):
            for folder in ("", *folders):
                found = by_path.get(f"{folder.lower()}/{wanted}" if folder else wanted)
                if found is not None:
                    return found
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
                if member.lower().endswith(IMAGE_SUFFIXES):
                    location, plain = f"{file}::{member}", member.lower().removeprefix("./")
                    by_path.setdefault(plain, location)
                    by_path.setdefault(f"{stem}/{plain}".lower(), location)
                    by_name.setdefault(plain.rpartition("/")[2], []).append(location)
        return by_path, by_name


def read_sheet(path: Path, remedy: str = "download it again", **options: Any) -> pd.DataFrame:
    """CSV, TSV, JSON, JSONL, Parquet or xlsx -> rows; DatabaseError where it cannot be read.

    Empty cells of text files and workbooks are "": a prompt may be "none" or "NA". ``remedy``: what to
    do about a damaged file.
    """
    import pandas as pd

    readers = {
        ".csv": lambda: _read_text(path, ",", **options),
        ".tsv": lambda: _read_text(path, "\t", **options),
        ".jsonl": lambda: pd.read_json(path, lines=True, dtype=False),
        ".json": lambda: pd.read_json(path, dtype=False),
        ".parquet": lambda: _read_parquet(path),
        ".xlsx": lambda: _read_workbook(path, **options),
    }
    read = readers.get(path.suffix.lower())
    if read is None:
        raise DatabaseError(
            f"{path} has suffix {path.suffix or 'none'}; expected one of {', '.join(readers)}"
        )
    try:
        if path.stat().st_size == 0:
            raise DatabaseError(f"{path} is empty; expected a header and rows; {remedy}")
        return read()
    except (DatabaseError, MissingExtraError):
        raise
    except TableError as fault:
        raise DatabaseError(str(fault)) from None
    except UnicodeError:
        raise DatabaseError(f"{path} is not in UTF-8; save it as UTF-8, or {remedy}") from None
    except Exception as error:  # parsers raise whatever their format has in store
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        reason = reason.removeprefix("Error tokenizing data. C error: ")
        raise DatabaseError(f"{path} cannot be read ({reason}); {remedy}") from None


def _read_text(path: Path, separator: str, **options: Any) -> pd.DataFrame:
    """A CSV by its header's separator. Where that is none, commas are in numbers; some spreadsheets
    write UTF-16, with a mark at the beginning."""
    import pandas as pd

    with path.open("rb") as file:
        start = file.read(4)
    encoding = "utf-16" if start.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    with path.open(encoding=encoding) as text:
        header = text.readline()
    separator = separator_of(header, separator)
    if "header" not in options:
        check_header(next(csv.reader([header], delimiter=separator), []), str(path))
    table = pd.read_csv(
        path, sep=separator, decimal="." if separator == "," else ",", encoding=encoding,
        keep_default_na=False, **options,
    )  # fmt: skip
    if is_ours(map(str, table.columns)):
        table = table.map(lambda cell: bare_cell(cell) if isinstance(cell, str) else cell)
    return table


def _read_parquet(path: Path) -> pd.DataFrame:
    import pandas as pd
    from pyarrow.parquet import read_schema

    check_header(read_schema(path).names, str(path))
    return pd.read_parquet(path)


def _read_workbook(path: Path, header: int | None = 0) -> pd.DataFrame:
    """The first sheet; with ``header`` None its first row is one like the others."""
    import pandas as pd

    with path.open("rb") as file:
        rows = list(sheet_rows(file, str(path)))
    width = max(map(len, rows), default=0)
    padded = [row + [""] * (width - len(row)) for row in rows]
    if header is None:
        return pd.DataFrame(padded)
    names = [str(cell) for cell in padded[0]] if padded else []
    check_header(names, str(path))
    return pd.DataFrame(padded[1:], columns=names)


class MissingColumnsError(DatabaseError):
    """A table without columns that were asked for."""


def columns(table: pd.DataFrame, wanted: Mapping[str, str], where: Path) -> pd.DataFrame:
    """The wanted columns {new name: name in the file}, found without case; an error names all missing."""
    found = {str(name).strip().lower(): name for name in table.columns}
    missing = [name for name in wanted.values() if name.strip().lower() not in found]
    if missing:
        raise MissingColumnsError(
            f"{where} lacks {', '.join(missing)}; it has columns "
            f"{', '.join(map(str, table.columns))}; expected {', '.join(wanted.values())}"
        )
    return table[[found[name.strip().lower()] for name in wanted.values()]].set_axis(
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
