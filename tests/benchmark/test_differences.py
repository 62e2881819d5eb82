"""The method against a baseline on the same pictures: paired, by prompt, over repeats that both ran."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from diffagiqa.benchmark.differences import differences_table
from diffagiqa.data.samples import Sample
from diffagiqa.evaluation.correlations import bootstrap_interval, srcc
from diffagiqa.model.config import TaskConfig
from diffagiqa.training.config import TrainingConfig
from diffagiqa.training.data import Rows
from diffagiqa.training.measures import RESAMPLES
from diffagiqa.training.reproduce import Repeats

COUNT = 80
RANDOM = np.random.default_rng(0)
LABELS = RANDOM.uniform(size=COUNT).astype(np.float32)
ROWS = Rows(
    tuple(Sample(f"{i}.png", f"prompt {i // 2}", "table", i, {}, None) for i in range(COUNT)),
    torch.tensor(LABELS)[:, None],
    (TaskConfig("perception"),),
    torch.zeros(COUNT, dtype=torch.long),
    ("made",),
)
TEST = list(range(20, COUNT))


def repeats(name: str, *noises: float | None) -> Repeats:
    """One repeat per noise: labels and that much noise; constant scores for None."""
    results = []
    for seed, noise in enumerate(noises):
        random = np.random.default_rng(seed)
        scores = LABELS[TEST] + random.normal(0, noise, len(TEST)) if noise else np.zeros(len(TEST))
        results.append({"test": {"rows": TEST, "scores": {"perception": scores.tolist()}}})
    return Repeats(name, TrainingConfig(), tuple(results))


def numbers(table: str, row: str) -> list[float]:
    (line,) = [line for line in table.splitlines() if row in line]
    return [float(value) for value in re.findall(r"-?\d+\.?\d*", line)]


def test_a_better_method_lies_above() -> None:
    method, weak = repeats("ours", 0.05, 0.05), repeats("weak", 1.0)
    table = differences_table([weak, repeats("same", 0.05, 0.05), method], ROWS, "perception")
    value, low, high, count = numbers(table, "ours minus weak")
    ours, theirs = (of.results[0]["test"]["scores"]["perception"] for of in (method, weak))
    assert value == round(srcc(ours, LABELS[TEST]) - srcc(theirs, LABELS[TEST]), 3)
    assert 0 < low < value < high
    assert count == 1  # the weak one was run once
    assert numbers(table, "ours minus same") == [0, 0, 0, 2]


def test_the_median_of_the_repeats_stands_and_prompts_are_resampled() -> None:
    method, other = repeats("ours", 0.05, 0.05, 0.05), repeats("other", 0.06, 0.3, 2.0)
    table = differences_table([other, method], ROWS, "perception")
    each, bounds = [], []
    for ours, theirs in zip(method.results, other.results, strict=True):
        x, y = (np.array(one["test"]["scores"]["perception"]) for one in (ours, theirs))
        each.append(srcc(x, LABELS[TEST]) - srcc(y, LABELS[TEST]))
        groups = [f"prompt {row // 2}" for row in TEST]
        bounds.append(
            bootstrap_interval(
                lambda x, y, mos: srcc(x, mos) - srcc(y, mos),
                x,
                y,
                LABELS[TEST],
                resamples=RESAMPLES,
                groups=groups,
            )
        )
    value, low, high, _ = numbers(table, "ours minus other")
    assert value == round(sorted(each)[1], 3)
    assert (low, high) == pytest.approx(np.mean(bounds, axis=0), abs=6e-4)


def test_few_prompts_give_a_difference_without_an_interval() -> None:
    few = replace(ROWS, samples=tuple(replace(s, prompt=f"{s.row % 9}") for s in ROWS.samples))
    table = differences_table([repeats("weak", 1.0), repeats("ours", 0.05)], few, "perception")
    assert "| 9 prompts: no interval | 1 |" in table
    assert "no value" not in table


def test_rows_without_a_prompt_are_resampled_each_by_itself() -> None:
    bare = replace(ROWS, samples=tuple(replace(s, prompt="") for s in ROWS.samples))
    table = differences_table([repeats("weak", 1.0), repeats("ours", 0.05)], bare, "perception")
    value, low, high, _ = numbers(table, "ours minus weak")
    assert low < value < high


def test_scores_without_an_order_have_no_difference() -> None:
    table = differences_table([repeats("constant", None), repeats("ours", 0.1)], ROWS, "perception")
    assert "| ours minus constant | no value | no value | 0 |" in table
