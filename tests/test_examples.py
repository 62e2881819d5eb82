"""Every example runs as it stands, on a small model with random weights."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
MORE = {
    "diffusers_pipeline.py": [
        *("--pipeline", str(Path(__file__).parent / "reference" / "backbone")),
        *("--steps", "3", "--size", "64"),
    ],
}


def test_the_list_is_whole() -> None:
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for script in EXAMPLES.glob("*.py"):
        assert f"[{script.name}]({script.name})" in listed
    assert all((EXAMPLES / name).is_file() for name in re.findall(r"\]\((\w+\.py)\)", listed))


@pytest.mark.parametrize("script", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_it_runs(
    script: str,
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = ["--model", str(tiny_model)]
    monkeypatch.setattr(sys, "argv", [script, *model, *MORE.get(script, [])])
    runpy.run_path(str(EXAMPLES / script), run_name="__main__")
    assert capsys.readouterr().out.strip()
