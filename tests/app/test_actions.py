"""What the page does, without a browser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from diffagiqa import Scorer
from diffagiqa.app import actions
from diffagiqa.app.examples import write_examples
from diffagiqa.app.models import PACKAGED, Models
from diffagiqa.errors import ImageError, WeightsError
from diffagiqa.scorer import Score

HOSTILE = "<script>alert(1)</script>"


def test_prompt_comes_from_the_file(tmp_path: Path) -> None:
    example = write_examples(tmp_path, 64)[0]
    picture, prompt, said = actions.open_picture(example.path)
    assert picture.shape == (64, 64, 3)
    assert prompt == example.prompt
    assert "a1111" in said
    Image.new("RGB", (64, 64)).save(tmp_path / "bare.png")
    assert actions.open_picture(str(tmp_path / "bare.png"))[1] == ""


def test_score_and_explain(small_scorer: Scorer, tmp_path: Path) -> None:
    example = write_examples(tmp_path, 128)[0]
    plain = actions.score_picture(small_scorer, example.path, example.prompt, False)
    assert plain.heat is None
    assert f"{small_scorer(example.path, example.prompt)['alignment']:.3f}" in plain.scores
    found = actions.score_picture(small_scorer, example.path, example.prompt, True)
    assert found.heat is not None
    assert len(found.words) == len(found.attention) > 0


def test_nothing_hostile_becomes_markup() -> None:
    score = Score({"perception": 0.5}, {"perception": 2.5})
    assert "<script" not in actions.message_html(ValueError(HOSTILE))
    assert "empty prompt" in actions.score_html(score, False)
    flagged = actions.score_html(Score({"perception": 0.5}, {"perception": 2.5}, HOSTILE))
    assert "the scores mean little" in flagged
    assert "<script" not in flagged
    assert "Unlike" not in actions.score_html(score)
    assert "A is better by 0.300" in actions.better_html(
        Score({"p": 0.5}, {}), Score({"p": 0.2}, {})
    )
    assert "equal" in actions.better_html(Score({"p": 0.5}, {}), Score({"p": 0.501}, {}))


def test_batch_goes_on_past_a_bad_file(small_scorer: Scorer, tmp_path: Path) -> None:
    good = write_examples(tmp_path, 128)[0].path
    bad = tmp_path / "=bad.png"
    bad.write_text("no picture")
    steps: list[float] = []
    out = tmp_path / "scores.csv"
    rows = actions.score_batch(small_scorer, [good, str(bad)], "a fox", out, steps.append)
    assert steps == [0.5, 1.0]
    assert rows[0][1] is not None
    assert rows[1][1] is None
    assert "=bad.png" in rows[1][0]
    table = pd.read_csv(out)
    assert table["file"][1] == "'=bad.png"  # no formula in a spreadsheet
    assert isinstance(table["error"][1], str)
    with pytest.raises(ImageError, match="no pictures yet"):
        actions.score_batch(small_scorer, [], "", out)
    with pytest.raises(ImageError, match="this page takes 500"):
        actions.score_batch(small_scorer, [good] * 501, "", out)


def test_only_offered_models_are_loaded(small_scorer: Scorer) -> None:
    asked: list[str | None] = []

    def load(name: str | None) -> Scorer:
        asked.append(name)
        return small_scorer

    models = Models(["runs/a/best", "runs/b/best"], load)
    assert models.names == ["best", "runs/b/best"]
    models.get()
    models.get("best")
    models.get("runs/b/best")
    assert asked == ["runs/a/best", "runs/b/best"]
    with pytest.raises(WeightsError, match="offers no model of that name"):
        models.get("/etc")
    assert Models(load=load).names == [PACKAGED]


def test_examples_are_the_same_each_time(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    first, second = write_examples(tmp_path, 64), write_examples(tmp_path / "b", 64)
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(np.asarray(Image.open(one.path)), np.asarray(Image.open(other.path)))
