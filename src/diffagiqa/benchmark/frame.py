"""What a benchmark hands to every method alike: the rows, their labels, one split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diffagiqa.training.data import Rows


@dataclass(frozen=True)
class Trial:
    """One repeat: which rows to learn from, which to stop by, which to predict."""

    rows: Rows
    train: Sequence[int]
    validation: Sequence[int]
    test: Sequence[int]
    seed: int

    @property
    def labels(self) -> np.ndarray:
        """(N, tasks) in [0, 1], NaN where missing."""
        return self.rows.labels.numpy()


Predictions = np.ndarray
"""(len(test), tasks), in the order of ``Trial.test`` and the rows' tasks; labels are in [0, 1]."""
