"""Texts in files: where they stand, how they are encoded, and what is too large or broken."""

import gzip
import io
import json
import random
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from prompt_files import (
    IMAGE,
    INFOTEXT,
    KETTLE,
    SETTINGS,
    chunk,
    png,
    png_with,
    saved,
    with_exif,
    xmp,
    xmp_list,
)

from diffagiqa.data.images import ImageLimits, decode_image
from diffagiqa.data.prompts import decode_text, find_prompt, prompt_from_image_bytes
from diffagiqa.errors import ImageError, PromptError

JAPANESE = "苔むした石垣の上の銅のやかん"
ONES = f"一一一, 一座山上\n{SETTINGS}"  # a character whose low byte is 0
FRENCH = "une théière de cuivre, créée à la main"


@pytest.mark.parametrize(
    ("data", "wide", "text"),
    [
        (JAPANESE.encode(), False, JAPANESE),
        (JAPANESE.encode("utf-8-sig"), False, JAPANESE),
        (JAPANESE.encode()[:-1], False, JAPANESE[:-1]),
        (JAPANESE.encode("utf-16"), False, JAPANESE),
        (JAPANESE.encode("utf-16-le"), True, JAPANESE),
        (JAPANESE.encode("utf-16-be"), True, JAPANESE),
        (JAPANESE.encode(), True, JAPANESE),
        (f"{JAPANESE}\n{SETTINGS}".encode("utf-16-be"), False, f"{JAPANESE}\n{SETTINGS}"),
        (f"{JAPANESE}\n{SETTINGS}".encode("utf-16-le") + b"\0", False, f"{JAPANESE}\n{SETTINGS}"),
        (KETTLE.encode("utf-16-le") + bytes(4), False, KETTLE),
        (ONES.encode("utf-16-le"), True, ONES),
        (ONES.encode("utf-16-be"), False, ONES),
        ("แมวแดงบนกำแพง".encode("utf-16-le"), False, "แมวแดงบนกำแพง"),
        (JAPANESE.encode("iso2022_jp"), False, JAPANESE),
        (KETTLE.encode() + bytes(100), False, KETTLE),
        (KETTLE.encode("utf-16-be"), False, KETTLE),
        (FRENCH.encode("latin-1"), False, FRENCH),
        ("“red”, 5 €".encode("cp1252"), False, "“red”, 5 €"),
        (JAPANESE.encode("shift_jis"), False, None),
        ("一幅画".encode("gbk"), False, None),
        ("a 狗 dog".encode("gbk"), False, None),
        ("рыжий кот".encode("cp1251"), False, None),
        (bytes(range(128, 256)), False, None),
        (b"", False, ""),
    ],
)
def test_decoding(data, wide, text):
    assert decode_text(data, wide) == text


CODES = {
    "utf16_be": b"UNICODE\0" + INFOTEXT.encode("utf-16-be"),
    "utf16_le": b"UNICODE\0" + INFOTEXT.encode("utf-16-le"),
    "utf16": b"UNICODE\0" + INFOTEXT.encode("utf-16"),
    "utf16_with_spaces": b"UNICODE " + INFOTEXT.encode("utf-16-le"),
    "ascii_with_spaces": b"ASCII   " + INFOTEXT.encode(),
    "jis": b"JIS\0\0\0\0\0" + INFOTEXT.encode("iso2022_jp"),
    "utf8_said_to_be_utf16": b"UNICODE\0" + INFOTEXT.encode(),
    "ascii": b"ASCII\0\0\0" + INFOTEXT.encode(),
    "utf16_said_to_be_ascii": b"ASCII\0\0\0" + INFOTEXT.encode("utf-16-le"),
    "undefined": bytes(8) + INFOTEXT.encode(),
    "none": INFOTEXT.encode(),
    "string": INFOTEXT,
    "padded": b"ASCII\0\0\0" + INFOTEXT.encode() + bytes(9),
}


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG", "TIFF", "AVIF"])
@pytest.mark.parametrize("code", CODES)
def test_user_comment(kind, code):
    assert prompt_from_image_bytes(with_exif(kind, CODES[code])) == (KETTLE, "exif a1111")


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG", "TIFF", "AVIF"])
@pytest.mark.parametrize("tag", [0x010E, 0x010F, 0x0131, 0x9286, 0x9C9C])
def test_other_tags(kind, tag):
    value = INFOTEXT.encode("utf-16-le") + b"\0\0" if tag == 0x9C9C else INFOTEXT
    if kind != "TIFF":
        assert prompt_from_image_bytes(with_exif(kind, tags={tag: value})) == (KETTLE, "exif a1111")


