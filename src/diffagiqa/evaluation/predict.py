"""Samples -> scores in arrays, with the reasons where there are none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from diffagiqa.data.samples import Sample
from diffagiqa.errors import DiffAGIQAError


class Scores(Protocol):
    """What is needed of a ``Scorer``."""

    @property
    def tasks(self) -> Sequence[str]: ...

    def score_many(self, pairs: Iterable[tuple[Any, str]]) -> Iterator[Any]: ...


def predict(
    scorer: Scores, samples: Sequence[Sample], progress: Callable[[int], object] = lambda done: None
) -> tuple[dict[str, NDArray[np.float64]], dict[int, str]]:
    """Score every sample once, in order, at flat memory; what has an ``error`` is not looked at.

    Args:
        progress: called with the number of samples that are done.

    Returns:
        (N,) scores in [0, 1] by task, NaN where a sample could not be scored; row -> why it could not.
    """
    scores = {task: np.full(len(samples), np.nan) for task in scorer.tasks}
    faults = {row: sample.error for row, sample in enumerate(samples) if sample.error}
    rows = [row for row in range(len(samples)) if row not in faults]
    pairs = ((samples[row].source, samples[row].prompt or "") for row in rows)
    for done, (row, result) in enumerate(zip(rows, scorer.score_many(pairs), strict=True), start=1):
        if isinstance(result, DiffAGIQAError):
            faults[row] = str(result)
        else:
            for task, values in scores.items():
                values[row] = result[task]
        progress(done)
    return scores, faults
