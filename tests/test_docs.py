"""What the docs show can be copied: commands and flags exist, files that are named are there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from diffagiqa.cli.main import app

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
    assert ("rank", " scores.csv") in [
        (n, r.rstrip()) for n, r in shown(ROOT / "docs/how-to/report.md")
    ]
