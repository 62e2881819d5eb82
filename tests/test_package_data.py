"""Every file of the package that is not Python is declared, so that wheels carry it."""

from __future__ import annotations

from pathlib import Path

import pytest

import diffagiqa

SOURCE = Path(diffagiqa.__file__).parent
PROJECT = SOURCE.parents[1] / "pyproject.toml"


def test_all_data_files_are_declared() -> None:
    tomllib = pytest.importorskip("tomllib")  # Python 3.11 and newer
    settings = tomllib.loads(PROJECT.read_text(encoding="utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["diffagiqa"]
    declared = {file for pattern in patterns for file in SOURCE.glob(pattern) if file.is_file()}
    present = {
        file
        for file in SOURCE.rglob("*")
        if file.is_file() and file.suffix not in (".py", ".pyc") and "__pycache__" not in file.parts
    }
    assert present - declared == set()
    assert len(present) > 20
