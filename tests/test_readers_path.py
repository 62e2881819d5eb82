"""What docs/architecture.md says of the way from a file to a score, and README of Python, is true."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import diffagiqa
from diffagiqa import Scorer
from diffagiqa.assets import demo_images
from diffagiqa.cli.main import run

ROOT = Path(__file__).parent.parent
SOURCE = Path(diffagiqa.__file__).parent
SECTION = re.search(
    r"## From a file to a score\n(.*?)\n## ", (ROOT / "docs/architecture.md").read_text(), re.DOTALL
)[1]  # type: ignore[index]
STEPS = re.findall(r"^\d+\. (.*)$", SECTION, re.MULTILINE)


def entered(work: Callable[[], object]) -> set[str]:
    """Our files whose functions run meanwhile; what a module does when it is imported does not count."""
    files: set[str] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        path = Path(code.co_filename)
        top = code.co_name == "<module>" or code.co_flags & 0x2 == 0  # a class's body, too
        if event == "call" and not top and path.is_relative_to(SOURCE):
            files.add(path.relative_to(SOURCE).as_posix())

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    return files


def named(text: str) -> tuple[str, ...]:
    """Files and folders, the latter with everything in them."""
    return tuple(re.findall(r"`([\w/]+(?:\.py|/))`", text))


def test_the_way_is_short() -> None:
    assert 0 < len(STEPS) <= 12


@pytest.mark.parametrize("way", ["command", "API"])
def test_nothing_is_entered_that_the_page_does_not_name(way: str) -> None:
    image = demo_images()[0]
    if way == "API":
        files = entered(lambda: Scorer.from_pretrained(device="cpu")(image.path, image.prompt))
    else:
        arguments = [
            "score",
            str(image.path),
            "--prompt",
            image.prompt,
            "--device",
            "cpu",
            "--quiet",
        ]
        files = entered(lambda: run(arguments))
    assert {"scorer.py", "model/scoring.py"} <= files
    steps = [s for s in STEPS if way == "command" or "command only" not in s]
    known = (*named(" ".join(steps)), *named(SECTION[SECTION.index("Beside") :]))
    assert {file for file in files if not file.startswith(known)} == set()


def test_readme_s_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(block, {})
    perception, alignment = map(float, capsys.readouterr().out.split()[:2])
    assert 0 < perception < 1
    assert 0 < alignment < 1
