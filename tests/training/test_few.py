"""A few ratings: the regression against its textbook form, and the model against the regression."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import small_config

from diffagiqa.data.samples import Sample
from diffagiqa.errors import TrainingError
from diffagiqa.model.config import TaskConfig
from diffagiqa.model.scoring import build_model
from diffagiqa.pretrained import load_model, save_model
from diffagiqa.training.data import TrainingData
from diffagiqa.training.few import PENALTIES, fitted, solve
from diffagiqa.training.generators import GeneratorClassifier
from diffagiqa.training.inputs import FeatureInputs

ROWS = 24


def test_the_penalty_is_what_leaving_rows_out_says() -> None:
    """Against ridge regressions that are each solved without a row."""
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(ROWS, 40)) * rng.uniform(0.5, 3, 40)
    start = rng.normal(size=ROWS)
    wanted = 0.7 * start + maps[:, 0] + rng.normal(size=ROWS) * 0.3
    slope, offset, weights, shift = fitted(start, maps, wanted)
    assert (slope, offset) == pytest.approx(tuple(np.polyfit(start, wanted, 1)))
    rest = wanted - slope * start - offset
    unit = (maps.std(0) + 1e-3) * 40**0.5
    x = np.column_stack([np.ones(ROWS), (maps - maps.mean(0)) / unit])

    def ridge(rows: np.ndarray, penalty: float) -> np.ndarray:
        square = x[rows].T @ x[rows] + penalty * np.diag([0.0] + [1.0] * 40)
        return np.linalg.solve(square, x[rows].T @ rest[rows])

    everyone = np.arange(ROWS)
    errors = [
        sum((rest[i] - x[i] @ ridge(np.delete(everyone, i), penalty)) ** 2 for i in everyone)
        for penalty in PENALTIES
    ]
    best = ridge(everyone, PENALTIES[int(np.argmin(errors))])
    np.testing.assert_allclose(maps @ weights + shift, x @ best, atol=1e-8)


def test_the_model_learns_what_its_start_does_not_see(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = small_config(tasks=(TaskConfig("taste"),), pyramid_size=4, prompting="none")
    taste = torch.randn(2 * ROWS)  # some of every map, which random heads make nothing of
    features = {
        name: torch.randn(2 * ROWS, 1, 1, channels, 4, 4) + taste[:, None, None, None, None, None]
        for name, channels in zip(config.features, config.feature_channels, strict=True)
    }
    inputs, model = FeatureInputs(features), build_model(config).eval()
    with torch.no_grad():
        plain = inputs.scores(model, [0, 1], None)["taste"]
    labels = (0.5 + 0.2 * taste).clamp(0, 1)[:, None]
    samples = tuple(
        Sample(f"{i}.png", "", "none", i, generator="ab"[i % 2]) for i in range(2 * ROWS)
    )
    data = TrainingData(samples, labels, config.tasks, torch.zeros(2 * ROWS).long(), ("made",))
    split = {"train": list(range(ROWS)), "validation": [], "test": []}
    solved = solve(model, inputs, data, split).model
    save_model(solved, tmp_path)
    again = load_model(tmp_path)
    held_out = range(ROWS, 2 * ROWS)
    with torch.no_grad():
        scores = inputs.scores(again, held_out, None)["taste"]
        assert torch.equal(plain, inputs.scores(model, [0, 1], None)["taste"])  # the start stays
    outputs = inputs.outputs(again, [0, 1], None)  # may be trained on, with generators named
    assert GeneratorClassifier(again, data, range(ROWS), 0)(outputs.fused)[0].shape == (2, 2)
    known = labels[held_out, 0]
    constant = (known - labels[:ROWS].mean()).square().mean()
    assert (scores - known).square().mean() < 0.5 * constant
    none = replace(data, labels=torch.full_like(labels, 0.5))
    with pytest.raises(
        TrainingError, match="taste has 24 ratings to learn from, and 3 that are not"
    ):
        solve(model, inputs, none, split)
