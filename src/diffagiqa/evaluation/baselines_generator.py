"""The baseline to beat: guess the rating from the generator's name, without a look at the image.

Databases of generated images hold few generators of very different quality, so this guess correlates
with the ratings. It has no order inside a generator, so ``mean_within`` tells it from a real score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from diffagiqa.errors import DatabaseError

if TYPE_CHECKING:
    import pandas as pd


def generator_means(
    table: pd.DataFrame,
    train: Sequence[int] | NDArray[np.int64],
    test: Sequence[int] | NDArray[np.int64],
    task: str,
) -> NDArray[np.float64]:
    """(len(test),) predictions: the training rows' mean score of each test row's generator.

    A generator that the training rows do not have gets the mean of all of them. Rows without a score of
    the task do not count. The unit is that of the scores.

    Raises:
        DatabaseError: where no training row has a score.
    """
    known = table.iloc[np.asarray(train, dtype=np.int64)][["generator", task]].dropna()
    if known.empty:
        raise DatabaseError(f"no training row has a score of {task}; nothing to take means of")
    means = known.groupby("generator")[task].mean()
    generators = table["generator"].iloc[np.asarray(test, dtype=np.int64)]
    return generators.map(means).fillna(known[task].mean()).to_numpy(dtype=np.float64)
