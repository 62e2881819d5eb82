"""Texts shown as they were written, images as their programs show them, folders without their litter."""

from __future__ import annotations

import html
import json
import struct
import tarfile
from pathlib import Path
from zipfile import ZipFile

import fsspec
import numpy as np
import pytest
from PIL import Image

from diffagiqa.checks import shown
from diffagiqa.cli.main import run as command
from diffagiqa.data.databases.files import Folder
from diffagiqa.data.folders import find_files, passed_over, passed_over_sentence
from diffagiqa.data.images import decode_image
from diffagiqa.data.samples import printable, quoted
from diffagiqa.data.tables import read_samples

CASES = Path(__file__).parent
PROMPTS = ["赤い狐\u3000雪の中", "une bouilloire\xa0: lumière du soir"]


def test_19_a_report_shows_prompts_as_written(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    scores = tmp_path / "scores.csv"
    scores.write_bytes((CASES / "19" / "scores.csv").read_bytes())
    assert command(["report", str(scores), "--out", str(page), "-q"]) == 0
    text = html.unescape(page.read_text(encoding="utf-8"))
    for prompt in PROMPTS:
        assert prompt in text
    assert "\\u" not in text
    assert "\\x" not in text


@pytest.mark.parametrize(
    "text",
    [
        *PROMPTS, "👩\u200d🚀 family", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "क्\u200dष",
        "co\xadoperate", "\u2009thin\u202fspaces", "\u200f\u05e9\u05dc\u05d5\u05dd\u200e", "\ue000",
        "\ufeffmark", "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    ],
)  # fmt: skip
def test_human_text_stays(text: str) -> None:
    assert printable(text) == text
    assert quoted(text) == f"'{text}'"
    assert shown(text) == f"'{text}'"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a\x1b[2Jé", "a\\x1b[2Jé"), ("line\nbreak", "line\\nbreak"), ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\u2066狐\u2069", "\\u2066狐\\u2069"), ("caf\udce9", "caf\\udce9"), ("\u0378", "\\u0378"),
        ("a\u2028b", "a\\u2028b"), ("\x9b31m", "\\x9b31m"),
    ],
)  # fmt: skip
def test_what_misleads_is_escaped_and_nothing_beside_it(text: str, escaped: str) -> None:
    assert printable(text) == escaped


def test_errors_name_columns_as_written(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("画\u3000像,prompt\na.png,x\n", encoding="utf-8")
    with pytest.raises(Exception, match="found '画\u3000像', 'prompt'"):
        list(read_samples([str(tmp_path / "t.csv")]))


def test_21_a_bmp_whose_alpha_is_all_zero_is_opaque() -> None:
    bmp, same = (decode_image(str(CASES / "21" / name)) for name in ("v5.bmp", "same.png"))
    np.testing.assert_array_equal(bmp, same)


def bmp(pixels: np.ndarray) -> bytes:
    """(H, W, 4) BGRA, uint8 -> a BMP of the fourth version, bottom row first."""
    height, width = pixels.shape[:2]
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    body = pixels[::-1].tobytes()
    header = struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, len(body), 0, 0, 0, 0)
    header += masks + bytes(108 - len(header) - len(masks))
    return (
        b"BM"
        + struct.pack("<IHHI", 14 + len(header) + len(body), 0, 0, 14 + len(header))
        + header
        + body
    )


def test_alpha_of_a_bmp_counts_where_any_of_it_is_set(tmp_path: Path) -> None:
    pixels = np.zeros((3, 2, 4), np.uint8)
    pixels[..., :3] = (30, 20, 10)
    assert decode_image(bmp(pixels))[0, 0].tolist() == [10, 20, 30]
    pixels[2, 1, 3] = 255
    image = decode_image(bmp(pixels))
    assert image[2, 1].tolist() == [10, 20, 30]
    assert image[0, 0].tolist() == [255, 255, 255]
    Image.new("RGBA", (2, 2), (10, 20, 30, 0)).save(tmp_path / "a.png")
    assert decode_image(str(tmp_path / "a.png"))[0, 0].tolist() == [255, 255, 255]


def tree(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


LITTER = (
    "@eaDir/a.png/SYNOPHOTO_THUMB_XL.jpg", "in/@eaDir/b.png/SYNOPHOTO_THUMB_M.jpg", "__MACOSX/._a.png",
    "._a.png", "in/._b.jpg", "Thumbs.db", ".DS_Store", "in/desktop.ini", ".@__thumb/default_a.png",
    "#recycle/old.png", "$RECYCLE.BIN/x.png",
)  # fmt: skip


def test_24_litter_of_storage_and_systems_is_no_image_and_counted(tmp_path: Path) -> None:
    tree(tmp_path, "a.png", "in/b.jpg", "in/c.heic", ".hidden/d.png", *LITTER)
    names = [str(Path(file).relative_to(tmp_path)) for file in find_files(str(tmp_path))]
    assert names == ["a.png", "in/b.jpg"]
    counts = passed_over([str(tmp_path)])
    assert counts == {"thumbnails and system files": len(LITTER), ".heic": 1}
    assert passed_over_sentence(counts).endswith(
        "were skipped (not images): 11 x thumbnails and system files, 1 x .heic"
    )
    every = f"{tmp_path}/**/*.*g"
    names = [str(Path(file).relative_to(tmp_path)) for file in find_files(every)]
    assert names == ["a.png", "in/b.jpg"]
    assert passed_over([every]) == {"thumbnails and system files": 4}


def test_litter_that_the_user_names_is_taken(tmp_path: Path) -> None:
    tree(tmp_path, *LITTER)
    for item in (f"{tmp_path}/@eaDir", f"{tmp_path}/@eaDir/*/*.jpg", f"{tmp_path}/@eaDir/**/*.jpg"):
        assert list(find_files(item)) == [f"{tmp_path}/@eaDir/a.png/SYNOPHOTO_THUMB_XL.jpg"]
    assert list(find_files(f"{tmp_path}/._a.png")) == [f"{tmp_path}/._a.png"]


def test_litter_in_stores_shards_and_databases(tmp_path: Path) -> None:
    for name in ("a.png", "@eaDir/a.png/T.jpg", "__MACOSX/._a.png"):
        with fsspec.open(f"memory://litter.d/{name}", "wb") as file:
            file.write(b"x")
    assert list(find_files("memory://litter.d")) == ["memory:///litter.d/a.png"]
    assert passed_over(["memory://litter.d"]) == {"thumbnails and system files": 2}
    tree(
        tmp_path,
        "a.png",
        "images/b.png",
        "@eaDir/b.png",
        "__MACOSX/images/._b.png",
        "images/Thumbs.db",
    )
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for name in ("a.png", "@eaDir/b.png", "images/._b.png", "__MACOSX/images/b.png"):
            tar.add(tmp_path / "a.png", name)
    assert [s.image.partition("::")[2] for s in read_samples([str(tmp_path / "s.tar")])] == [
        "a.png"
    ]
    folder = Folder(tmp_path)
    assert folder.files == ["a.png", "s.tar", "images/b.png"]
    assert folder.image("b.png") == "images/b.png"
    with ZipFile(tmp_path / "z.zip", "w") as archive:
        for name in ("in/z.png", "__MACOSX/in/z.png"):
            archive.writestr(name, b"x")
    assert Folder(tmp_path).image("z.png") == "z.zip::in/z.png"


def test_prompts_in_json_are_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = tmp_path / "scores.csv"
    scores.write_bytes((CASES / "19" / "scores.csv").read_bytes())
    assert command(["rank", str(scores), "--json", "-q"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["prompt"] for line in lines] == PROMPTS
    assert PROMPTS[0] in lines[0]
