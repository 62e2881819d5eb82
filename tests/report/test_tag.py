"""Scores in the images' own metadata: read by other programs, nothing else touched, and undone."""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from diffagiqa.cli.main import run as command
from diffagiqa.data.embedding import is_simple, read_packet, with_packet
from diffagiqa.data.xmp import MAX_PACKET, add_properties, read_properties, remove_properties
from diffagiqa.errors import ImageError
from diffagiqa.report.tag import rating_of

PIXELS = np.random.default_rng(0).integers(0, 256, (21, 34, 4), dtype=np.uint8)
RDF = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
XMP = 'xmlns:xmp="http://ns.adobe.com/xap/1.0/"'


def packet(inside: str) -> bytes:
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
        f' <rdf:RDF {RDF}>\n  {inside}\n </rdf:RDF>\n</x:xmpmeta>\n{" " * 200}\n<?xpacket end="w"?>'
    ).encode()


DC = 'xmlns:dc="http://purl.org/dc/elements/1.1/"'
OTHERS = {
    "none": packet(f'<rdf:Description rdf:about="uuid:7" {DC} dc:format="a > b"/>'),
    "attribute": packet(f"<rdf:Description rdf:about='' {XMP}  xmp:Rating = '3' {DC} dc:x='1'/>"),
    "element": packet(f"<rdf:Description><xmp:Rating {XMP}> 3 </xmp:Rating></rdf:Description>"),
    "other prefix": packet(
        "<rdf:Description rdf:about='' xmlns:q='http://ns.adobe.com/xap/1.0/' xmlns:xmp='urn:x/' "
        "xmp:Rating='9' note='q:Rating=&quot;1&quot;' q:Rating='-1'></rdf:Description>"
    ),
    "nested": packet(
        f"<rdf:Description rdf:about='' {XMP}><xmp:List><rdf:Bag><rdf:li xmp:Rating='4'/></rdf:Bag>"
        "</xmp:List><!-- </rdf:RDF> --></rdf:Description>"
    ),
    "bare": "<r:RDF xmlns:r='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>é</r:RDF>\n\0\0".encode(),
}  # fmt: skip


def encoded(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(file, kind, **options)
    return file.getvalue()


def exif() -> Image.Exif:
    tags = Image.Exif()
    tags[0x010E] = "a cat"
    return tags


def text() -> PngInfo:
    info = PngInfo()
    info.add_text("parameters", "a cat\nSteps: 20")
    return info


FILES = {
    "a.png": encoded("PNG", pnginfo=text()),
    "palette.png": encoded("PNG", "P", icc_profile=b"icc" * 50),
    "tail.png": encoded("PNG", "RGBA") + b"bytes behind the end",
    "a.jpg": encoded("JPEG"),
    "exif.jpg": encoded("JPEG", exif=exif(), icc_profile=b"icc" * 50, comment=b"a cat"),
    "fill.jpg": b"\xff\xd8\xff" + encoded("JPEG")[2:],
    "a.webp": encoded("WEBP"),
    "alpha.webp": encoded("WEBP", "RGBA"),
    "lossless.webp": encoded("WEBP", lossless=True),
    "lossless-alpha.webp": encoded("WEBP", "RGBA", lossless=True),
    "exif.webp": encoded("WEBP", exif=exif()) + b"tail",
    "moving.webp": encoded("WEBP", save_all=True, append_images=[Image.new("RGB", (34, 21))]),
}


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


NO_WIDTH = b"RIFF\x16\0\0\0WEBPVP8 \x0a\0\0\0\0\0\0\x9d\x01\x2a\0\0\x01\0"
"""A WebP whose image is 0 pixels wide."""


def descriptions(data: bytes) -> dict[str, str]:
    """All simple properties that Pillow reads, by their name without a prefix."""
    found = opened(data).getxmp()["xmpmeta"]["RDF"]["Description"]
    return {k: v for one in (found if isinstance(found, list) else [found]) for k, v in one.items()}


@pytest.mark.parametrize("name", FILES)
def test_files_without_xmp_come_back_byte_for_byte(name: str) -> None:
    data = FILES[name]
    assert read_packet(data) is None
    for rating, value in ((4, "0.71"), (2, '<&">')):
        made = add_properties(None, rating, {"perception": value})
        tagged = with_packet(data, made)
        assert read_packet(tagged) == made
        properties = descriptions(tagged)
        assert (properties["Rating"], properties["perception"]) == (str(rating), value)
        before, after = opened(data), opened(tagged)
        np.testing.assert_array_equal(np.asarray(before), np.asarray(after))
        assert after.getexif() == before.getexif()
        assert {k: v for k, v in after.info.items() if "xmp" not in k.lower()} == before.info
        assert remove_properties(made) is None
        assert with_packet(tagged, None, is_simple(data)) == data
    assert b"bytes behind" in tagged or name != "tail.png"


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "exif.webp"])
@pytest.mark.parametrize("kind", OTHERS)
def test_other_xmp_is_merged_and_comes_back(name: str, kind: str) -> None:
    other = OTHERS[kind]
    data = with_packet(FILES[name], other)
    tagged = with_packet(data, add_properties(read_packet(data), 5, {"perception": "0.91"}))
    again = with_packet(tagged, add_properties(read_packet(tagged), 1, {"alignment": "0.02"}))
    for file, own, rating in ((tagged, "perception", "5"), (again, "alignment", "1")):
        if kind != "bare":  # Pillow wants x:xmpmeta
            properties = descriptions(file)
            assert own in properties
            assert [v.strip() for k, v in properties.items() if k == "Rating"][-1] in (rating, "9")
        assert own in read_properties(read_packet(file) or b"")
        assert remove_properties(read_packet(file) or b"") == other
    assert set(read_properties(read_packet(again) or b"")) >= {"alignment", "ratingGiven"}
    assert with_packet(again, remove_properties(read_packet(again) or b"")) == data


