"""The measure of explanations: its cases are what they say, and it tells good maps from bad."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from diffagiqa import Scorer
from diffagiqa.cli.main import run as command
from diffagiqa.explain import benchmark
from diffagiqa.explain.benchmark import (
    benchmark_table,
    explain_benchmark,
    place_case,
    place_scores,
    roc_area,
    share,
    word_case,
    word_hit,
)
from diffagiqa.scorer import Score


def test_place_cases_differ_only_where_the_mask_says() -> None:
    case = place_case(0, 1, 96)
    difference = np.abs(case.damaged.astype(int) - case.clean.astype(int)).max(2)
    assert difference[~case.mask].max() <= 12
    assert 0 < case.mask.mean() < 0.6


def test_word_cases_name_words_of_the_prompt() -> None:
    for index in range(6):
        case = word_case(0, index, 64)
        assert all(case.prompt.text[start:end].strip() for start, end in case.wrong)


def test_roc_area() -> None:
    inside = torch.tensor([True, True, False, False])
    assert roc_area(torch.tensor([4.0, 3, 2, 1]), inside) == 1
    assert roc_area(torch.tensor([1.0, 2, 3, 4]), inside) == 0
    assert roc_area(torch.tensor([1.0, 1, 1, 1]), inside) == 0.5
    assert roc_area(torch.ones(2), torch.tensor([True, True])) == 0.5


def test_share_of_equal_values_has_no_width() -> None:
    assert share([1.0] * 5) == (1, 1, 1, 5)


def test_a_map_of_the_truth_beats_its_opposite(
    monkeypatch: pytest.MonkeyPatch, small_scorer: Scorer
) -> None:
    """With a score that is how near the picture is to the clean one."""
    case = place_case(0, 1, 128)
    clean = small_scorer.prepare(case.clean)
    monkeypatch.setattr(
        small_scorer,
        "score_tensor",
        lambda images, prompt: {"perception": 1 - (images - clean).abs().mean((1, 2, 3))},
    )
    truth = torch.from_numpy(case.mask).float()
    for sign, better in ((1, True), (-1, False)):
        monkeypatch.setattr(benchmark, "quality_map", lambda *_, s=sign, **__: s * truth)
        found = place_scores(small_scorer, case, "any")
        assert (found["insertion"] > 0) is better
        assert (found["roc"] > 0.9) is better
        assert (found["pointing"] == 1) is better


def test_a_model_that_knows_the_truth_names_the_word(
    monkeypatch: pytest.MonkeyPatch, small_scorer: Scorer
) -> None:
    case = word_case(0, 2, 128)
    start, end = case.wrong[0]
    wrong = case.prompt.text[start:end]

    def knowing(batch: list) -> list:
        return [Score({"alignment": 0.1 if wrong in prompt else 0.9}, {}) for _, prompt in batch]

    monkeypatch.setattr(small_scorer, "score_prepared", knowing)
    hit, chance = word_hit(small_scorer, case)
    assert hit
    assert 0 < chance < 1


def test_the_whole_benchmark(small_scorer: Scorer) -> None:
    found = explain_benchmark(small_scorer, places=2, words=2, methods=["activation"])
    assert set(found) == {"activation", "words"}
    table = benchmark_table(found)
    assert "| activation |" in table
    assert "by guessing" in table


def test_a_name_with_a_bar_stays_one_cell() -> None:
    table = benchmark_table({"words": {"named": share([1.0] * 9), "this|that": share([0.0] * 9)}})
    assert table.splitlines()[0] == "| what is not shown | first word named is right |"
    assert "| this\\|that | 0.00 [0.00, 0.00], n=9 |" in table


def test_the_report_names_the_command_that_wrote_it(
    monkeypatch: pytest.MonkeyPatch, tiny_model: Path, tmp_path: Path
) -> None:
    words = ["explain-benchmark", "--places", "1", "--words", "0", "--method", "gradient"]
    words += ["--model", str(tiny_model), "--report", str(tmp_path / "report.md")]
    monkeypatch.setattr(sys, "argv", ["diffagiqa", *words])
    assert command(words) == 0
    text = (tmp_path / "report.md").read_text()
    assert "--method gradient" in text.split("Written by")[1]
