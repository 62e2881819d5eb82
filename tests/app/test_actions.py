"""What the page does, without a browser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffagiqa import Scorer
from diffagiqa.app import actions, markup
from diffagiqa.app.examples import write_examples
from diffagiqa.errors import ImageError
from diffagiqa.explain import Explanation
from diffagiqa.explain.explanation import WordEffect
from diffagiqa.model.config import ModelConfig
from diffagiqa.scorer import Score

HOSTILE = "<script>alert(1)</script>"
FULL = {"perception": 2.5, "alignment": 2.0}


@pytest.fixture
def bad(tmp_path: Path) -> str:
    """A file that is no image and whose name a spreadsheet would run."""
    (tmp_path / "=bad.png").write_bytes(b"garbage\nand more")
    return str(tmp_path / "=bad.png")


def test_prompt_comes_from_the_file(tmp_path: Path) -> None:
    example = write_examples(tmp_path)[0]
    image, prompt, source = actions.open_image(example.path)
    assert image.shape[2] == 3
    assert (prompt, source) == (example.prompt, "png a1111")
    Image.new("RGB", (64, 64)).save(tmp_path / "bare.png")
    assert actions.open_image(str(tmp_path / "bare.png"))[1] == ""


def test_faults_name_the_file_and_not_the_server(small_scorer: Scorer, bad: str) -> None:
    for call in (
        lambda: actions.open_image(bad),
        lambda: actions.score_image(small_scorer, bad, "", False),
    ):
        with pytest.raises(ImageError, match=r"^=bad\.png is not an image.* 'garbage\.'"):
            call()
    Path(bad).write_bytes(b"")
    with pytest.raises(ImageError, match=r"^=bad\.png is empty"):
        actions.open_image(bad)


def test_score_and_explain(small_scorer: Scorer, tmp_path: Path) -> None:
    example = write_examples(tmp_path)[0]
    plain = actions.score_image(small_scorer, example.path, example.prompt, False)
    assert plain.heat is None
    assert f"{small_scorer(example.path, example.prompt)['alignment']:.3f}" in plain.scores
    assert "doubtful" not in plain.scores
    bare = actions.score_image(small_scorer, example.path, " ", False).scores
    assert "No prompt, so no alignment." in bare
    assert 'aria-label="alignment"' not in bare
    found = actions.score_image(small_scorer, example.path, example.prompt, True)
    assert found.heat is not None
    assert found.words.count("<tr>") == len(found.attention) + 1 > 1


def test_nothing_hostile_becomes_markup() -> None:
    config, score = ModelConfig(), Score({"perception": 0.5, "alignment": 0.4}, FULL)
    assert "<script" not in markup.message_html(HOSTILE)
    flagged = markup.score_html(config, replace(score, unfamiliar=HOSTILE))
    assert "the scores mean little" in flagged
    assert "<script" not in flagged
    assert "Unlike" not in markup.score_html(config, score)
    told = markup.score_html(replace(config, notice=HOSTILE), score)
    assert "&lt;script" in told
    assert "<script" not in told


def test_a_doubtful_score_is_marked() -> None:
    config = replace(ModelConfig(), doubtful=("alignment",))
    said = markup.score_html(config, Score({"perception": 0.5, "alignment": 0.1}, FULL))
    assert 'alignment <span class="doubt">doubtful</span>' in said
    assert "does not stand behind its alignment" in said


def test_words_are_told_without_double_negatives() -> None:
    flat = np.zeros((8, 8), np.float32)
    words = (
        WordEffect(HOSTILE, 0, 1, 0.0327, flat),
        WordEffect("fox", 2, 5, -0.0327, flat),
        WordEffect("red", 6, 9, 0.0001, flat),
    )
    image = np.zeros((8, 8, 3), np.uint8)
    found = Explanation(image, "", {}, "perception", "activation", flat, words)
    said = markup.words_html(found)
    assert "<script" not in said
    cells = "<td>falls by 0.033</td><td></td>", "<td>rises by 0.033</td><td>yes", "<td>stays</td>"
    assert all(cell in said for cell in cells)
    assert markup.words_html(replace(found, words=())) == ""


def test_examples_are_the_same_each_time(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    first, second = write_examples(tmp_path), write_examples(tmp_path / "b")
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(np.asarray(Image.open(one.path)), np.asarray(Image.open(other.path)))
