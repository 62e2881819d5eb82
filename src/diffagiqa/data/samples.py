"""A sample is one image to score; this module says what it holds and where its bytes lie.

Locations are local paths, ``file://`` URLs, or URLs of the stores in ``STORES``, opened by fsspec; web
addresses of hosts that the user allows (``data.web``). Others and chained URLs (``simplecache::...``)
are refused, since a table may come from a stranger. What it names in a store, or by a full path, is
opened with the user's own access, unless a root is given, which refuses both (``tables.locate``).
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
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit
from urllib.request import url2pathname

from diffagiqa.data.litter import holds_litter
from diffagiqa.data.members import read_member, split_member
from diffagiqa.data.web import is_allowed, is_web, open_web
from diffagiqa.data.wording import counted
from diffagiqa.errors import DiffAGIQAError, TableError, printable, quoted

PromptSource = str
"""Where a prompt came from: "argument", "table", "none", or the place and the format, "png comfyui"."""
IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".avif"
)  # fmt: skip
TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".xlsx")
STORES = frozenset(
    ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "hdfs", "hf", "oss", "memory")
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One row: an image, its prompt, and what else its table said about it.

    Attributes:
        image: the row's key as the user gave it: a path, a URL, or ``shard.tar::member``.
        prompt: the prompt, or None where it is still to be looked for beside or in the file.
        prompt_source: where the prompt came from.
        row: position in the run, from 0.
        labels: opinion scores by task name, in the database's own scale.
        generator: name of the model that made the image, where known.
        location: where the bytes are, if not at ``image`` (a path relative to a table's folder).
        data: the file's bytes, for members of shards and tables that hold the images.
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
    location: str | None = None
    data: bytes | None = field(default=None, repr=False)
    error: str | None = None

    @property
    def source(self) -> str | bytes:
        """What ``decode_image`` and ``read_image_bytes`` take for this row."""
        return self.data if self.data is not None else self.location or self.image


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
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)(?:://|::)", location)
    return match[1].lower() if match else None


def local_path(location: str, error: type[DiffAGIQAError] = TableError) -> str | None:
    """The path on this machine, or None for a location in a store or on the web."""
    scheme = protocol(location)
    if scheme is None or os.path.lexists(location):
        return location
    if scheme in ("file", "local") and "://" in location:
        try:
            url = urlsplit(location)
        except ValueError as fault:
            raise error(
                f"{printable(location)} is no URL ({fault}); write file:/// and the path."
            ) from None
        if url.netloc not in ("", "localhost"):
            raise error(
                f"{printable(location)} names the machine {quoted(url.netloc)} in a file URL; "
                "write file:/// and the full path."
            )
        return url2pathname(url.path)
    if scheme in STORES and "::" not in location:
        return None
    if is_web(location):
        return None
    raise error(
        f"{printable(location)} cannot be opened: expected a path, a file:// URL or one of "
        f"{', '.join(sorted(STORES))}://; if it is a member of a tar shard, give the shard."
    )


def filesystem_of(location: str) -> tuple[Any, str]:
    """Where a location is written, as fsspec's file system, and its path there.

    A path on this machine is never taken for a chained URL, though it holds ``::``.
    """
    import fsspec

    if is_web(location):
        raise TableError(
            f"{printable(location)} is a web address, where nothing is written; give a path or a store."
        )
    if (path := local_path(location)) is not None:
        return fsspec.filesystem("file"), os.path.abspath(path)
    filesystem, inner = fsspec.core.url_to_fs(location)
    return filesystem, str(inner)


def open_location(
    location: str, error: type[DiffAGIQAError] = TableError, hosts: Collection[str] = ()
) -> BinaryIO:
    """Open a location for reading; the same fault is an ImageError or a TableError by its use.

    On the web, only https on one of ``hosts`` is fetched.
    """
    path = local_path(location, error)
    if path is None and is_web(location) and not is_allowed(location, hosts):
        raise error(
            f"{printable(location)} is a web address, and only https:// on hosts named by --allow-host "
            "is fetched; allow its host, or download the file and give its path."
        )
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
    """An image or shard as a stream; a table, whose readers go back and forth, through a file."""
    stream = open_web(url)
    if suffix(urlsplit(url).path) not in TABLE_SUFFIXES:
        return stream
    with stream:
        whole = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115
        shutil.copyfileobj(stream, whole)
    whole.seek(0)
    return whole


def read_location(
    location: str,
    max_bytes: int,
    error: type[DiffAGIQAError] = TableError,
    hosts: Collection[str] = (),
) -> bytes:
    """All bytes of a location or of a member of an archive, refused above ``max_bytes``."""
    if (member := split_member(location)) is not None:
        try:
            return read_member(*member, max_bytes)
        except DiffAGIQAError as fault:
            raise error(f"{fault}.") from None
    with open_location(location, error, hosts) as file:
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
                    f"{shown} holds more than {counted(max_bytes, 'byte')}, which is the limit; "
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


@dataclass(slots=True)
class ShardEntry:
    """One image of a tar shard, or one fault: the member's name, its bytes, the texts beside it.

    ``texts`` maps "txt" and "json" to the bytes of the members with the image's key.
    """

    name: str
    data: bytes | None = field(default=None, repr=False)
    texts: dict[str, bytes] = field(default_factory=dict)
    error: str | None = None


def read_shard(
    shard: str, max_bytes: int, max_text: int, hosts: Collection[str] = ()
) -> Iterator[ShardEntry]:
    """Images of a WebDataset shard in its order, each with the texts that follow or precede it.

    Members are grouped by their name up to the first dot of its last part. The tar is read as a
    stream and nothing is unpacked to disk, so names cannot lead anywhere; links and devices are
    passed over. A second image under one key starts a new entry. Faults become entries, and
    after damage to the tar itself nothing more is read.
    """
    key, entry = None, None
    try:
        with (
            open_location(shard, hosts=hosts) as file,
            tarfile.open(fileobj=file, mode="r|") as tar,
        ):
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # it would keep every one it has seen
                folder, name = posixpath.split(member.name)
                stem, _, suffixes = name.partition(".")
                kind = suffixes.rpartition(".")[2].lower()
                image = f".{kind}" in IMAGE_SUFFIXES
                if not member.isreg() or not stem or not (image or kind in _TEXTS):
                    continue
                if holds_litter(member.name):
                    continue
                if (folder, stem) != key or (image and entry and entry.data is not None):
                    if entry:
                        yield _complete(entry)
                    key, entry = (folder, stem), ShardEntry(posixpath.join(folder, stem))
                assert entry is not None
                most = max_bytes if image else max_text
                if member.size > most:
                    fault = f"{printable(member.name)} holds {counted(member.size, 'byte')}"
                    fault += f", and the limit is {most:,}; leave it out or raise the limit."
                    entry.error, entry.name = fault, member.name if image else entry.name
                    continue
                body = tar.extractfile(member)
                data = body.read() if body else b""
                if image:
                    entry.name, entry.data = member.name, data
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


_TEXTS = ("txt", "json")


def _complete(entry: ShardEntry) -> ShardEntry:
    if entry.data is None and not entry.error:
        entry.error = f"{printable(entry.name)} has a text and no image; add one with its key."
    return entry
