"""What the fast path changes about the scores: synthetic pictures scored both ways."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from diffagiqa.evaluation.correlations import srcc
from diffagiqa.scorer import Scorer


def measure_precision(
    model: str, device: str, dtype: str, count: int, size: int
) -> Mapping[str, Mapping[str, float]]:
    """By task, largest and mean difference to float32, and rank correlation with it.

    On ``count`` synthetic pictures, of which every second has a defect, so that the scores spread.
    """
    pairs = list(_pairs(count, size))
    exact = _scores(model, device, "float32", pairs)
    fast = _scores(model, device, dtype, pairs)
    found = {}
    for task, wanted in exact.items():
        difference = np.abs(fast[task] - wanted)
        found[task] = {
            "largest": float(difference.max()),
            "mean": float(difference.mean()),
            "srcc": srcc(fast[task], wanted),
            "spread": float(wanted.std()),
        }
    return found


def _pairs(count: int, size: int) -> Iterator[tuple[Any, str]]:
    from diffagiqa.synth import made_sample
    from diffagiqa.synth.defects import damage

    for index in range(count):
        sample = made_sample(5, index, size)
        image = sample.image
        if index % 2:
            severity = (index % 20) / 20
            image, _ = damage(image, {"low detail": severity, "sensor noise": severity}, index)
        yield image, sample.caption


def _scores(
    model: str, device: str, dtype: str, pairs: list[tuple[Any, str]]
) -> dict[str, np.ndarray]:
    scorer = Scorer.from_pretrained(model, device=device, dtype=dtype)
    results = list(scorer.score_many(pairs))
    return {task: np.array([r[task] for r in results]) for task in scorer.tasks}  # type: ignore[index]
