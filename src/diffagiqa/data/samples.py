"""A sample is one picture to score; this module says what it holds and where its bytes lie.

Locations are local paths, ``file://`` URLs, or URLs of the stores in ``STORES``, opened by fsspec; web
addresses of hosts that the user allows (``data.web``). Others and chained URLs (``simplecache::...``)
are refused: a table may come from a stranger, and must not make this machine fetch what the stranger
names.
"""

from __future__ import annotations

import io
import os
import posixpath
import re
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from glob import has_magic, iglob
from typing import Any, BinaryIO, Literal, cast
from urllib.parse import urlsplit
from urllib.request import url2pathname

from diffagiqa.data.web import allowed_hosts, is_allowed, is_web, open_web
from diffagiqa.errors import DiffAGIQAError, TableError

PromptSource = Literal[
    "argument", "table", "sidecar", "a1111", "comfyui", "invokeai", "exif", "none"
]
IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".avif"
)  # fmt: skip
TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".xlsx")
STORES = frozenset(
    ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "hdfs", "hf", "oss", "memory")
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One row: a picture, its prompt, and what else its table said about it.

    Attributes:
        image: the row's key as the user gave it: a path, a URL, or ``shard.tar::member``.
        prompt: the prompt, or None where it is still to be looked for beside or in the file.
        prompt_source: where the prompt came from.
        row: position in the run, from 0.
        labels: opinion scores by task name, in the database's own scale.
        generator: name of the model that made the picture, where known.
        extra: the other columns of the row.
        location: where the bytes are, if not at ``image`` (a path relative to a table's folder).
        data: the file's bytes, for members of shards and tables that hold the pictures.
        error: why this row cannot be scored; such a row is reported, never raised.

    >>> Sample("cat.png", "a cat", "argument", 0).source
    'cat.png'
    """

    image: str
    prompt: str | None
    prompt_source: PromptSource
    row: int
    labels: Mapping[str, float] = field(default_factory=dict)
    generator: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    location: str | None = None
    data: bytes | None = field(default=None, repr=False)
    error: str | None = None

    @property
    def source(self) -> str | bytes:
        """What ``decode_image`` and ``read_image_bytes`` take for this row."""
        return self.data if self.data is not None else self.location or self.image


def printable(name: str) -> str:
    """A name safe to print: escapes where it holds control or undecodable characters.

    >>> printable("cat.png"), printable("cat\\x1b[2J.png")
    ('cat.png', "'cat\\\\x1b[2J.png'")
    """
    return name if name.isprintable() else ascii(name)


def suffix(location: str) -> str:
    """The suffix of a path or URL in small letters, with its dot.

    >>> suffix("s3://bucket/Scores.CSV")
    '.csv'
    """
    return posixpath.splitext(location)[1].lower()


def protocol(location: str) -> str | None:
    """The scheme of a URL in lower case, or None for a path.

    >>> protocol("s3://bucket/cat.png"), protocol("cat.png"), protocol("C:/cat.png")
    ('s3', None, None)
    """
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)(?:://|::)", location)
    return found[1].lower() if found else None


def local_path(location: str, error: type[DiffAGIQAError] = TableError) -> str | None:
    """The path on this machine, or None for a location in a store or on a host that is allowed."""
    scheme = protocol(location)
    if scheme is None or os.path.lexists(location):
        return location
    if scheme in ("file", "local") and "://" in location:
        url = urlsplit(location)
        if url.netloc not in ("", "localhost"):
            raise error(
                f"{printable(location)} names the machine {printable(url.netloc)!r} in a file URL; "
                "write file:/// and the full path."
            )
        return url2pathname(url.path)
    if scheme in STORES and "::" not in location:
        return None
    if is_web(location):
        if is_allowed(location, allowed_hosts()):
            return None
        raise error(
            f"{printable(location)} is a web address, and only https:// on hosts named by --allow-host "
            "is fetched; allow its host, or download the file and give its path."
        )
    raise error(
        f"{printable(location)} cannot be opened: expected a path, a file:// URL or one of "
        f"{', '.join(sorted(STORES))}://; if it is a member of a tar shard, give the shard."
    )


def open_location(location: str, error: type[DiffAGIQAError] = TableError) -> BinaryIO:
    """Open a location for reading; the same fault is an ImageError or a TableError by its use."""
    path = local_path(location, error)
    shown = printable(location)
    try:
        if path is None and is_web(location):
            return _fetch(location)
        if path is None:
            import fsspec

            return cast(BinaryIO, fsspec.open(location, "rb").open())
        # A pipe or a device would block or never end, so the kind is looked at before opening.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise error(f"{shown} is not a file; give the path of a file.")
        return open(path, "rb")
    except DiffAGIQAError:
        raise
    except FileNotFoundError:
        raise error(f"{shown} does not exist; check the path.") from None
    except Exception as fault:  # stores raise whatever their client libraries raise
        raise error(
            f"{shown} cannot be opened ({reason_of(fault)}); check its name and access."
        ) from fault


def _fetch(url: str) -> BinaryIO:
    """A picture or shard as a stream; a table, whose readers go back and forth, through a file."""
    stream = open_web(url)
    if suffix(urlsplit(url).path) not in TABLE_SUFFIXES:
        return stream
    with stream:
        whole = cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=1 << 26))  # noqa: SIM115
        shutil.copyfileobj(stream, whole)
    whole.seek(0)
    return whole


def read_location(location: str, max_bytes: int, error: type[DiffAGIQAError] = TableError) -> bytes:
    """All bytes of a location, refused above ``max_bytes`` without reading further."""
    with open_location(location, error) as file:
        return read_limited(file, printable(location), max_bytes, error)


def read_limited(
    file: BinaryIO | io.BufferedIOBase, shown: str, max_bytes: int, error: type[DiffAGIQAError]
) -> bytes:
    """All bytes of an open file, refused above ``max_bytes`` without reading further."""
    parts, size = [], 0
    try:
        while part := file.read(max_bytes + 1 - size):  # a raw stream may return less than asked
            if not isinstance(part, bytes):
                raise error(f"{shown} is open as text; open it in binary mode ('rb').")
            parts.append(part)
            size += len(part)
            if size > max_bytes:
                raise error(
                    f"{shown} holds more than {max_bytes:,} bytes, which is the limit; "
                    "give a smaller file or raise the limit."
                )
    except DiffAGIQAError:
        raise
    except Exception as fault:
        raise error(f"{shown} cannot be read ({reason_of(fault)}); check the file.") from fault
    return b"".join(parts)


def reason_of(fault: Exception) -> str:
    """What a library's exception says, short and on one line, to stand inside our own sentence."""
    text = getattr(fault, "strerror", None) or str(fault) or type(fault).__name__
    return printable(" ".join(str(text).split())[:200])


def walk_images(folder: str, recursive: bool = True) -> Iterator[str]:
    """Image files of a local folder by name, then its subfolders by name.

    Only the names of one folder are held. Each real folder is visited once, so loops of links end;
    hidden files and folders are passed over.
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
                found = sorted((e.name, _is_folder(e)) for e in entries if e.name[0] != ".")
        except OSError as fault:
            raise TableError(
                f"{printable(current)} cannot be listed ({reason_of(fault)}); check its access."
            ) from fault
        for name, is_folder in found:
            if not is_folder and name.lower().endswith(IMAGE_SUFFIXES):
                yield os.path.join(current, name)
        if recursive:
            pending += [os.path.join(current, name) for name, is_dir in reversed(found) if is_dir]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself; its own row says so
        return False


_FILE_SUFFIXES = (*IMAGE_SUFFIXES, *TABLE_SUFFIXES, ".tar")


def find_files(item: str, recursive: bool = True) -> Iterator[str]:
    """The files an input stands for: itself, the pictures of a folder, the matches of a pattern.

    Of a pattern, and of a folder in a store, all names are held to put them in order.
    """
    path = local_path(item)
    if is_web(item):  # a host cannot be listed, and a ? in it is no pattern
        files = iter([item])
    elif path is None and not has_magic(item) and item.lower().endswith(_FILE_SUFFIXES):
        files = iter([item])  # asking a store whether it is a folder would cost a request
    elif path is None:
        files = _files_in_store(item, recursive)
    elif has_magic(path) and not os.path.lexists(path):
        files = (name for name in sorted(iglob(path, recursive=True)) if not os.path.isdir(name))
    elif os.path.isdir(path):
        files = walk_images(path, recursive)
    else:
        files = iter([item])
    empty = True
    for file in files:
        empty = False
        yield file
    if empty:
        expected = ", ".join(IMAGE_SUFFIXES)
        raise TableError(f"{printable(item)} holds no picture; expected files in {expected}.")


def _files_in_store(url: str, recursive: bool) -> Iterator[str]:
    import fsspec

    try:
        filesystem, path = fsspec.core.url_to_fs(url)
        if has_magic(path):
            names = filesystem.glob(path)
        elif filesystem.isfile(path):
            names = [path]
        else:
            names = filesystem.find(path, maxdepth=None if recursive else 1)
            names = [name for name in names if name.lower().endswith(IMAGE_SUFFIXES)]
        files = sorted(filesystem.unstrip_protocol(name) for name in names)
    except Exception as fault:
        raise TableError(
            f"{printable(url)} cannot be listed ({reason_of(fault)}); check its name and access."
        ) from fault
    yield from files


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """One picture of a tar shard, or one fault: the member's name, its bytes, the texts beside it.

    ``texts`` maps "txt", "json" and "cls" to the bytes of the members with the picture's key.
    """

    name: str
    data: bytes | None = field(default=None, repr=False)
    texts: dict[str, bytes] = field(default_factory=dict)
    error: str | None = None


def read_shard(shard: str, max_bytes: int, max_text: int) -> Iterator[ShardEntry]:
    """Pictures of a WebDataset shard in its order, each with the texts that follow or precede it.

    Members are grouped by their name up to the first dot of its last part. The tar is read as a
    stream and nothing is unpacked to disk, so names cannot lead anywhere; links and devices are
    passed over. A second picture under one key starts a new entry. Faults become entries, and
    after damage to the tar itself nothing more is read.
    """
    key, entry = None, None
    try:
        with open_location(shard) as file, tarfile.open(fileobj=file, mode="r|") as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # it would keep every one it has seen
                folder, name = posixpath.split(member.name)
                stem, _, suffixes = name.partition(".")
                kind = suffixes.rpartition(".")[2].lower()
                picture = f".{kind}" in IMAGE_SUFFIXES
                if not member.isreg() or not stem or not (picture or kind in _TEXTS):
                    continue
                if (folder, stem) != key or (picture and entry and entry.data is not None):
                    if entry:
                        yield _complete(entry)
                    key, entry = (folder, stem), ShardEntry(posixpath.join(folder, stem))
                assert entry is not None
                most = max_bytes if picture else max_text
                if member.size > most:
                    fault = f"{printable(member.name)} holds {member.size:,} bytes"
                    fault += f", and the limit is {most:,}; leave it out or raise the limit."
                    entry = replace(entry, error=fault)
                    entry = replace(entry, name=member.name) if picture else entry
                    continue
                body = tar.extractfile(member)
                data = body.read() if body else b""
                if picture:
                    entry = replace(entry, name=member.name, data=data)
                else:
                    entry.texts[kind] = data
            if entry:
                yield _complete(entry)
    except DiffAGIQAError as fault:
        yield ShardEntry("", error=str(fault))
    except Exception as fault:  # tarfile raises more than its own errors on made-up headers
        if entry and (entry.data is not None or entry.error):
            yield entry
        reason = f"{printable(shard)} is damaged or cut short ({reason_of(fault)})"
        yield ShardEntry("", error=f"{reason}; what follows was not read, copy the shard again.")


_TEXTS = ("txt", "json", "cls")


def _complete(entry: ShardEntry) -> ShardEntry:
    if entry.data is not None or entry.error:
        return entry
    return replace(
        entry, error=f"{printable(entry.name)} has a text and no picture; add one with its key."
    )