def test_the_rating_of_another_program_is_set_and_restored() -> None:
    for kind, before, quote in (("attribute", "3", "'3'"), ("element", " 3 ", "> 3 <"),
                                ("other prefix", "-1", "'-1'")):  # fmt: skip
        tagged = add_properties(OTHERS[kind], 5, {})
        assert read_properties(tagged) == {"ratingGiven": "5", "ratingBefore": before}
        rated = quote.replace(before, "5").encode()
        assert rated in tagged
        # Somebody changes his mind afterwards: that rating is his.
        changed = rated.replace(b"5", b"2")
        bare = remove_properties(tagged.replace(rated, changed))
        assert bare == OTHERS[kind].replace(quote.encode(), changed)


@pytest.mark.parametrize("rating", ["\r3", "\n\t3 ", "&#13;3", "&amp;#9;"])
def test_a_rating_with_line_breaks_is_restored(rating: str) -> None:
    other = packet(f'<rdf:Description rdf:about="" {XMP} xmp:Rating="{rating}"/>')
    assert remove_properties(add_properties(other, 5, {})) == other


def test_an_rdf_within_another_comes_back() -> None:
    rdf = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
    other = packet(f'<r:RDF xmlns:r="{rdf}"><r:Description r:about=""/></r:RDF>')
    assert remove_properties(add_properties(other, 5, {})) == other


def test_properties_that_another_program_took_among_its_own() -> None:
    ours = 'xmlns:d="urn:x-diffagiqa:scores:1.0/"'
    mixed = packet(
        f'<rdf:Description rdf:about="" {ours} {XMP} {DC} dc:x="1" xmp:Rating="4" d:perception="0.7" '
        f'd:ratingGiven="4"/><rdf:Description rdf:about=""><d:alignment {ours}>0.2</d:alignment>'
        f"<dc:y {DC}>2</dc:y></rdf:Description>"
    )
    assert read_properties(mixed) == {"perception": "0.7", "ratingGiven": "4", "alignment": "0.2"}
    assert remove_properties(mixed) == packet(
        f'<rdf:Description rdf:about="" {ours} {XMP} {DC} dc:x="1"/><rdf:Description rdf:about="">'
        f"<dc:y {DC}>2</dc:y></rdf:Description>"
    )


