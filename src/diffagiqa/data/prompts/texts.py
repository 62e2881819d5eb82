"""Every text in an image file, decoded, with what it stands in and its name there.

Metadata comes from strangers: sizes are bounded, and what cannot be read is not there.
"""

from __future__ import annotations

import codecs
import contextlib
import re
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from diffagiqa.data.containers import png_chunks
from diffagiqa.data.images import ImageLimits, open_pil, without_warnings
from diffagiqa.data.lines import unmarked_utf16

MAX_TEXT = 8_000_000  # bytes of one text; large ComfyUI graphs hold 1,000,000
_MAX_TEXTS = 32_000_000  # bytes of all texts of a file, unpacked
_PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"eXIf")
_EXIF_IFD, _USER_COMMENT = 0x8769, 0x9286
_XP_TAGS = range(0x9C9B, 0x9CA0)  # Windows: title, comment, author, keywords, subject
_LATIN = frozenset(
    "\u201c\u201d\u2018\u2019\u2013\u2014\u2026«»°©®™€£·\xd7½¼²³¿¡•\xa0"
)  # besides letters


class Text(NamedTuple):
    """A text of a file.

    Attributes:
        container: "png", "exif", "xmp", "comment", "alpha" or "sidecar".
        name: keyword of a PNG, property of XMP, number of an EXIF tag; may be empty.
        text: as decoded, at most ``MAX_TEXT`` characters.
    """

    container: str
    name: str
    text: str


def decode_text(data: bytes, wide: bool = False) -> str | None:
    r"""Bytes of unknown encoding as text: UTF-8, UTF-16 of either order, JIS, Latin; None for others.

    ``wide`` says that the bytes are declared to be UTF-16, which UTF-8 often is, too.

    >>> decode_text("猫".encode("utf-16")), decode_text(b"caf\xe9"), decode_text("狗".encode("gbk"))
    ('猫', 'café', None)
    """
    data = data[:MAX_TEXT]
    even = data[: len(data) & ~1]
    if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return even.decode("utf-16", "replace").strip("\0")
    if order := unmarked_utf16(data):
        return even.decode(order, "replace").strip("\0")
    data = data.strip(b"\0")
    if b"\x1b$" in data[:1000] and data.isascii():
        return data.decode("iso2022_jp", "replace")
    with contextlib.suppress(UnicodeDecodeError):
        text, used = codecs.utf_8_decode(data, "strict", False)
        if used == len(data) or not text.isascii():  # else a character is cut off at the end
            return text.removeprefix("\ufeff")
    if wide:
        return even.decode(unmarked_utf16(even, True) or "", "replace").strip("\0")
    with contextlib.suppress(UnicodeDecodeError):
        text = data.decode("cp1252")
        # Other encodings' letters are pairs of such bytes, which no word in Latin letters is made of.
        runs = re.findall(r"[^\0-\x7f]+", text)
        if all(len(run) == 1 or (len(run) < 4 and run.islower()) for run in runs) and all(
            letter in _LATIN or letter.isalpha() for letter in "".join(runs)
        ):
            return text
    return None


def image_texts(data: bytes, limits: ImageLimits) -> Iterator[Text]:
    """The texts in an image file's metadata, in its order: PNG, EXIF, XMP, comments.

    ImageError and whatever else Pillow raises where the file is no image.
    """
    if data.startswith(b"\x89PNG"):
        budget = _MAX_TEXTS
        for kind, chunk in png_chunks(data):
            for text in _png_texts(kind, chunk[8:-4]) if kind in _PNG_TEXTS else ():
                if (budget := budget - len(text.text)) < 0:
                    return
                yield text
        return
    with without_warnings():
        image = open_pil(data, limits=limits)
        segments = getattr(image, "applist", ())  # of a JPEG
        comments = [body for kind, body in segments if kind == "COM"]
        for comment in comments + list(_gif_comments(data) if image.format == "GIF" else ()):
            yield from _decoded("comment", "", comment)
        with contextlib.suppress(
            Exception
        ):  # broken EXIF raises many things; the rest still counts
            yield from _exif_texts(image.getexif())
        yield from xmp_texts(image.info.get("xmp") or b"")


def _gif_comments(data: bytes) -> Iterator[bytes]:
    """Whatever looks like a comment, also behind the first image; noise is no known format."""
    start = 0
    while (start := data.find(b"!\xfe", start) + 2) >= 2:
        parts = []
        while start < len(data) and (size := data[start]):
            parts.append(data[start + 1 : start + 1 + size])
            start += 1 + size
        yield b"".join(parts)


