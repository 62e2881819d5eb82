"""The figures of one repeat: agreement of scores with opinions on held-out pictures, and how sure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from diffagiqa.evaluation.correlations import (
    bootstrap_interval,
    krcc,
    mae,
    plcc,
    plcc_fitted,
    rmse,
    srcc,
    within_groups,
)
from diffagiqa.training.data import Rows

MEASURES = {"srcc": srcc, "plcc": plcc, "krcc": krcc, "rmse": rmse, "mae": mae}
WITH_INTERVAL = ("srcc", "plcc", "krcc")
RESAMPLES = 500


def measured(
    scores: Mapping[str, Sequence[float]], rows: Rows, train: Sequence[int], test: Sequence[int]
) -> dict[str, dict[str, Any]]:
    """All figures of one repeat, by task.

    ``scores`` in [0, 1] of the ``test`` rows; errors come in units of the MOS scale. Intervals
    resample prompts, not pictures: the pictures of one prompt are alike. The baseline gives every
    picture the mean label that its generator has in ``train``.
    """
    found: dict[str, dict[str, Any]] = {}
    for column, task in enumerate(rows.tasks):
        labels = rows.labels[:, column].numpy().astype(np.float64)
        known = [i for i, row in enumerate(test) if not np.isnan(labels[row])]
        if len(known) < 3:
            continue
        kept = [test[i] for i in known]
        low, scale = task.mos_min, task.mos_max - task.mos_min
        x = np.asarray(scores[task.name])[known] * scale + low
        y = labels[kept] * scale + low
        prompts = [rows.prompts[row] for row in kept]
        generators = [generator_of(rows, row) for row in kept]
        baseline = generator_means(rows, labels, train, kept) * scale + low
        found[task.name] = {
            "pictures": len(kept),
            **{name: measure(x, y) for name, measure in MEASURES.items()},
            "plcc_fitted": plcc_fitted(x, y).plcc,
            "interval": {
                name: bootstrap_interval(MEASURES[name], x, y, groups=prompts, resamples=RESAMPLES)
                for name in WITH_INTERVAL
            },
            "within_generators_srcc": within_groups(srcc, x, y, generators),
            "generators_srcc": {
                name: srcc(*(side[np.array(generators) == name] for side in (x, y)))
                for name in sorted(set(generators))
            },
            "generator_baseline": {
                name: measure(baseline, y) for name, measure in MEASURES.items()
            },
        }
    return found


def generator_means(
    rows: Rows, labels: np.ndarray, train: Sequence[int], test: Sequence[int]
) -> np.ndarray:
    """(len(test),) mean label of each test row's generator in the training part."""
    by_name: dict[str, list[float]] = {}
    for row in train:
        if not np.isnan(labels[row]):
            by_name.setdefault(generator_of(rows, row), []).append(float(labels[row]))
    everything = float(np.nanmean(labels[list(train)]))
    means = {name: float(np.mean(values)) for name, values in by_name.items()}
    return np.array([means.get(generator_of(rows, row), everything) for row in test])


def generator_of(rows: Rows, row: int) -> str:
    return rows.samples[row].generator or "unknown"
