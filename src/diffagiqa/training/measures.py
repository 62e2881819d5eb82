"""The figures of one repeat, by ``evaluation.protocol``: of the model, and of the baseline to beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from diffagiqa.evaluation.baselines_generator import generator_means
from diffagiqa.evaluation.protocol import Evaluation, evaluate_predictions
from diffagiqa.training.data import Rows

if TYPE_CHECKING:
    import pandas as pd

RESAMPLES = 500


def evaluate_scores(
    scores: Mapping[str, Sequence[float]], rows: Rows, test: Sequence[int]
) -> Evaluation:
    """Agreement on the test rows; ``scores`` in [0, 1] by task, errors in units of the MOS scale."""
    frame = labelled_table(rows).iloc[list(test)].reset_index(drop=True)
    for task in rows.tasks:
        values = np.asarray(scores[task.name], np.float64)
        frame[f"{task.name}_predicted"] = values * (task.mos_max - task.mos_min) + task.mos_min
    return evaluate_predictions(frame, rows.task_names, resamples=RESAMPLES)


def evaluate_baseline(rows: Rows, train: Sequence[int], test: Sequence[int]) -> Evaluation:
    """The same for each generator's mean label in ``train``: no picture is looked at."""
    table = labelled_table(rows)
    frame = table.iloc[list(test)].reset_index(drop=True)
    tasks = [task for task in rows.task_names if table[task].iloc[list(train)].notna().any()]
    for task in tasks:
        frame[f"{task}_predicted"] = generator_means(table, train, test, task)
    return evaluate_predictions(frame, tasks, resamples=0)


def labelled_table(rows: Rows) -> pd.DataFrame:
    """``Rows.table`` with a column of opinion scores per task, in its MOS scale."""
    table = rows.table()
    for column, task in enumerate(rows.tasks):
        labels = rows.labels[:, column].double().numpy()
        table[task.name] = labels * (task.mos_max - task.mos_min) + task.mos_min
    return table
