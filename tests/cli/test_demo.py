"""The first thing a newcomer runs: offline, with images, a table and a sheet to look at."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image

from diffagiqa.cli.main import run
from diffagiqa.pretrained import locate


def test_demo_scores_drawn_images_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert run(["demo", str(tmp_path)]) == 0
    with (tmp_path / "scores.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 12
    for row in rows:
        assert Image.open(tmp_path / row["image"]).size == (512, 512)
        assert 0 < float(row["perception"]) < 1
    assert {row["model"] for row in rows} == {locate(None).fingerprint}
    assert Image.open(tmp_path / "sheet.png").size[0] > 1000
    assert "bus-wrong-prompt" in capfd.readouterr().out
