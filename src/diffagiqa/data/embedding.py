"""Where PNG, JPEG and WebP keep their XMP: the packet of a file, and the file with another packet.

A file is taken apart to chunks and put together again, so that pixels and all other metadata stay byte
for byte. What carries content credentials (C2PA) is refused, since any change would break their seal.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from diffagiqa.data.containers import jpeg_segments, png_chunks
from diffagiqa.data.xmp import MAX_PACKET
from diffagiqa.errors import ImageError

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_PNG_KEY, _JPEG_KEY = b"XML:com.adobe.xmp\0", b"http://ns.adobe.com/xap/1.0/\0"
_JPEG_MOST = 65_533 - len(_JPEG_KEY)  # bytes of a packet in one segment
_XMP_FLAG, _ALPHA_FLAG = 0x04, 0x10  # of WebP's VP8X


class _Chunk(NamedTuple):
    """A chunk or segment: its name, all its bytes, and what it holds; other bytes are named b""."""

    name: bytes
    whole: bytes
    body: bytes = b""


def read_packet(data: bytes) -> bytes | None:
    """The XMP packet in an image file, None where there is none.

    Raises:
        ImageError: it is no PNG, JPEG or WebP, or is damaged; or the packet is above the limit.
    """
    packets = (_packet(chunk) for chunk in _chunks(data))
    return next((packet for packet in packets if packet is not None), None)


def with_packet(data: bytes, packet: bytes | None, simple: bool = False) -> bytes:
    """An image file with this packet in place of its own; None: without one.

    ``with_packet(with_packet(data, packet), None, is_simple(data))`` is ``data`` where that had none.

    Args:
        simple: without a packet, give a WebP that needs no more the simple layout, as ``is_simple``
            found it before.

    Raises:
        ImageError: as for ``read_packet``; or it cannot hold the packet, or must not be changed.
    """
    chunks = _chunks(data)
    if any(
        c.name in (b"caBX", b"C2PA") or (c.name == b"\xeb" and b"c2pa" in c.body) for c in chunks
    ):
        raise ImageError(
            "it carries content credentials, which a change would break; use --sidecar"
        )
    at = next((i for i, chunk in enumerate(chunks) if _packet(chunk) is not None), None)
    if at is not None:
        del chunks[at]
    elif data.startswith(_PNG):
        at = next(i for i, chunk in enumerate(chunks) if chunk.name == b"IDAT")
    elif data.startswith(_JPEG):  # behind JFIF and EXIF, which readers expect first
        at = next(i for i, c in enumerate(chunks) if i and c.name not in (b"\xe0", b"\xe1"))
    else:
        at = len(chunks) - 1
    if packet is not None:
        if data.startswith(_PNG):
            chunks.insert(at, _png_chunk(b"iTXt", _PNG_KEY + bytes(4) + packet))
        elif data.startswith(_JPEG):
            chunks.insert(at, _segment(_JPEG_KEY + packet))
        else:
            chunks.insert(at, _riff_chunk(b"XMP ", packet))
    if data.startswith(b"RIFF"):
        chunks = _announced(chunks, packet is not None, simple)
    return b"".join(chunk.whole for chunk in chunks)


def can_hold(data: bytes) -> bool:
    """Whether a file is of a format whose XMP can be changed."""
    return data.startswith((_PNG, _JPEG)) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")


def is_simple(data: bytes) -> bool:
    """Whether a file is a WebP in the simple layout, which has no room for metadata."""
    return data.startswith(b"RIFF") and data[12:16] in (b"VP8 ", b"VP8L")


def _chunks(data: bytes) -> list[_Chunk]:
    if data.startswith(_PNG):
        return _png_chunks(data)
    if data.startswith(_JPEG):
        return _jpeg_segments(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return list(_webp_chunks(data))
    raise ImageError("it is no PNG, JPEG or WebP, whose XMP can be changed; use --sidecar")


def _damaged() -> ImageError:
    return ImageError("it is damaged or cut short, so it is left")


def _packet(chunk: _Chunk) -> bytes | None:
    if chunk.name == b"XMP ":
        return chunk.body
    if chunk.name == b"\xe1" and chunk.body.startswith(_JPEG_KEY):
        return chunk.body[len(_JPEG_KEY) :]
    if chunk.name != b"iTXt" or not chunk.body.startswith(_PNG_KEY):
        return None
    compressed = chunk.body[len(_PNG_KEY) : len(_PNG_KEY) + 1] == b"\1"
    text = chunk.body[len(_PNG_KEY) + 2 :].split(b"\0", 2)[-1]  # after the language and the keyword
    if not compressed:
        return text
    try:
        unpacked = zlib.decompressobj().decompress(text, MAX_PACKET + 1)
    except zlib.error:
        raise _damaged() from None
    return unpacked  # one byte too many is refused as XMP


def _png_chunks(data: bytes) -> list[_Chunk]:
    chunks = [_Chunk(name, whole, whole[8:-4]) for name, whole in png_chunks(data)]
    end = len(_PNG) + sum(len(chunk.whole) for chunk in chunks)
    names = {chunk.name for chunk in chunks}
    if b"IDAT" not in names or (b"IEND" not in names and end < len(data)):
        raise _damaged()
    return [_Chunk(b"", _PNG), *chunks, _Chunk(b"", data[end:])]


def _png_chunk(name: bytes, body: bytes) -> _Chunk:
    checksum = struct.pack(">I", zlib.crc32(name + body))
    return _Chunk(name, struct.pack(">I", len(body)) + name + body + checksum, body)


def _jpeg_segments(data: bytes) -> list[_Chunk]:
    """The segments before the image data, named by their marker, and that data."""
    segments = list(jpeg_segments(data))
    if not segments or segments[-1][0] != 0xDA:
        raise _damaged()
    heads = [
        _Chunk(bytes([marker]), whole, whole.lstrip(b"\xff")[3:]) for marker, whole in segments[:-1]
    ]
    return [_Chunk(b"", data[:2]), *heads, _Chunk(b"", segments[-1][1])]


def _segment(body: bytes) -> _Chunk:
    if len(body) > 65_533:
        raise ImageError(f"with its own XMP, that has over {_JPEG_MOST:,} bytes; use --sidecar")
    return _Chunk(b"\xe1", b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body, body)


def _webp_chunks(data: bytes) -> Iterator[_Chunk]:
    end = 8 + int.from_bytes(data[4:8], "little")
    yield _Chunk(b"RIFF", data[:12])
    at = 12
    while at < end:
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        behind = at + 8 + size + size % 2
        if behind > min(end, len(data)):
            raise _damaged()
        yield _Chunk(data[at : at + 4], data[at:behind], data[at + 8 : at + 8 + size])
        at = behind
    yield _Chunk(b"", data[at:])


def _riff_chunk(name: bytes, body: bytes) -> _Chunk:
    return _Chunk(name, name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2), body)


def _announced(chunks: list[_Chunk], has_xmp: bool, simple: bool) -> list[_Chunk]:
    """A WebP's chunks with a head that says whether there is XMP, and how long they are."""
    _, *inner, trailing = chunks
    if not inner:
        raise _damaged()
    first = inner[0]
    if first.name == b"VP8X" and len(first.body) == 10:
        flags = first.body[0] & ~_XMP_FLAG | (_XMP_FLAG if has_xmp else 0)
        inner[0] = _riff_chunk(b"VP8X", bytes([flags]) + first.body[1:])
        plain = len(inner) == 2 and inner[1].name in (b"VP8 ", b"VP8L")
        if simple and plain and not flags & ~_ALPHA_FLAG:
            del inner[0]
    elif has_xmp:
        width, height, alpha = _canvas(first)
        flags = _XMP_FLAG | (_ALPHA_FLAG if alpha else 0)
        size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        inner.insert(0, _riff_chunk(b"VP8X", bytes([flags, 0, 0, 0]) + size))
    length = sum(len(chunk.whole) for chunk in inner) + 4
    head = _Chunk(b"RIFF", b"RIFF" + struct.pack("<I", length) + b"WEBP")
    return [head, *inner, trailing]


def _canvas(chunk: _Chunk) -> tuple[int, int, bool]:
    """Width, height and whether there is transparency, of an image in the simple layout."""
    if chunk.name == b"VP8L" and chunk.body[:1] == b"\x2f" and len(chunk.body) >= 5:
        bits = int.from_bytes(chunk.body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1)
    if chunk.name == b"VP8 " and chunk.body[3:6] == b"\x9d\x01\x2a" and len(chunk.body) >= 10:
        width, height = (side & 0x3FFF for side in struct.unpack("<HH", chunk.body[6:10]))
        if width and height:
            return width, height, False
    raise _damaged()
