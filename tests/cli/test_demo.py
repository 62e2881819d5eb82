"""The first thing a newcomer runs: offline, with pictures, a table and a sheet to look at."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image

from diffagiqa import Scorer
from diffagiqa.cli.main import run
from diffagiqa.pretrained import DEFAULT_MODEL, locate


def test_demo_scores_made_pictures_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.warns(UserWarning, match="hardly reads the prompt"):
        assert run(["demo", str(tmp_path)]) == 0
    with (tmp_path / "scores.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 8
    for row in rows:
        assert Image.open(tmp_path / row["image"]).size == (512, 512)
        assert 0 < float(row["perception"]) < 1
    assert {row["model"] for row in rows} == {locate(None).fingerprint}
    assert Image.open(tmp_path / "sheet.png").size[0] > 1000
    assert "scene2-wrong-prompt" in capfd.readouterr().out
    clean, heavy = (float(rows[i]["perception"]) for i in (0, 2))
    assert clean > heavy


def test_the_embedded_model_says_what_it_is_not_good_for() -> None:
    """While the notice is there, nobody loads the embedded model without reading it."""
    with pytest.warns(UserWarning, match="hardly reads the prompt") as said:
        scorer = Scorer.from_pretrained(device="cpu")
    assert [warning.filename for warning in said] == [__file__]
    assert scorer.tasks == ("perception", "alignment")
    assert (DEFAULT_MODEL / "README.md").is_file()
