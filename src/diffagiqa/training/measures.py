"""How well scores agree with opinions on held-out pictures, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from diffagiqa.training.data import Rows

METRICS = ("srcc", "plcc", "krcc", "rmse")


def agreement(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """SRCC, PLCC (plain), KRCC (tau-b) and RMSE (in the unit given) of (n,) scores and labels."""
    if len(scores) < 3 or np.ptp(scores) == 0 or np.ptp(labels) == 0:
        return dict.fromkeys(METRICS, float("nan"))
    return {
        "srcc": float(stats.spearmanr(scores, labels).statistic),
        "plcc": float(stats.pearsonr(scores, labels).statistic),
        "krcc": float(stats.kendalltau(scores, labels).statistic),
        "rmse": float(np.sqrt(np.mean((scores - labels) ** 2))),
    }


def interval(
    scores: np.ndarray,
    labels: np.ndarray,
    groups: Sequence[str],
    resamples: int = 500,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """95 % percentile bootstrap of ``agreement``, resampling groups (prompts) with replacement.

    Pictures of one prompt are alike, so resampling pictures would claim too much.
    """
    rows_of: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        rows_of.setdefault(group, []).append(row)
    members = list(rows_of.values())
    random = np.random.default_rng(seed)
    draws: list[dict[str, float]] = []
    for _ in range(resamples):
        chosen = np.concatenate(
            [members[i] for i in random.integers(0, len(members), len(members))]
        )
        draws.append(agreement(scores[chosen], labels[chosen]))
    return {
        name: tuple(np.nanpercentile([draw[name] for draw in draws], (2.5, 97.5)).tolist())
        for name in METRICS
    }


def within_generators(scores: np.ndarray, labels: np.ndarray, generators: Sequence[str]) -> float:
    """SRCC within each generator's pictures, averaged by their number."""
    names = np.array(generators)
    total, count = 0.0, 0
    for name in np.unique(names):
        own = names == name
        value = agreement(scores[own], labels[own])["srcc"]
        if not np.isnan(value):
            total, count = total + own.sum() * value, count + int(own.sum())
    return total / count if count else float("nan")


def generator_means(
    rows: Rows, column: int, train: Sequence[int], test: Sequence[int]
) -> np.ndarray:
    """The baseline that looks at no picture: the training part's mean label of each generator."""
    labels = rows.labels[:, column].numpy()
    known = [row for row in train if not np.isnan(labels[row])]
    everything = float(np.mean(labels[known]))
    means: dict[str, float] = {}
    for name in {generator_of(rows, row) for row in known}:
        means[name] = float(np.mean([labels[r] for r in known if generator_of(rows, r) == name]))
    return np.array([means.get(generator_of(rows, row), everything) for row in test])


def generator_of(rows: Rows, row: int) -> str:
    """The name of the model, with its setting where the database has several of one."""
    return rows.samples[row].generator or "unknown"


def measured(
    scores: Mapping[str, Sequence[float]], rows: Rows, train: Sequence[int], test: Sequence[int]
) -> dict[str, dict[str, object]]:
    """All figures of one repeat, by task; scores in [0, 1], errors in units of the MOS scale."""
    found: dict[str, dict[str, object]] = {}
    for column, task in enumerate(rows.tasks):
        labels = rows.labels[list(test), column].numpy()
        known = ~np.isnan(labels)
        if known.sum() < 3:
            continue
        scale = task.mos_max - task.mos_min
        x = np.asarray(scores[task.name])[known] * scale + task.mos_min
        y = labels[known].astype(float) * scale + task.mos_min
        kept = [row for row, is_known in zip(test, known, strict=True) if is_known]
        generators = [generator_of(rows, row) for row in kept]
        baseline = generator_means(rows, column, train, kept) * scale + task.mos_min
        found[task.name] = {
            "pictures": len(kept),
            **agreement(x, y),
            "interval": interval(x, y, [rows.prompts[row] for row in kept]),
            "within_generators_srcc": within_generators(x, y, generators),
            "generator_baseline": agreement(baseline, y),
        }
    return found
