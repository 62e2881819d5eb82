"""What image files are made of, chunk by chunk, and files without their metadata."""

from __future__ import annotations

from collections.abc import Iterator

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
_PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_JPEG_TEXTS = (*range(0xE2, 0xEE), 0xFE)  # but JFIF, EXIF and Adobe's, which tells the colours
_JPEG_HEADS = (0xE0, 0xE1)  # JFIF and EXIF
_JPEG_SCAN = 0xDA  # behind it come the pixels, and no lengths


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a PNG: kind, and all bytes from length to checksum; up to IEND or a wrong length.

    >>> list(png_chunks(b"\\x89PNG\\r\\n\\x1a\\n" + bytes(3) + b"\\1tEXt!CRC."))
    [(b'tEXt', b'\\x00\\x00\\x00\\x01tEXt!CRC.')]
    """
    start, kind = len(_PNG), b""
    while kind != b"IEND" and start + 12 <= len(data):
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        if end > len(data):
            return
        kind = data[start + 4 : start + 8]
        yield kind, data[start:end]
        start = end


def jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The segments of a JPEG: marker, and all bytes with the fill bytes before it; the last is the scan
    with the rest, unless the file is damaged before."""
    start, marker = len(_JPEG), 0
    while marker != _JPEG_SCAN:
        at = start
        while data[at : at + 1] == b"\xff":
            at += 1
        size = int.from_bytes(data[at + 1 : at + 3], "big")
        if at == start or size < 2 or at + 1 + size > len(data):
            return
        marker = data[at]
        end = len(data) if marker == _JPEG_SCAN else at + 1 + size
        yield marker, data[start:end]
        start = end


def without_metadata(data: bytes) -> Iterator[bytes]:
    """A PNG or JPEG with its pixels alone, first with EXIF, which turns them upright, then without.

    Nothing for other formats. The pixels' own parts stay as they are, damaged or not.
    """
    for exif in (True, False):
        if data.startswith(_PNG):
            parts = (*_PNG_PIXELS, b"eXIf") if exif else _PNG_PIXELS
            yield _PNG + b"".join(chunk for kind, chunk in png_chunks(data) if kind in parts)
        elif data.startswith(_JPEG):
            left = _JPEG_TEXTS if exif else (*_JPEG_TEXTS, *_JPEG_HEADS)
            yield _JPEG + b"".join(
                part for marker, part in jpeg_segments(data) if marker not in left
            )