def test_utf8_in_exif_strings():
    text = INFOTEXT.replace("copper", "苔")
    data = with_exif(tags={0x010E: text.encode()})
    assert prompt_from_image_bytes(data)[0] == KETTLE.replace("copper", "苔")


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize(
    "properties",
    [
        xmp_list("dc:description", INFOTEXT),
        xmp_list("exif:UserComment", json.dumps({"c": KETTLE, "uc": "x"}).replace('"', "&quot;")),
        f"<ext:AIPromptInformation>{KETTLE}</ext:AIPromptInformation>",
    ],
)
def test_xmp(kind, properties):
    packet = xmp(properties)
    options = {"tiffinfo": {700: packet}} if kind == "TIFF" else {"xmp": packet}
    prompt, source = prompt_from_image_bytes(saved(kind, **options))
    assert (prompt, source.split()[0]) == (KETTLE, "xmp")


def test_xmp_in_attributes_of_a_png():
    packet = xmp("").replace(
        b"<rdf:Description>", f'<rdf:Description ext:AIPromptInformation="{KETTLE}">'.encode()
    )
    assert prompt_from_image_bytes(png(XML__com="x")) == (None, "none")
    body = b"XML:com.adobe.xmp" + bytes(5) + packet
    assert prompt_from_image_bytes(png_with(chunk(b"iTXt", body))) == (KETTLE, "xmp plain")


EXIF = Image.open(io.BytesIO(with_exif(comment=INFOTEXT))).info["exif"]


def test_an_editors_history_is_no_prompt():
    """Photoshop calls what it did there ``parameters``."""
    history = (
        '<dc:x><rdf:Seq><rdf:li ext:parameters="from image/png to image/jpeg"/></rdf:Seq></dc:x>'
    )
    assert prompt_from_image_bytes(saved("JPEG", xmp=xmp(history))) == (None, "none")


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    "texts",
    [
        chunk(b"tEXt", b"parameters\0" + INFOTEXT.encode()),
        chunk(b"zTXt", b"parameters\0\0" + zlib.compress(INFOTEXT.encode())),
        chunk(b"iTXt", b"parameters\0\0\0en\0p\0" + INFOTEXT.encode()),
        chunk(b"iTXt", b"parameters\0\1\0\0\0" + zlib.compress(INFOTEXT.encode())),
        chunk(b"tEXt", b"Raw profile type exif\0\nexif\n   9\n" + EXIF.hex().encode()),
    ],
    ids=["tEXt", "zTXt", "iTXt", "iTXt_packed", "hex"],
)
def test_png_chunks(texts, after):
    assert prompt_from_image_bytes(png_with(texts, after=after))[0] == KETTLE


def test_comments():
    jpeg = saved("JPEG", comment=b"Created with GIMP")
    second = b"\xff\xfe" + (len(INFOTEXT) + 2).to_bytes(2, "big") + INFOTEXT.encode()
    assert prompt_from_image_bytes(jpeg[:2] + second + jpeg[2:]) == (KETTLE, "comment a1111")
    assert prompt_from_image_bytes(jpeg) == (None, "none")
    gif = saved("GIF", comment=INFOTEXT.encode())
    assert prompt_from_image_bytes(gif) == (KETTLE, "comment a1111")
    behind = b"!\xfe" + bytes([len(INFOTEXT)]) + INFOTEXT.encode() + b"\0;"
    assert prompt_from_image_bytes(saved("GIF")[:-1] + behind) == (KETTLE, "comment a1111")


