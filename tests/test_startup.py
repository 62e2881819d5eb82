"""What the first score waits for."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from diffagiqa.startup import collector_at_rest


@pytest.fixture(autouse=True)
def _collector() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_the_collector_rests_and_wakes() -> None:
    with collector_at_rest():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0  # what was there is not walked again


def test_the_collector_wakes_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), collector_at_rest():
        _ = 1 / 0
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    with collector_at_rest():
        pass
    assert not gc.isenabled()


def test_what_a_single_score_does_not_need_is_not_imported(tmp_path: Path) -> None:
    image = Path(__file__).parent / "reference" / "image0.png"
    program = f"""
import sys
from diffagiqa.cli.main import run
code = run(["score", {str(image)!r}, "--prompt", "a red fox"])
heavy = {{"torch._dynamo", "transformers", "diffusers", "pandas", "pyarrow", "scipy", "matplotlib"}}
print("imported:", code, sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path
    )
    assert "imported: 0 []" in done.stdout, done.stdout + done.stderr
