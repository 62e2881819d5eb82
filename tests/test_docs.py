"""What the docs show can be copied: commands and flags exist, files that are named are there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from diffagiqa.cli.main import app, run

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "examples/README.md", *(ROOT / "docs").rglob("*.md")])
COMMAND = re.compile(r"(?:^|[\s/(`])diffagiqa ([a-z][a-z-]*)([^\n#|;&`]*)")


def shown(page: Path) -> Iterator[tuple[str, str]]:
    """(command, the rest of its line) of every block of code, and of code within a sentence."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for block in re.findall(r"```(?:sh|bash)?\n(.*?)```|`(diffagiqa [^`]*)`", text, re.DOTALL):
        yield from COMMAND.findall("".join(block))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist_with_their_flags(page: Path) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, rest in shown(page):
        assert name in commands, name
        command = commands[name]
        for word in rest.split():
            command = getattr(command, "commands", {}).get(word, command)
        known = {flag for o in command.params for flag in (*o.opts, *o.secondary_opts)} | {"--help"}
        flags = set(re.findall(r"(?<!\S)--[a-z][a-z-]*", rest))
        assert flags <= known, f"diffagiqa {name}{rest}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_scripts_and_pictures_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for script in re.findall(r"python ((?:examples|tools)/\S+\.py)", text):
        assert (ROOT / script).is_file(), script
    for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text):
        assert (page.parent / picture).is_file(), picture


def test_commands_are_found() -> None:
    found = [(name, rest.rstrip()) for name, rest in shown(ROOT / "docs/index.md")]
    assert ("report", " scores.csv") in found


def test_forty_images_by_copying_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The walk of docs/index.md, on fewer and smaller images: every command that ends by itself works."""
    pytest.importorskip("jinja2")
    rng = np.random.default_rng(0)
    rated = ["image,prompt,rating"]
    for folder in ("a", "b"):
        (tmp_path / "renders" / folder).mkdir(parents=True)
        for number in range(6):
            name, prompt = f"renders/{folder}/{number:02d}.png", f"a red fox with {number} cubs"
            pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
            text = PngInfo()
            text.add_text("parameters", f"{prompt}\nSteps: 20, Sampler: Euler, Size: 64x64")
            Image.fromarray(pixels).resize((64, 64)).save(tmp_path / name, pnginfo=text)
            rated.append(f"{name},{prompt},{pixels.mean() / 51:.2f}")
    (tmp_path / "ratings.csv").write_text("\n".join(rated), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/index.md").read_text(), re.DOTALL)
    lines = [shlex.split(line, comments=True) for line in "".join(blocks).splitlines()]
    walk = [words[1:] for words in lines if words[0] == "diffagiqa" and words[1] != "app"]
    assert len(walk) == 8
    for words in walk:
        assert run(words) == 0, (words, capsys.readouterr().err)
    made = ["report.html", "best.csv", "why.png", "mine/best/config.json", "mine.csv"]
    assert all((tmp_path / name).is_file() for name in made)
    assert len(list((tmp_path / "best").iterdir())) == 6
    said = capsys.readouterr().out
    assert "the mean rating for every image: RMSE" in said
    assert (tmp_path / "scores.csv").read_text(encoding="utf-8").count(",png a1111,") == 12
