"""Baselines without a network: the generator's mean, and kernel regression on scene statistics."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from diffagiqa.benchmark.classical import scene_statistics, simple_statistics
from diffagiqa.benchmark.frame import Predictions, Trial
from diffagiqa.data.images import decode_image
from diffagiqa.evaluation.baselines_generator import generator_means
from diffagiqa.evaluation.correlations import srcc
from diffagiqa.training.data import Rows


def generator_mean(trial: Trial) -> Predictions:
    """An oracle told which generator made a picture and nothing else: that one's mean training label."""
    table, train = trial.rows.table(), [*trial.train, *trial.validation]
    tasks = trial.rows.task_names
    table[list(tasks)] = trial.labels
    return np.stack([generator_means(table, train, trial.test, task) for task in tasks], axis=1)


def statistics_of(rows: Rows) -> np.ndarray:
    """(N, 42): natural scene statistics and simple statistics of every picture."""

    def measure(number: int) -> np.ndarray:
        image = decode_image(rows.samples[number].source)
        return np.concatenate([scene_statistics(image), list(simple_statistics(image).values())])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return np.stack(list(pool.map(measure, range(len(rows)))))


def scene_statistics_regression(statistics: np.ndarray) -> Callable[[Trial], Predictions]:
    """Kernel ridge regression on the statistics; width and ridge chosen by validation SRCC."""
    return partial(_regress, _scaled(statistics))


def _regress(features: np.ndarray, trial: Trial) -> Predictions:
    columns = []
    for task in range(trial.labels.shape[1]):
        label = trial.labels[:, task]
        train, validation = (_labelled(rows, label) for rows in (trial.train, trial.validation))
        settings = [(width, ridge) for width in (0.1, 0.3, 1.0) for ridge in (0.03, 0.1, 0.3, 1.0)]
        best = max(
            settings,
            key=lambda s: srcc(
                _ridge(features[train], label[train], features[validation], *s), label[validation]
            ),
        )
        everything = np.concatenate([train, validation])
        columns.append(
            _ridge(features[everything], label[everything], features[list(trial.test)], *best)
        )
    return np.stack(columns, axis=1)


def _ridge(
    known: np.ndarray, labels: np.ndarray, wanted: np.ndarray, width: float, ridge: float
) -> np.ndarray:
    """Kernel ridge regression with a Gaussian kernel of ``width`` per feature."""
    gamma = width / known.shape[1]

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
        return np.exp(-gamma * np.maximum(squares, 0))

    weights = np.linalg.solve(
        kernel(known, known) + ridge * np.eye(len(known)), labels - labels.mean()
    )
    return kernel(wanted, known) @ weights + labels.mean()


def _scaled(statistics: np.ndarray) -> np.ndarray:
    """Positive statistics on a log scale; all of zero mean and unit deviation. Labels play no part."""
    positive = (statistics > 0).all(axis=0)
    scaled = np.where(positive, np.log(np.where(positive, statistics, 1) + 1e-3), statistics)
    return (scaled - scaled.mean(0)) / (scaled.std(0) + 1e-9)


def _labelled(rows: object, label: np.ndarray) -> np.ndarray:
    chosen = np.asarray(rows)
    return chosen[np.isfinite(label[chosen])]
