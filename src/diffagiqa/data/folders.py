"""What an input stands for: the images of a folder or a pattern, here or in a store."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from glob import has_magic, iglob

from diffagiqa.data.litter import holds_litter, is_litter
from diffagiqa.data.samples import (
    IMAGE_SUFFIXES,
    TABLE_SUFFIXES,
    local_path,
    printable,
    protocol,
    reason_of,
    suffix,
)
from diffagiqa.data.web import is_web
from diffagiqa.data.wording import counted
from diffagiqa.errors import TableError


def walk_images(folder: str, recursive: bool = True) -> Iterator[str]:
    """Image files of a local folder by name, then its subfolders by name."""
    return (file for file in _walk(folder, recursive) if file.lower().endswith(IMAGE_SUFFIXES))


def _walk(folder: str, recursive: bool, litter: bool = False) -> Iterator[str]:
    """Files of a local folder by name, then its subfolders by name.

    Only the names of one folder are held. Each real folder is visited once, so loops of links end;
    hidden files and folders are passed over, and what is litter, unless that is wanted, too.
    """
    seen: set[tuple[int, int]] = set()
    pending = [folder]
    while pending:
        current = pending.pop()
        try:
            status = os.stat(current)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(current) as entries:
                listed = sorted(
                    (entry.name, _is_folder(entry))
                    for entry in entries
                    if (litter if is_litter(entry.name) else entry.name[0] != ".")
                )
        except OSError as fault:
            raise TableError(
                f"{printable(current)} cannot be listed ({reason_of(fault)}); check its access."
            ) from fault
        for name, is_folder in listed:
            if not is_folder:
                yield os.path.join(current, name)
        if recursive:
            pending += [os.path.join(current, name) for name, is_dir in reversed(listed) if is_dir]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself; its own row says so
        return False


LITTER = "thumbnails and system files"
_FILE_SUFFIXES = (*IMAGE_SUFFIXES, *TABLE_SUFFIXES, ".tar")


def find_files(item: str, recursive: bool = True, out: str | None = None) -> Iterator[str]:
    """The files an input stands for: itself, the images of a folder, the matches of a pattern.

    A pattern does not match what is written to ``out`` (``is_output``), and litter is passed over. Of a
    pattern, and of a folder in a store, all names are held to put them in order.
    """
    path = local_path(item)
    if is_web(item):  # a host cannot be listed, and a ? in it is no pattern
        files = iter([item])
    elif path is None and not has_magic(item) and item.lower().endswith(_FILE_SUFFIXES):
        files = iter([item])  # asking a store whether it is a folder would cost a request
    elif path is None:
        files = _files_in_store(item, recursive)
    elif has_magic(path) and not os.path.lexists(path):
        files = _matches(path)
    elif os.path.isdir(path):
        files = walk_images(path, recursive)
    else:
        files = iter([item])
    if out is not None and has_magic(item):
        files = (file for file in files if not is_output(file, out))
    empty, named = True, _parts(item)
    for file in files:
        if holds_litter(file, named):
            continue
        empty = False
        yield file
    if empty:
        expected = ", ".join(IMAGE_SUFFIXES)
        raise TableError(f"{printable(item)} holds no image; expected files in {expected}.")


def _matches(pattern: str) -> Iterator[str]:
    return (name for name in sorted(iglob(pattern, recursive=True)) if not os.path.isdir(name))


def _parts(location: str) -> list[str]:
    return location.replace("\\", "/").split("/")


def is_output(file: str, out: str) -> bool:
    """Whether a file is the output ``out``, lies in that folder, or is of the work on it.

    >>> [is_output(file, "x.csv") for file in ("./x.csv", "x.csv.job/_job/job.json", "y.csv")]
    [True, True, False]
    """
    real, whole = _real_name(file), _real_name(out)
    folder, name = os.path.split(whole)
    if os.path.dirname(real) == folder and real.endswith(".part"):  # what a kill left behind
        return os.path.basename(real).startswith(f".{name}.")
    return real in (whole, f"{whole}.job") or real.startswith((f"{whole}/", f"{whole}.job/"))


def _real_name(location: str) -> str:
    path = local_path(location)
    if path is not None:
        return os.path.realpath(path)
    return f"{protocol(location)}://{location.partition('://')[2].strip('/')}"


def _files_in_store(url: str, recursive: bool, images: bool = True) -> Iterator[str]:
    """Images below a URL, or itself where it is a file; else all files below it."""
    import fsspec

    try:
        filesystem, path = fsspec.core.url_to_fs(url)
        if has_magic(path):
            names = filesystem.glob(path)
        elif filesystem.isfile(path):
            names = [path] if images else []
        else:
            names = filesystem.find(path, maxdepth=None if recursive else 1)
            if images:
                names = [name for name in names if name.lower().endswith(IMAGE_SUFFIXES)]
        files = sorted(filesystem.unstrip_protocol(name) for name in names)
    except Exception as fault:
        raise TableError(
            f"{printable(url)} cannot be listed ({reason_of(fault)}); check its name and access."
        ) from fault
    yield from files


def passed_over(
    inputs: Iterable[str], recursive: bool = True, out: str | None = None
) -> dict[str, int]:
    """How many files of the folders among the inputs are not taken for images, by suffix.

    Left out are texts, JSON and XMP, which belong to the images beside them, and what goes to ``out``.
    A file without a suffix counts as "". Litter counts as ``LITTER``, in patterns, too.
    """
    counts: Counter[str] = Counter()
    for item in inputs:
        named = _parts(item)
        with suppress(TableError):  # the run itself says it
            for file in _files_below(item, recursive):
                kind = LITTER if holds_litter(file, named) else suffix(os.path.basename(file))
                if kind not in (*IMAGE_SUFFIXES, ".txt", ".json", ".xmp") and not (
                    out and is_output(file, out)
                ):
                    counts[kind] += 1
    return dict(counts.most_common())


def _files_below(item: str, recursive: bool) -> Iterator[str]:
    """All files of a folder, the litter that a pattern matches; none where it is something else."""
    path = local_path(item)
    if path is not None and os.path.isdir(path):
        return _walk(path, recursive, litter=True)
    if path is not None:
        named = _parts(item)
        return (name for name in _matches(path) if has_magic(path) and holds_litter(name, named))
    if is_web(item) or has_magic(item) or item.lower().endswith(_FILE_SUFFIXES):
        return iter(())
    return _files_in_store(item, recursive, images=False)


def passed_over_sentence(counts: Mapping[str, int]) -> str:
    """What a user is told of them.

    >>> passed_over_sentence({".heic": 2, "": 1})
    '3 files in folders were skipped (not images): 2 x .heic, 1 x without suffix'
    """
    kinds = [f"{n:,} x {printable(kind) or 'without suffix'}" for kind, n in counts.items()]
    shown = ", ".join(kinds[:8]) + (", ..." if len(kinds) > 8 else "")
    were = counted(sum(counts.values()), "file in folders was", "files in folders were")
    return f"{were} skipped (not images): {shown}"