@pytest.mark.parametrize("packed", [True, False])
def test_text_hidden_in_alpha(packed):
    text = json.dumps({"Software": "NovelAI", "Comment": json.dumps({"prompt": KETTLE, "uc": "x"})})
    body = gzip.compress(text.encode()) if packed else text.encode()
    hidden = (
        (b"stealth_pngcomp" if packed else b"stealth_pnginfo")
        + (8 * len(body)).to_bytes(4, "big")
        + body
    )
    bits = np.unpackbits(np.frombuffer(hidden, np.uint8))
    columns = np.full(47 * 61, 255, np.uint8)
    columns[: len(bits)] = 254 | bits
    alpha = columns.reshape(47, 61).T  # (H, W), written column by column
    pixels = np.dstack([np.zeros((61, 47, 3), np.uint8), alpha])
    out = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(out, "PNG")
    assert prompt_from_image_bytes(out.getvalue()) == (KETTLE, "alpha novelai")


def test_what_states_a_prompt_goes_before_a_graph():
    graph = {"3": {"class_type": "KSampler", "inputs": {"positive": ["6", 0]}},
             "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a graph"}}}  # fmt: skip
    assert prompt_from_image_bytes(png(prompt=json.dumps(graph), parameters=INFOTEXT)) == (
        KETTLE,
        "png a1111",
    )
    # ComfyUI runs the API's graph, which stands behind the editor's in a WebP.
    edited = {"nodes": [{"id": 3, "type": "KSampler", "widgets_values": {"positive": "stale"}}]}
    webp = {0x010F: f"Workflow:{json.dumps(edited)}", 0x0110: f"Prompt:{json.dumps(graph)}"}
    assert prompt_from_image_bytes(with_exif("WEBP", tags=webp)) == ("a graph", "exif comfyui")
    empty = png(parameters=f"\n{SETTINGS}", prompt=json.dumps(graph))
    assert prompt_from_image_bytes(empty) == ("a graph", "png comfyui")
    unknown = png(
        parameters=f"unknown\n{SETTINGS}", prompt=json.dumps(graph)
    )  # that node's default
    assert prompt_from_image_bytes(unknown) == ("a graph", "png comfyui")
    assert prompt_from_image_bytes(png(parameters=f"\n{SETTINGS}")) == ("", "png a1111")
    two = png(parameters=INFOTEXT, Comment='{"prompt": "another", "uc": ""}')
    assert prompt_from_image_bytes(two) == (KETTLE, "png a1111 ambiguous")


def test_a_text_of_no_format_counts_by_its_name_alone():
    assert prompt_from_image_bytes(png(prompt=KETTLE)) == (KETTLE, "png plain")
    assert prompt_from_image_bytes(png(Description=KETTLE, parameters="  ")) == (None, "none")
    assert prompt_from_image_bytes(with_exif(comment=b"ASCII\0\0\0" + KETTLE.encode())) == (
        None,
        "none",
    )
    novelai = png(Software="NovelAI", Description=KETTLE, Source="Stable Diffusion 1D44365E")
    assert prompt_from_image_bytes(novelai) == (KETTLE, "png novelai")


