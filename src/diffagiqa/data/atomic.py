"""Files that are there whole or not at all, also after a kill, a full disk or a power cut."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape, glob
from typing import BinaryIO

from diffagiqa.data.samples import filesystem_of, local_path


@contextmanager
def whole_file(location: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A stream to a file beside ``location``, whose name it takes when the block ends well.

    Until then the older file stays; after an exception the new one is removed. On this machine the bytes
    are on the disk before the name changes, and the name after it; permissions stay. Files that a kill
    left behind are called ``.NAME.*.part``.

    Raises:
        OSError: it cannot be written; or what the client of a store raises.
    """
    target = os.fsdecode(location)
    path = local_path(target)
    part = f"{uuid.uuid4().hex[:8]}.part"
    if path is None:
        folder, _, name = target.rpartition("/")
        with _in_store(target, f"{folder}/.{name}.{part}") as file:
            yield file
        return
    folder, name = os.path.split(os.path.abspath(path))
    temporary = os.path.join(folder, f".{name}.{part}")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    sync_folder(folder)


@contextmanager
def _in_store(location: str, temporary: str) -> Iterator[BinaryIO]:
    filesystem, _ = filesystem_of(location)
    try:
        with filesystem.open(temporary, "wb") as file:
            yield file
        filesystem.mv(temporary, location)
    except BaseException:
        with suppress(Exception):
            filesystem.rm(temporary)
        raise


def write_file(location: str | os.PathLike[str], data: bytes | str) -> None:
    """Write a file at once, text as UTF-8; see ``whole_file``."""
    with whole_file(location) as file:
        file.write(data.encode() if isinstance(data, str) else data)


def discard_parts(path: str | os.PathLike[str]) -> None:
    """Remove what killed processes left of a local file; only where no other is writing it."""
    folder, name = os.path.split(os.fsdecode(path))
    for part in glob(os.path.join(escape(folder), f".{escape(name)}.*.part")):
        os.remove(part)


def sync_folder(folder: str) -> None:
    """Make the names in a local folder durable."""
    if os.name != "nt":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
