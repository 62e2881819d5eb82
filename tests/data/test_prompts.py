"""Prompts: cleaned, found in text files beside images, and told to be in other languages."""

import time

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prompt_files import INFOTEXT, KETTLE, png

from diffagiqa.data.prompts import (
    MAX_PROMPT_CHARACTERS,
    clean_prompt,
    find_prompt,
    sidecar_prompt,
)
from diffagiqa.errors import PromptError

WALES = "🏴\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("", ""),
        (" a  cat\r\n\ton a mat ", "a  cat on a mat"),
        ("\xa0a\xa0cat\u3000", "a\xa0cat"),
        ("a\0 c\x1ba\x7ft", "a cat"),
        ("\ufeffa \u202ecat\u202c \u2066x\u2069", "a cat x"),
        ("a\u200db \u200dc", "ab c"),
        ("👩\u200d🎨 می\u200cخو", "👩\u200d🎨 می\u200cخو"),
        ("une fée 猫 кот قط", "une fée 猫 кот قط"),
        ("bad \udcff", "bad \ufffd"),
        ("cat\U000e0061\U000e0062", "cat"),
        (WALES, WALES),
    ],
)
def test_clean_prompt(text, clean):
    assert clean_prompt(text) == clean


def test_a_prompt_of_joiners_is_cleaned_at_once():
    inside, end = "é" + "\u200d" * 40_000 + "é", "é" + "\u200d" * 40_000
    began = time.process_time()
    assert (clean_prompt(inside), clean_prompt(end)) == (inside, "é")
    assert time.process_time() - began < 2  # from every joiner on, it took 15 seconds


def test_clean_prompt_refuses_endless_text():
    assert len(clean_prompt("x" * MAX_PROMPT_CHARACTERS)) == MAX_PROMPT_CHARACTERS
    with pytest.raises(PromptError, match=r"has 100,001 characters.*limit is 100,000; shorten it"):
        clean_prompt("x" * 100_001)


@settings(max_examples=150, deadline=None)
@given(
    st.text(st.characters(), max_size=40) | st.text("a é\u200d\u200c\u202e\0\t\ud800", max_size=12)
)
def test_clean_prompt_settles_and_can_be_written(text):
    clean = clean_prompt(text)
    assert clean_prompt(clean) == clean
    clean.encode("utf-8")
    assert not any(ord(c) < 32 or c in "\u202a\u202e\u2066\u200b" for c in clean)


def test_sidecar(tmp_path):
    image = tmp_path / "cat.png"
    image.write_bytes(png(parameters=INFOTEXT))
    assert find_prompt(image, image.read_bytes())[1] == "png a1111"
    (tmp_path / "cat.png.txt").write_text("second\n", encoding="utf-8")
    assert find_prompt(image, image.read_bytes()) == ("second", "sidecar")
    (tmp_path / "cat.txt").write_text("\ufefffirst 猫\n", encoding="utf-8")
    assert find_prompt(str(image), image.read_bytes()) == ("first 猫", "sidecar")
    assert find_prompt(image.as_uri(), image.read_bytes()) == ("first 猫", "sidecar")
    assert find_prompt(image, image.read_bytes(), sidecar=False)[1] == "png a1111"
    assert find_prompt(None, image.read_bytes())[1] == "png a1111"
    (tmp_path / "cat.json").write_text('{"prompt": "third", "num_inference_steps": 25}')
    assert find_prompt(image, image.read_bytes()) == ("first 猫", "sidecar")
    (tmp_path / "cat.txt").unlink()
    (tmp_path / "cat.png.txt").unlink()
    assert find_prompt(image, image.read_bytes()) == ("third", "sidecar easydiffusion")
    (tmp_path / "cat.txt").write_text(
        "0 0.5 0.5 0.25 1e-2\n1 0.1 0.2 0.3 0.4\n"
    )  # boxes of a detector
    for other in (b'{"shapes": []}', b"\xff{", b'{"prompt": "' + b"x" * 500_000 + b'"}'):
        (tmp_path / "cat.json").write_bytes(other)
        assert find_prompt(image, image.read_bytes())[1] == "png a1111"
    (tmp_path / "cat.txt").write_bytes(b"")
    assert find_prompt(image, image.read_bytes()) == ("", "sidecar")


def test_sidecar_in_a_store():
    with fsspec.open("memory://prompts/cat.txt", "wb") as file:
        file.write(b"a cat")
    assert find_prompt("memory://prompts/cat.png", png()) == ("a cat", "sidecar")
    assert find_prompt("memory://prompts/dog.png", png()) == (None, "none")


@pytest.mark.parametrize("image", ["https://example.org/cat.png", "shard.tar::cat.png"])
def test_nothing_lies_beside_what_is_no_file(image):
    assert find_prompt(image, png()) == (None, "none")


def test_sidecar_faults(tmp_path):
    (tmp_path / "cat.txt").write_bytes("赤い猫".encode("shift_jis"))
    told = r"cat\.txt is in no encoding that can be told; save it as UTF-8"
    with pytest.raises(PromptError, match=told):
        find_prompt(tmp_path / "cat.png", b"")
    (tmp_path / "cat.txt").write_bytes(b"x" * 400_001)
    with pytest.raises(PromptError, match=r"cat\.txt holds more than 400,000 bytes"):
        find_prompt(tmp_path / "cat.png", b"")


@pytest.mark.parametrize(
    ("text", "prompt", "source"),
    [
        ("a  cat\non a mat\n", "a  cat on a mat", "sidecar"),
        (INFOTEXT, KETTLE, "sidecar a1111"),
        ('{"prompt": "a cat", "uc": "fog"}', "a cat", "sidecar novelai"),
        ("a cat --ar 3:2", "a cat", "sidecar midjourney"),
        ("", "", "sidecar"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_text_files_of_formats_and_encodings(text, prompt, source, encoding):
    assert sidecar_prompt(text.encode(encoding), "x") == (prompt, source)


def test_a_text_file_in_latin_letters():
    assert sidecar_prompt(b"caf\xe9\n", "x").text == "café"
