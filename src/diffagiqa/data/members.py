"""Images inside archives, read one by one: members of tar and zip files, cells of Parquet tables.

A member is written ``archive::member``, such as ``images.zip::SDXL/0001.png`` or, for row 3 of a
Parquet table, ``train.parquet::3/jpg_0``. Nothing is unpacked to disk, so names cannot lead anywhere.
"""

from __future__ import annotations

import os
import tarfile
import zipfile
from bisect import bisect_right
from collections.abc import Mapping
from functools import lru_cache
from itertools import accumulate
from typing import Any

from diffagiqa.errors import DatabaseError

ARCHIVES = (".tar", ".zip")
_MAX_COLUMN = 4 << 30  # bytes of one column of one row group, which is held to read a cell of it


def split_member(location: str) -> tuple[str, str] | None:
    """Archive and member of ``archive::member``, where there is such an archive; else None.

    >>> split_member("a/x.png")
    """
    archive, mark, member = location.partition("::")
    if not mark or not archive.lower().endswith((*ARCHIVES, ".parquet")):
        return None
    return (archive, member) if os.path.isfile(archive) else None


def member_sizes(archive: str) -> Mapping[str, int]:
    """Bytes of every regular member of a tar or zip file, in its order.

    Raises:
        DatabaseError: it is damaged, or compressed as a whole (.tar.gz).
    """
    return {name: size for name, (size, _) in _index(archive, os.stat(archive).st_mtime_ns).items()}


def member_size(location: str) -> int | None:
    """Bytes of a file or member; None for a cell of a Parquet table, which would have to be read."""
    parts = split_member(location)
    if parts is None:
        return os.stat(location).st_size
    if parts[0].lower().endswith(".parquet"):
        return None
    return member_sizes(parts[0])[parts[1]]


def read_member(archive: str, member: str, max_bytes: int) -> bytes:
    """The bytes of one member; a cell is bytes, or a dictionary that has them as "bytes".

    Raises:
        DatabaseError: there is no such member, it is damaged, or larger than ``max_bytes``.
    """
    stamp = os.stat(archive).st_mtime_ns
    shown = f"{archive}::{member}"
    if archive.lower().endswith(".parquet"):
        data = _cell(archive, member, stamp)
        if len(data) > max_bytes:
            raise DatabaseError(f"{shown} has {len(data):,} bytes; the limit is {max_bytes:,}")
        return data
    index = _index(archive, stamp)
    if member not in index:
        raise DatabaseError(f"{archive} has no member {member}; check the name")
    size, start = index[member]
    if size > max_bytes:
        raise DatabaseError(f"{shown} has {size:,} bytes; the limit is {max_bytes:,}")
    try:
        if archive.lower().endswith(".zip"):
            with _zip(archive, stamp, os.getpid()).open(member) as file:
                data = file.read(size + 1)
        else:
            with open(archive, "rb") as whole:
                whole.seek(start)
                data = whole.read(size)
    except Exception as fault:  # zlib and zipfile raise many kinds on damaged members
        raise DatabaseError(f"{shown} cannot be read ({fault}); copy the archive again") from None
    if len(data) != size:
        raise DatabaseError(f"{shown} is cut short; copy the archive again")
    return data


@lru_cache(maxsize=64)
def _index(archive: str, stamp: int) -> dict[str, tuple[int, int]]:
    """Member -> (bytes, where they begin). ``stamp``: so that a changed file is read again."""
    try:
        if archive.lower().endswith(".zip"):
            infos = _zip(archive, stamp, os.getpid()).infolist()
            return {info.filename: (info.file_size, 0) for info in infos if not info.is_dir()}
        with tarfile.open(archive, "r:") as tar:
            return {m.name: (m.size, m.offset_data) for m in tar if m.isreg()}
    except Exception as fault:  # tarfile raises more than its own errors on made-up headers
        raise DatabaseError(f"{archive} cannot be read ({fault}); copy it again") from None


@lru_cache(maxsize=16)
def _zip(archive: str, stamp: int, process: int) -> zipfile.ZipFile:
    """Kept open, since its directory takes long to read; a forked process must not share its position."""
    return zipfile.ZipFile(archive)


def _cell(path: str, member: str, stamp: int) -> bytes:
    row, _, column = member.partition("/")
    try:
        starts = _row_groups(path, stamp)
        group = bisect_right(starts, int(row)) - 1
        value = _column(path, group, column, stamp)[int(row) - starts[group]].as_py()
    except Exception as fault:  # pyarrow raises whatever the bytes lead it to
        raise DatabaseError(f"{path} has no {column} in row {row} ({fault!r})") from None
    if isinstance(value, Mapping):
        value = value.get("bytes")
    if not isinstance(value, bytes):
        raise DatabaseError(
            f"{path} row {int(row) + 1} has no image in {column}; download it again"
        )
    return value


@lru_cache(maxsize=1024)
def _row_groups(path: str, stamp: int) -> list[int]:
    """The number of the first row of each row group."""
    from pyarrow.parquet import read_metadata

    metadata = read_metadata(path)
    groups = range(metadata.num_row_groups)
    return list(accumulate((metadata.row_group(g).num_rows for g in groups), initial=0))[:-1]


@lru_cache(
    maxsize=4
)  # two columns of two row groups; images of a pair are read one after the other
def _column(path: str, group: int, column: str, stamp: int) -> Any:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        if file.metadata.row_group(group).total_byte_size > _MAX_COLUMN:
            raise DatabaseError(f"{path} has row groups of over 4 GiB; write it with smaller ones")
        return file.read_row_group(group, columns=[column]).column(column)