def test_xmp_in_a_compressed_chunk() -> None:
    other = OTHERS["attribute"]
    body = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(other)
    chunk = (
        struct.pack(">I", len(body))
        + b"iTXt"
        + body
        + struct.pack(">I", zlib.crc32(b"iTXt" + body))
    )
    data = FILES["a.png"][:33] + chunk + FILES["a.png"][33:]
    assert read_packet(data) == other
    tagged = with_packet(data, add_properties(other, 2, {}))
    assert descriptions(tagged)["Rating"] == "2"
    body = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b" " * 50_000_000)
    chunk = (
        struct.pack(">I", len(body))
        + b"iTXt"
        + body
        + struct.pack(">I", zlib.crc32(b"iTXt" + body))
    )
    with pytest.raises(ImageError, match="its XMP has over 4,000,000 bytes; use --sidecar"):
        remove_properties(read_packet(FILES["a.png"][:33] + chunk + FILES["a.png"][33:]) or b"")


HOSTILE = {
    "entities": b'<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;">]>' + OTHERS["none"],
    "external": b'<!DOCTYPE a SYSTEM "file:///etc/passwd">' + OTHERS["none"],
    "unfinished": OTHERS["none"][:150],
    "no RDF": b"<a/>",
    "empty RDF": f"<rdf:RDF {RDF}/>".encode(),
    "UTF-16": OTHERS["none"].decode().encode("utf-16"),
    "Latin": b'<?xml version="1.0" encoding="latin-1"?><a/>',
    "no UTF-8": OTHERS["none"].replace(b"a > b", b"\xff"),
    "huge": b" " * (MAX_PACKET + 1),
    "empty": b"",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_packets_that_are_refused(kind: str) -> None:
    for change in (lambda p: add_properties(p, 3, {}), remove_properties, read_properties):
        with pytest.raises(ImageError, match=r"^its XMP .*; use --sidecar$") as caught:
            change(HOSTILE[kind])
        assert len(str(caught.value)) < 200


@pytest.mark.timeout(60)
def test_large_packets_take_no_time() -> None:
    count = 20_000
    spaces = packet(f'<rdf:Description rdf:about="" {" " * 500_000} {DC} dc:x="1"/>')
    prefixes = packet(
        "<rdf:Description " + " ".join(f'xmlns:a{i}="u:{i}" a{i}:x=""' for i in range(count)) + "/>"
    )
    many = packet(
        f'<rdf:Description xmlns:d="urn:x-diffagiqa:scores:1.0/" {DC} d:a="" dc:x=""/>' * count
    )
    deep = packet("<rdf:Description>" + "<a>" * count + "</a>" * count + "</rdf:Description>")
    for large in (spaces, prefixes, many, deep):
        remove_properties(add_properties(large, 3, {"perception": "0.5"}))


def test_files_that_are_refused() -> None:
    made = add_properties(None, 3, {})
    for data, said in (
        (FILES["a.png"][:60], "damaged or cut short"),
        (FILES["a.jpg"][:100], "damaged or cut short"),
        (FILES["a.webp"][:40], "damaged or cut short"),
        (NO_WIDTH, "damaged or cut short"),
        (encoded("BMP"), "no PNG, JPEG or WebP"),
        (b"", "no PNG, JPEG or WebP"),
        (FILES["a.png"][:33] + bytes(4) + b"caBX" + bytes(4) + FILES["a.png"][33:], "credentials"),
        (b"\xff\xd8\xff\xeb\0\x0eJP\0\1c2pa...." + FILES["a.jpg"][2:], "content credentials"),
    ):
        with pytest.raises(ImageError, match=said):
            with_packet(data, made)
    with pytest.raises(ImageError, match=r"over 65,504 bytes; use --sidecar"):
        with_packet(FILES["a.jpg"], packet(" " * 66_000))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(FILES)), st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_damaged_files_are_refused_or_come_back(name: str, seed: int, rating: int) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray(FILES[name])
    for at in rng.integers(0, len(data), rng.integers(1, 4)):
        data[at] = rng.integers(0, 256)
    original = bytes(data)
    try:
        had = read_packet(original)
        tagged = with_packet(original, add_properties(had, rating, {"perception": "0.5"}))
        bare = remove_properties(read_packet(tagged) or b"")
        back = with_packet(tagged, bare, is_simple(original))
    except ImageError:
        return
    announced = original[12:16] == b"VP8X" and original[20] & 4  # XMP that is not there
    assert back == original or had or announced


# The command

