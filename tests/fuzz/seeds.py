"""Small valid inputs of every target, for fuzzers and hypothesis to start from."""

from __future__ import annotations

import io
import json
import tarfile
from functools import cache

import pandas as pd
import pyarrow as pa
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pyarrow import parquet

from diffagiqa.model.config import ModelConfig

GRAPH = {
    "3": {"class_type": "KSampler", "inputs": {"positive": ["6", 0], "negative": ["7", 0]}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat"}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry"}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["3", 0]}},
}
EDITOR = {
    "nodes": [
        {"id": 3, "type": "KSampler", "inputs": [{"name": "positive", "link": 1}]},
        {"id": 6, "type": "s", "widgets_values": ["a cat"], "inputs": [{"name": "x", "link": 3}]},
        {"id": 7, "type": "GetNode", "widgets_values": ["y"]},
        {"id": 8, "type": "SetNode", "widgets_values": ["y"], "inputs": [{"name": "z", "link": 4}]},
        {"id": 9, "type": "Foo", "mode": 4, "outputs": [{"type": "C"}]},
    ],
    "links": [[1, 6, 0, 3, 0, "C"], [3, 7, 0, 6, 0, "C"], [4, 9, 0, 8, 0, "C"]],
    "definitions": {
        "subgraphs": [
            {
                "id": "s",
                "inputs": [{"name": "text", "type": "STRING"}],
                "nodes": [{"id": 1, "type": "Encode", "inputs": [{"name": "text", "link": 1}]}],
                "links": [
                    {"id": 1, "origin_id": -10, "origin_slot": 0, "target_id": 1, "target_slot": 0},
                    {"id": 2, "origin_id": 1, "origin_slot": 0, "target_id": -20, "target_slot": 0},
                ],
            }
        ]
    },
}
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/" xmlns:dc="d"><dc:description a="b"><li>{&quot;c&quot;: '
    b"&quot;a cat&quot;, &quot;uc&quot;: 1}</li></dc:description></x:xmpmeta>"
)


def _image(kind: str, mode: str = "RGB", **options: object) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (9, 7), 77 if mode in ("L", "P", "1", "I;16") else None).save(
        file,
        kind,
        **options,  # type: ignore[arg-type]
    )
    return file.getvalue()


def images() -> list[bytes]:
    """One picture per format and mode, some with a prompt in their metadata."""
    exif = Image.Exif()
    exif[0x010E] = "a cat"
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + "a cat\nSteps: 2".encode("utf-16-be")
    found = [
        _image("PNG"), _image("PNG", "RGBA"), _image("PNG", "P"), _image("PNG", "I;16"),
        _image("JPEG", exif=exif), _image("JPEG", "CMYK"), _image("WEBP", exif=exif),
        _image("WEBP", lossless=True), _image("GIF", "P", comment=b"a cat\nSteps: 2"),
        _image("JPEG", xmp=XMP, comment=b"a --ar 3:2"), _image("AVIF", exif=exif, xmp=XMP),
        _image("TIFF", compression="tiff_lzw"), _image("TIFF", "1"), _image("BMP"),
    ]  # fmt: skip
    for name, text in (
        ("parameters", "a cat\nNegative prompt: b\nSteps: 20"),
        ("prompt", json.dumps(GRAPH)),
        ("workflow", json.dumps(EDITOR)),
        ("XML:com.adobe.xmp", XMP.decode()),
        ("invokeai_metadata", '{"positive_prompt": "a cat"}'),
        ("Dream", '"a cat [blurry]" -s 50'),
    ):
        info = PngInfo()
        info.add_text(name, text)
        found.append(_image("PNG", pnginfo=info))
    return found


def _tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in (("a.png", _image("PNG")), ("a.txt", b"a cat"), ("b.json", b"{}")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def _parquet() -> bytes:
    out = io.BytesIO()
    rows = [{"image": "a.png", "prompt": "a cat", "mos": 1.5}, {"image": "b", "prompt": None}]
    parquet.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


_XMP = (
    b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><r:RDF xmlns:r='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>"
    b"<r:Description r:about='' xmlns:q='http://ns.adobe.com/xap/1.0/' q:Rating='3' "
    b"xmlns:d='urn:x-diffagiqa:scores:1.0/' d:a='&lt;'><d:b>1</d:b></r:Description></r:RDF></x:xmpmeta>"
)


@cache  # it holds the time of its making, and hypothesis asks for the same bytes again
def _workbook() -> bytes:
    out = io.BytesIO()
    rows = [{"image": "a.png", "prompt": "a cat", "mos": 1.5}, {"image": "b", "prompt": None}]
    pd.DataFrame(rows).to_excel(out, index=False)
    return out.getvalue()


def seeds() -> dict[str, list[bytes]]:
    """Seeds by target."""
    pictures = images()
    return {
        "image": pictures,
        "metadata": pictures,
        "tag": pictures,
        "xmp": [_XMP],
        "graph": [json.dumps(GRAPH).encode(), json.dumps(EDITOR).encode()],
        "sidecar": [
            "a cat\nNegative prompt: b\nSteps: 20, Seed: 1".encode("utf-16"),
            b"prompt: a cat\nSeed: 1\nSteps: 2\nNegative Prompt: b",
            b"caf\xe9 --ar 3:2 Job ID: 0f0f0f0f-1111-4222-8333-abcdefabcdef",
            b'"a cat [b]" -s 50 -S 1',
            b'{"uc": "b", "v4_prompt": {"caption": {"base_caption": "a", "char_captions": [{}]}}}',
        ],
        "prompt": [b"a cat", "\u202ea\0\u200d\ufeff".encode()],
        "config": [ModelConfig().to_json().encode()],
        "request": [b'{"images": [{"image": "aGk=", "prompt": "a cat"}]}', b'{"url": "https://a"}'],
        "csv": [b'image,prompt\na.png,"a, cat"\n../b,=1\n', b"\xef\xbb\xbfpath\r\n/x\r\n",
                "sep=;\r\nimage;mos\r\na\\é.png;1,5\r\n".encode("utf-16")],
        "jsonl": [b'{"image": "a.png", "prompt": "a cat"}\n{}\n'],
        "json": [b'[{"image": "a.png", "prompt": "a cat"}]'],
        "parquet": [_parquet()],
        "xlsx": [_workbook()],
        "tar": [_tar()],
    }  # fmt: skip
