"""Many files at once: rows, the table shown, and the CSV to keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from diffagiqa import Scorer
from diffagiqa.app.batch import columns_shown, failed_first, row_shown, score_files
from diffagiqa.app.examples import write_examples
from diffagiqa.data.prompts import MAX_PROMPT_CHARACTERS
from diffagiqa.errors import ImageError, PromptError, TableError
from diffagiqa.report import read_run
from diffagiqa.rows import row_columns


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    """An image with its prompt, one without, one that is no image."""
    Image.new("RGB", (64, 64)).save(tmp_path / "bare.png")
    (tmp_path / "=bad.png").write_text("no image")
    return [
        write_examples(tmp_path)[0].path,
        *(str(tmp_path / n) for n in ("bare.png", "=bad.png")),
    ]


def test_rows_and_remarks(small_scorer: Scorer, paths: list[str], tmp_path: Path) -> None:
    rows = [
        row for batch in score_files(small_scorer, paths, "", tmp_path / "s.csv") for row in batch
    ]
    shown = [
        dict(zip(columns_shown(small_scorer), row_shown(small_scorer, row), strict=True))
        for row in rows
    ]
    assert [row["image"] for row in shown] == ["clean.png", "bare.png", "=bad.png"]
    expected = small_scorer(paths[0], rows[0]["prompt"])
    assert rows[0]["alignment"] == pytest.approx(expected["alignment"], abs=1e-5)
    assert rows[0]["prompt_source"] == "png a1111"
    assert shown[0]["remark"] == ""
    assert (shown[1]["alignment"], shown[1]["remark"]) == (None, "no prompt, so no alignment")
    assert shown[2]["alignment"] is None
    assert "is not an image" in shown[2]["remark"]
    unlike = row_shown(small_scorer, rows[0] | {"unfamiliar": "image+prompt"})[-1]
    assert unlike == "image and prompt unlike the training data: the scores mean little"
    doubt = row_shown(small_scorer, rows[0] | {"prompt_source": "png comfyui ambiguous"})[-1]
    assert doubt == "the file leaves open which prompt is its own"


def test_the_prompt_of_files_that_hold_none(
    small_scorer: Scorer, paths: list[str], tmp_path: Path
) -> None:
    rows = next(score_files(small_scorer, paths, " a black\tsquare", tmp_path / "s.csv"))
    assert rows[0]["prompt_source"] == "png a1111"
    assert (rows[1]["prompt"], rows[1]["prompt_source"]) == ("a black square", "argument")
    assert row_shown(small_scorer, rows[1])[-1] == ""
    with pytest.raises(PromptError):
        next(
            score_files(small_scorer, paths, "a" * (MAX_PROMPT_CHARACTERS + 1), tmp_path / "s.csv")
        )


def test_progress_by_batches(small_scorer: Scorer, paths: list[str], tmp_path: Path) -> None:
    many = paths[1:2] * (small_scorer.batch_size + 3)
    sizes = [len(rows) for rows in score_files(small_scorer, many, "", tmp_path / "s.csv")]
    assert sizes == [small_scorer.batch_size, 3]


def test_a_gpu_has_the_next_batch_before_it_is_waited_for(
    small_scorer: Scorer, paths: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch, steps = small_scorer.launch, []

    def recorded(batch: Any) -> Any:
        number, results = sum(step.startswith("begun") for step in steps), launch(batch)
        steps.append(f"begun {number}")
        return lambda: steps.append(f"waited for {number}") or results()

    monkeypatch.setattr(small_scorer, "launch", recorded)
    monkeypatch.setattr(Scorer, "ahead", 1)
    monkeypatch.setattr("diffagiqa.rows.batches_at_once", lambda _: 1)  # as on a GPU
    many = paths[1:2] * (2 * small_scorer.batch_size)
    sizes = [len(rows) for rows in score_files(small_scorer, many, "", tmp_path / "s.csv")]
    assert sizes == [small_scorer.batch_size] * 2
    assert steps == ["begun 0", "begun 1", "waited for 0", "waited for 1"]


def test_the_csv_is_the_command_lines(
    small_scorer: Scorer, paths: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "scores.csv"
    list(score_files(small_scorer, paths, "", out))
    table = pd.read_csv(out)
    assert list(table) == list(row_columns(small_scorer.config))
    assert table["image"][2] == "'=bad.png"  # no formula in a spreadsheet
    assert len(read_run(out).rows) == 3  # diffagiqa report takes it


def test_no_server_path_is_told(small_scorer: Scorer, paths: list[str], tmp_path: Path) -> None:
    Path(paths[2]).write_bytes(b"")
    rows = next(score_files(small_scorer, paths, "", tmp_path / "s.csv"))
    assert rows[2]["error"].startswith("=bad.png is empty")


def test_how_many(small_scorer: Scorer, paths: list[str], tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no images yet"):
        next(score_files(small_scorer, [], "", tmp_path / "s.csv"))
    with pytest.raises(ImageError, match="this page takes 500"):
        next(score_files(small_scorer, paths[:1] * 501, "", tmp_path / "s.csv"))


def test_prompts_of_text_files_and_of_a_table(
    small_scorer: Scorer, paths: list[str], tmp_path: Path
) -> None:
    (tmp_path / "texts").mkdir()  # a browser's files may lie anywhere
    (tmp_path / "texts" / "bare.txt").write_text("a black square")
    (tmp_path / "texts" / "clean.png.txt").write_text("a wolf")
    dropped = [*paths, *map(str, (tmp_path / "texts").iterdir())]
    rows = next(score_files(small_scorer, dropped, "", tmp_path / "s.csv"))
    assert [row["prompt"] for row in rows[:2]] == ["a wolf", "a black square"]
    assert [row["prompt_source"] for row in rows[:2]] == ["sidecar", "sidecar"]
    assert [row["image"] for row in failed_first(rows)] == ["=bad.png", "clean.png", "bare.png"]
    table = tmp_path / "texts" / "prompts.csv"
    table.write_text("image,prompt\nbare.png,a black hole\n")
    rows = next(score_files(small_scorer, [*dropped, str(table)], "", tmp_path / "s.csv"))
    assert [row["prompt"] for row in rows[:2]] == ["a wolf", "a black hole"]
    with pytest.raises(TableError, match="2 tables of prompts"):
        next(score_files(small_scorer, [*paths, str(table), str(table)], "", tmp_path / "s.csv"))
    table.write_text("image,prompt\nother.png,a fox\n")
    with pytest.raises(TableError, match="has a prompt for none of the images"):
        list(score_files(small_scorer, [*paths, str(table)], "", tmp_path / "s.csv"))