SCORES = {"prompt": "a cat", "prompt_source": "table", "model": "0123456789abcdef", "error": ""}


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    """A folder of images and their scores; the last image is not there, the one before not scored."""
    for name, data in FILES.items():
        (tmp_path / "images" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "images" / name).write_bytes(data)
    names = [f"images/{name}" for name in FILES]
    rows = [{"image": name, **SCORES, "perception": i / 11, "alignment": 1 - i / 11}
            for i, name in enumerate(names)]  # fmt: skip
    rows.append({"image": "images/unscored.png", **SCORES, "error": "it is damaged"})
    pd.DataFrame(rows).to_csv(tmp_path / "scores.csv", index=False)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted((folder / "images").iterdir())}


def test_tag_and_remove(scored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = str(scored / "scores.csv")
    os.chmod(scored / "images" / "a.png", 0o640)
    assert command(["tag", table, "--weight", "perception=1"]) == 0
    said = capsys.readouterr().out
    assert said == "12 of 12 rows tagged; 1 row without scores passed over\n"
    ratings = [descriptions(data)["Rating"] for data in contents(scored).values()]
    by_name = dict(zip(contents(scored), ratings, strict=True))
    assert [by_name[name] for name in FILES] == list("111223344555")
    properties = descriptions((scored / "images" / "a.jpg").read_bytes())
    assert (properties["perception"], properties["alignment"]) == ("0.2727", "0.7273")
    assert properties["model"] == SCORES["model"]
    assert (scored / "images" / "a.png").stat().st_mode & 0o777 == 0o640
    tagged = contents(scored)
    assert command(["tag", table, "--weight", "perception=1", "-q"]) == 0
    assert contents(scored) == tagged
    assert command(["tag", table, "-q"]) == 0
    assert {descriptions(data)["Rating"] for data in contents(scored).values()} == {"3"}
    (scored / "images" / "unscored.png").write_bytes(FILES["a.png"])
    assert command(["tag", table, "--remove"]) == 0
    assert capsys.readouterr().out == "13 of 13 rows without our properties now\n"
    assert contents(scored) == {**FILES, "unscored.png": FILES["a.png"]}


def test_sidecars(scored: Path) -> None:
    table, images = str(scored / "scores.csv"), scored / "images"
    (images / "a.xmp").write_bytes(OTHERS["attribute"])
    (images / "a.webp.xmp").write_bytes(OTHERS["element"])
    before = contents(scored)
    assert command(["tag", table, "--sidecar", "-q"]) == 0
    assert {name: contents(scored)[name] for name in FILES} == FILES
    assert read_properties((images / "a.xmp").read_bytes())["ratingBefore"] == "3"
    assert read_properties((images / "a.webp.xmp").read_bytes())["ratingBefore"] == " 3 "
    assert read_properties((images / "exif.jpg.xmp").read_bytes())["ratingGiven"] == "3"
    assert command(["tag", table, "--remove", "-q"]) == 1  # one image is not there
    assert contents(scored) == before


def test_rows_that_cannot_be_tagged(scored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = pd.read_csv(scored / "scores.csv")
    rows.loc[0, "image"] = "images/gone.png"
    rows.loc[1, "image"] = rows.loc[2, "image"]
    rows.loc[3, "image"] = "images/a.bmp"
    (scored / "images" / "a.bmp").write_bytes(encoded("BMP"))
    (scored / "images" / "exif.jpg").write_bytes(FILES["exif.jpg"][:90])
    rows.to_csv(scored / "scores.csv", index=False)
    before = contents(scored)
    assert command(["tag", str(scored / "scores.csv"), "--json"]) == 1
    out, err = capsys.readouterr()
    assert out == '{"done": 8, "failed": 4, "without_scores": 1}\n'
    assert err.splitlines() == [
        "images/gone.png: it is not there; give its folder as --root",
        "images/tail.png: another row gave it other scores, which stay; leave one of the rows",
        "images/a.bmp: it is no PNG, JPEG or WebP, whose XMP can be changed; use --sidecar",
        "images/exif.jpg: it is damaged or cut short, so it is left",
    ]
    for name in ("a.bmp", "exif.jpg", "a.png"):
        assert contents(scored)[name] == before[name]


def test_images_are_found_below_the_root_alone(scored: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(scored / "images", moved / "images")
    assert command(["tag", str(scored / "scores.csv"), "--root", str(moved), "-q"]) == 0
    assert contents(scored) == FILES
    assert set(contents(moved).values()).isdisjoint(FILES.values())


def test_read_only_images_stay(scored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.chmod(scored / "images" / "a.png", 0o444)
    assert command(["tag", str(scored / "scores.csv"), "-q"]) == 1
    fault = "images/a.png: it is read-only; make it writable, or use --sidecar\n"
    assert capsys.readouterr().err == fault
    assert contents(scored)["a.png"] == FILES["a.png"]


def test_a_link_stays_a_link(scored: Path) -> None:
    target = scored / "elsewhere.png"
    (scored / "images" / "a.png").rename(target)
    (scored / "images" / "a.png").symlink_to(target)
    assert command(["tag", str(scored / "scores.csv"), "-q"]) == 0
    assert (scored / "images" / "a.png").is_symlink()
    assert descriptions(target.read_bytes())["Rating"] == "3"


def test_a_full_disk_leaves_the_image(
    scored: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert command(["tag", str(scored / "scores.csv"), "-q"]) == 1
    assert "images/a.png: it cannot be written (No space left on device)" in capsys.readouterr().err
    assert contents(scored) == FILES


def test_wrong_use(scored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = str(scored / "scores.csv")
    assert command(["tag", table, "--remove", "--sidecar"]) == 2
    assert "--remove takes out everything" in capsys.readouterr().err
    assert command(["tag", table, "--weight", "beauty=1"]) == 2
    rows = pd.read_csv(table)
    rows.assign(**{"a b": 0.5, "a b_mos": 1.0}).to_csv(table, index=False)
    assert command(["tag", table]) == 2
    assert "'a b' cannot be a name in XMP; rename the column" in capsys.readouterr().err


def test_exiv2_reads_and_rewrites_them(scored: Path) -> None:
    """As digiKam, darktable and others do, which are built on it."""
    exiv2 = pytest.importorskip("pyexiv2")
    exiv2.registerNs("urn:x-diffagiqa:scores:1.0/", "diffagiqa")
    table, images = str(scored / "scores.csv"), scored / "images"
    (images / "a.jpg").write_bytes(with_packet(FILES["a.jpg"], OTHERS["attribute"]))
    assert command(["tag", table, "--weight", "alignment=1", "-q"]) == 0
    for name in ("a.png", "a.jpg", "a.webp", "exif.webp", "lossless-alpha.webp"):
        with exiv2.Image(str(images / name)) as image:
            properties = image.read_xmp()
            stars = rating_of(float(properties["Xmp.diffagiqa.alignment"]))
            assert properties["Xmp.xmp.Rating"] == str(stars)
            image.modify_xmp({"Xmp.dc.title": "a kettle"})  # writes the packet anew
    assert command(["tag", table, "--remove", "-q"]) == 1  # one image is not there
    for name in ("a.png", "a.jpg", "a.webp", "exif.webp", "lossless-alpha.webp"):
        with exiv2.Image(str(images / name)) as image:
            properties = image.read_xmp()
        assert "Xmp.dc.title" in properties
        assert not any("diffagiqa" in key for key in properties)
        assert properties.get("Xmp.xmp.Rating") == ("3" if name == "a.jpg" else None)


EXIFTOOL = shutil.which("exiftool")


@pytest.mark.skipif(EXIFTOOL is None, reason="exiftool is not installed")
def test_exiftool_reads_and_rewrites_them(scored: Path) -> None:
    def exiftool(*arguments: str) -> str:
        done = subprocess.run(
            [str(EXIFTOOL), *arguments], cwd=scored / "images", capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        return done.stdout

    assert command(["tag", str(scored / "scores.csv"), "-q"]) == 0
    for name in FILES:
        said = exiftool("-s3", "-XMP-xmp:Rating", "-XMP:Perception", "-validate", name).splitlines()
        assert said[0] == "3"
        assert 0 <= float(said[1]) <= 1
    for name in ("a.png", "a.jpg", "a.webp"):
        exiftool("-overwrite_original", "-XMP-dc:Title=a kettle", name)
    assert command(["tag", str(scored / "scores.csv"), "--remove", "-q"]) == 1
    for name in ("a.png", "a.jpg", "a.webp"):
        assert exiftool("-s3", "-XMP-dc:Title", name) == "a kettle\n"
        assert exiftool("-s3", "-XMP-xmp:Rating", "-XMP:Perception", name) == ""
