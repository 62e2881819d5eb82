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
    return evaluate_predictions(
        predictions(scores, rows, test), rows.task_names, resamples=RESAMPLES
    )


def evaluate_databases(
    scores: Mapping[str, Sequence[float]], rows: Rows, test: Sequence[int]
) -> dict[str, Evaluation]:
    """``evaluate_scores`` of each database that has test rows, by its name.

    Their observers and scales differ, so one correlation over all would measure those too.
    """
    own = {name: of_database(scores, rows, test, i) for i, name in enumerate(rows.names)}
    return {name: evaluate_scores(found, rows, part) for name, (found, part) in own.items() if part}


def of_database(
    scores: Mapping[str, Sequence[float]], rows: Rows, test: Sequence[int], number: int
) -> tuple[dict[str, list[float]], list[int]]:
    """Of scores and test rows, those of the database ``rows.names[number]``."""
    own = [i for i, row in enumerate(test) if int(rows.sources[row]) == number]
    found = {task: [values[i] for i in own] for task, values in scores.items()}
    return found, [test[i] for i in own]


def predictions(
    scores: Mapping[str, Sequence[float]], rows: Rows, test: Sequence[int]
) -> pd.DataFrame:
    """The test rows of ``labelled_table`` with ``<task>_predicted``, in its MOS scale, after each."""
    frame = labelled_table(rows).iloc[list(test)].reset_index(drop=True)
    for task in rows.tasks:
        if task.name in scores:
            values = np.asarray(scores[task.name], np.float64)
            values = values * (task.mos_max - task.mos_min) + task.mos_min
            column = int(frame.columns.get_indexer([task.name])[0]) + 1
            frame.insert(column, f"{task.name}_predicted", values)
    return frame


def predictions_csv(frame: pd.DataFrame) -> str:
    """``predictions`` as text, without prompts and generators where none is known."""
    unknown = {"prompt": "", "generator": "unknown"}
    empty = [name for name, nothing in unknown.items() if (frame[name] == nothing).all()]
    frame = frame.drop(columns=empty)
    for name in frame.columns[frame.columns.str.endswith("_predicted")]:
        # float32 needs nine digits: fewer tie scores that differ, and the file's ranks are other ones.
        frame[name] = frame[name].map("{:.9g}".format, na_action="ignore")
    # Labels are float32, of which seven digits are the table's own.
    return frame.to_csv(index=False, float_format="%.7g")


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
