"""What the system refuses, a full disk or a place without access, is one sentence and exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from diffagiqa.cli.main import run

FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")


def test_a_place_that_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("x")
    out = tmp_path / "file" / "models"
    checkpoint = Path(__file__).parents[1] / "reference" / "upstream_small.pth"
    assert run(["convert", str(checkpoint), str(out)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {out} cannot be read or written (Not a directory); check")
    assert said.count("\n") == 1


@FULL
@pytest.mark.skipif(os.name != "posix", reason="needs /dev/full")
def test_standard_output_on_a_full_disk() -> None:
    command = [sys.executable, "-c", "import sys; from diffagiqa.cli.main import run; "
               "sys.exit(run(['data', 'check', '--help']))"]  # fmt: skip
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert "error: a file or the standard output cannot be read or written" in done.stderr
    assert done.stderr.count("\n") == 1