def _png_texts(kind: bytes, body: bytes) -> Iterator[Text]:
    if kind == b"eXIf":
        yield from _exif_block(body)
        return
    keyword, _, rest = body.partition(b"\0")
    packed = kind == b"zTXt" or (kind == b"iTXt" and rest[:1] == b"\1")
    # Before the text: the packing; in iTXt flag, packing, language and translated keyword.
    rest = rest[2:].split(b"\0", 2)[-1] if kind == b"iTXt" else rest[packed:]
    text = _unpacked(rest) if packed else rest
    name = keyword.decode("latin-1")
    if name.startswith("Raw profile type"):  # ImageMagick's: name, length, then hexadecimal digits
        with contextlib.suppress(ValueError, IndexError):
            text = bytes.fromhex(text.split(None, 2)[2].decode("ascii"))
            yield from _exif_block(text)
            yield from xmp_texts(text)
    elif name == "XML:com.adobe.xmp":
        yield from xmp_texts(text)
    else:
        yield from _decoded("png", name, text)


def _unpacked(data: bytes, bits: int = zlib.MAX_WBITS) -> bytes:
    with contextlib.suppress(zlib.error):
        return zlib.decompressobj(bits).decompress(data, MAX_TEXT + 1)
    return b""


def _decoded(container: str, name: str, data: bytes) -> Iterator[Text]:
    if len(data) <= MAX_TEXT and (text := decode_text(data)):
        yield Text(container, name, text)


def _exif_block(data: bytes) -> Iterator[Text]:
    with contextlib.suppress(Exception), without_warnings():
        exif = Image.Exif()
        exif.load(data)
        yield from _exif_texts(exif)


def _exif_texts(exif: Image.Exif) -> Iterator[Text]:
    tags = {**exif, **exif.get_ifd(_EXIF_IFD)}
    # Its own tag first; ComfyUI and others write into any, and some write this one into IFD0.
    for tag in sorted(tags, key=lambda tag: tag != _USER_COMMENT):
        value: Any = tags[tag]
        if isinstance(value, str):
            value = value.encode("latin-1", "replace")  # as which Pillow reads it
        if not isinstance(value, bytes) or len(value) < 2:
            continue
        if value.lstrip().startswith((b"<x:xmpmeta", b"<?xpacket")):
            yield from xmp_texts(value)
            continue
        # The code of the characters, which half of all writers get wrong.
        code = value[:8].rstrip(b"\0 ").upper()
        value = value[8:] if code in (b"UNICODE", b"ASCII", b"JIS", b"UTF-8", b"") else value
        if text := decode_text(value, code == b"UNICODE" or tag in _XP_TAGS):
            yield Text("exif", str(tag), text)


_STRUCTURE = ("xmpmeta", "RDF", "Description", "Alt", "Bag", "Seq", "li")


def xmp_texts(packet: bytes) -> Iterator[Text]:
    """The properties of an XMP packet, from elements and attributes; none where it is broken.

    A packet that declares entities is not read, since these may grow without bound.
    """
    text = decode_text(packet)
    if not text or len(packet) > MAX_TEXT or "<!" in text:
        return
    try:
        root = ElementTree.fromstring(text.strip("\0 \t\r\n\ufeff"))
    except (ElementTree.ParseError, ValueError):
        return
    pending = [(root, "")]
    while pending:
        element, owner = pending.pop()
        name = _local(element.tag)
        name = owner if name in _STRUCTURE else name
        for key, value in ((name, element.text), *element.attrib.items()):
            if value and value.strip() and _local(key) not in ("lang", "about"):
                yield Text("xmp", _local(key), value)
        pending += [(child, name) for child in reversed(element)]


def _local(tag: Any) -> str:
    return str(tag).rpartition("}")[2]


def hidden_texts(data: bytes, limits: ImageLimits) -> Iterator[Text]:
    """The text in the lowest bits of the alpha channel, column by column, as NovelAI writes it."""
    with without_warnings():
        image = open_pil(data, limits=limits)
        if image.mode != "RGBA":
            return
        alpha = np.asarray(image)[:, :, 3]  # (H, W)

    def read(start: int, count: int) -> bytes:
        """Bytes from a place, both counted in bytes."""
        height = len(alpha)
        first, last = start * 8 // height, -(-(start + count) * 8 // height)
        bits = alpha[:, first:last].T.reshape(-1) & 1
        offset = start * 8 - first * height
        return np.packbits(bits[offset : offset + count * 8]).tobytes()

    mark, size = read(0, 15), int.from_bytes(read(15, 4), "big") // 8
    if mark in (b"stealth_pnginfo", b"stealth_pngcomp") and size <= alpha.size // 8:
        body = read(19, size)
        packed = mark.endswith(b"comp")
        yield from _decoded("alpha", "", _unpacked(body, zlib.MAX_WBITS | 16) if packed else body)
