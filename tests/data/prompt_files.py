"""Image files with a text at a chosen place, for the tests of prompts."""

from __future__ import annotations

import io
import zlib
from typing import Any

from PIL import Image, PngImagePlugin

IMAGE = Image.new("RGB", (8, 8), (90, 120, 60))
KETTLE = "a copper kettle on a mossy stone wall"
SETTINGS = "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 64x64"
INFOTEXT = f"{KETTLE}\nNegative prompt: fog, text\n{SETTINGS}"


def saved(kind: str, **options: Any) -> bytes:
    """The image in a format of Pillow's."""
    out = io.BytesIO()
    IMAGE.save(out, kind, **options)
    return out.getvalue()


def png(**texts: str) -> bytes:
    """A PNG with texts by keyword; in Python's names, __ stands for a hyphen."""
    info = PngImagePlugin.PngInfo()
    for key, text in texts.items():
        info.add_text(key.replace("__", "-"), text)
    return saved("PNG", pnginfo=info)


def with_exif(
    kind: str = "JPEG",
    comment: bytes | str | None = None,
    tags: dict[int, Any] | None = None,
    **options: Any,
) -> bytes:
    """An image with a UserComment, with tags of the main directory, and what Pillow takes besides."""
    exif = Image.Exif()
    for tag, value in (tags or {}).items():
        exif[tag] = value
    if comment is not None:
        exif[0x8769] = {0x9286: comment}
    if kind == "TIFF":  # Pillow writes a directory there only if it has read it
        block = exif.tobytes()
        exif = Image.Exif()
        exif.load(block)
        exif.get_ifd(0x8769)
    return saved(kind, exif=exif, **options)


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    crc = zlib.crc32(kind + body)
    return len(body).to_bytes(4, "big") + kind + body + crc.to_bytes(4, "big")


def png_with(*chunks: bytes, after: bool = False) -> bytes:
    """A PNG with chunks before or after its pixels."""
    plain = saved("PNG")
    place = len(plain) - 12 if after else 33
    return plain[:place] + b"".join(chunks) + plain[place:]


def xmp(properties: str) -> bytes:
    """A packet of XMP around the elements of a description."""
    spaces = " ".join(
        f'xmlns:{prefix}="{space}"'
        for prefix, space in {
            "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
            "dc": "http://purl.org/dc/elements/1.1/",
            "exif": "http://ns.adobe.com/exif/1.0/",
            "ext": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
        }.items()
    )
    return (
        f'<?xpacket begin="\ufeff" id="W5M0"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF {spaces}>'
        f"<rdf:Description>{properties}</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end='w'?>"
    ).encode()


def xmp_list(name: str, text: str) -> str:
    """A property of XMP with one text, in its default language."""
    return f'<{name}><rdf:Alt><rdf:li xml:lang="x-default">{text}</rdf:li></rdf:Alt></{name}>'