DEEP = '{"a":' * 100_000
DEEP_XMP = b"<a>" * 200_000 + b"</a>" * 200_000
HOSTILE = {
    "nothing": b"",
    "not_a_picture": b"parameters\0a cat\nSteps: 3",
    "no_metadata": png(),
    "text_bomb": png_with(chunk(b"zTXt", b"parameters\0\0" + zlib.compress(bytes(50_000_000), 9))),
    "many_bombs": png_with(*[chunk(b"zTXt", b"a\0\0" + zlib.compress(b"a" * 8_000_000, 9))] * 100),
    "deep_json": png(prompt=DEEP, workflow=DEEP, invokeai_metadata=DEEP, parameters=DEEP),
    "long_integer": png(prompt='{"a": ' + "9" * 10_000 + "}"),
    "lying_length": png_with(b"\xff\xff\xff\xfftEXtparameters\0a cat"),
    "broken_packing": png_with(chunk(b"zTXt", b"parameters\0\0not zlib")),
    "half_an_itxt": png_with(chunk(b"iTXt", b"parameters\0")),
    "bad_hex": png_with(chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 3\nxyz")),
    "entities": saved("JPEG", xmp=b'<!DOCTYPE a [<!ENTITY b "bb">]><x:xmpmeta>&b;</x:xmpmeta>'),
    "deep_xmp": png_with(chunk(b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + DEEP_XMP)),
    "xmp_without_end": saved("JPEG", xmp=b"<dc:description>" * 2_000),
    "many_nodes": png(
        prompt=json.dumps(
            {"k": {"class_type": "KSampler", "inputs": {"positive": ["t", 0]}},
             "t": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat"}}}
            | {str(i): {"class_type": "Note", "inputs": {}} for i in range(20_000)}
        )
    ),
    "brackets": png(sd__metadata="{" * 100_000, Dream="[" * 200_000),
    "broken_exif": with_exif(comment=b"x")[:30] + b"\xff" * 20,
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.timeout(60)
def test_hostile_metadata_counts_as_none(name):
    assert prompt_from_image_bytes(HOSTILE[name]) == (None, "none")


def test_large_or_broken_texts_and_profiles_leave_the_pixels():
    large = zlib.compress(bytes(3_000_000))
    bodies = [(b"zTXt", b"a\0\0" + large), (b"iTXt", b"a\0\1\0\0\0" + large), (b"iCCP", b"a\0\0" + large),
              (b"iCCP", b"a\0\0broken")]  # fmt: skip
    for kind, body in bodies:
        for after in (False, True):
            assert (decode_image(png_with(chunk(kind, body), after=after)) == np.array(IMAGE)).all()
    for kind in (b"tEXt", b"eXIf"):
        damaged = bytearray(png_with(chunk(kind, b"a\0b")))
        damaged[damaged.index(kind) + 5] ^= 1  # its checksum is wrong
        assert (decode_image(bytes(damaged)) == np.array(IMAGE)).all()
    jpeg = saved("JPEG")
    short = jpeg[:2] + b"\xff\xe0\0\7JFIF\0" + jpeg[2:]  # cut short
    assert (decode_image(short) == decode_image(jpeg)).all()
    several = saved("MPO", save_all=True, append_images=[IMAGE])
    whole = decode_image(several)
    damaged = bytearray(several)
    damaged[several.index(b"MPF\0") + 34] ^= 255  # its list of images
    assert (decode_image(bytes(damaged)) == whole).all()


def test_pixels_that_are_damaged_stay_so():
    data = bytearray(saved("PNG"))
    data[data.index(b"IDAT") + 6] ^= 255
    for damaged in (bytes(data), saved("JPEG")[:-200]):
        with pytest.raises(ImageError):
            decode_image(damaged)


def test_an_image_is_turned_upright_though_its_text_is_too_large():
    exif = Image.Exif()
    exif[0x0112] = 6
    large = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(3_000_000)))
    tall = Image.new("RGB", (8, 4))
    out = io.BytesIO()
    tall.save(out, "PNG", exif=exif)
    data = out.getvalue()
    assert decode_image(data[:33] + large + data[33:]).shape == (8, 4, 3)


def test_a_prompt_in_metadata_that_is_too_long_is_an_error():
    """As it is in a table; it is not as if there were none."""
    data = png(parameters="x" * 100_001 + "\n" + SETTINGS)
    with pytest.raises(PromptError, match="the prompt has 100,001 characters, and the limit is"):
        prompt_from_image_bytes(data)


def test_jpeg_metadata_is_read_within_the_limits_of_the_pixels(tmp_path):
    data = with_exif(comment=INFOTEXT)
    small = ImageLimits(max_pixels=10)
    assert find_prompt(tmp_path / "a.jpg", data, limits=small) == (None, "none")
    assert find_prompt(tmp_path / "a.jpg", data)[0] == KETTLE


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(["PNG", "JPEG", "WEBP", "AVIF", "XMP"]), st.integers(0, 2**32 - 1))
def test_flipped_bytes_never_raise(kind, seed):
    rng = random.Random(seed)
    data = bytearray(
        saved("JPEG", xmp=xmp(xmp_list("dc:description", INFOTEXT)))
        if kind == "XMP"
        else with_exif(kind, b"UNICODE\0" + INFOTEXT.encode("utf-16-be"))
    )
    for _ in range(rng.randint(1, 30)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    text, source = prompt_from_image_bytes(bytes(data[: rng.randint(1, len(data))]))
    assert (text is None) == (source == "none")
