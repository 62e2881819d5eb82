"""The figures of one repeat, by ``evaluation.protocol``: of the model, and of the baseline to beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from diffagiqa.evaluation.baselines_generator import generator_means
from diffagiqa.evaluation.pairs import PairEvaluation, evaluate_pairs, preference_score
from diffagiqa.evaluation.protocol import Evaluation, evaluate_predictions
from diffagiqa.training.data import TrainingData

if TYPE_CHECKING:
    import pandas as pd

RESAMPLES = 500


def evaluate_scores(
    scores: Mapping[str, Sequence[float]], rows: TrainingData, test: Sequence[int]
) -> Evaluation:
    """Agreement on the test rows; ``scores`` in [0, 1] by task, errors in units of the MOS scale."""
    return evaluate_predictions(
        predictions(scores, rows, test), rows.rated_tasks, resamples=RESAMPLES
    )


def evaluate_databases(
    scores: Mapping[str, Sequence[float]], rows: TrainingData, test: Sequence[int]
) -> dict[str, Evaluation]:
    """``evaluate_scores`` of each database that has test rows, by its name.

    Their observers and scales differ, so one correlation over all would measure those too.
    """
    parts = {name: of_database(scores, rows, test, i) for i, name in enumerate(rows.names)}
    return {name: evaluate_scores(s, rows, part) for name, (s, part) in parts.items() if part}


def of_database(
    scores: Mapping[str, Sequence[float]], rows: TrainingData, test: Sequence[int], number: int
) -> tuple[dict[str, list[float]], list[int]]:
    """Of scores and test rows, those of the database ``rows.names[number]``."""
    members = [i for i, row in enumerate(test) if int(rows.sources[row]) == number]
    of_members = {task: [values[i] for i in members] for task, values in scores.items()}
    return of_members, [test[i] for i in members]


def predictions(
    scores: Mapping[str, Sequence[float]], rows: TrainingData, test: Sequence[int]
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


def evaluate_baseline(rows: TrainingData, train: Sequence[int], test: Sequence[int]) -> Evaluation:
    """The same for each generator's mean label in ``train``: no image is looked at."""
    table = labelled_table(rows)
    frame = table.iloc[list(test)].reset_index(drop=True)
    tasks = [task for task in rows.task_names if table[task].iloc[list(train)].notna().any()]
    for task in tasks:
        frame[f"{task}_predicted"] = generator_means(table, train, test, task)
    return evaluate_predictions(frame, tasks, resamples=0)


def constant_rmse(
    data: TrainingData, splits: Sequence[Mapping[str, Sequence[int]]]
) -> dict[str, float]:
    """By task, the RMSE over all test parts of their training part's mean rating, in MOS units."""
    by_task = {}
    for column, task in enumerate(data.tasks):
        if task.name not in data.rated_tasks:
            continue
        labels = data.labels[:, column].double().numpy()
        errors = [labels[list(s["test"])] - np.nanmean(labels[list(s["train"])]) for s in splits]
        rmse = float(np.sqrt(np.nanmean(np.concatenate(errors) ** 2)))
        by_task[task.name] = rmse * (task.mos_max - task.mos_min)
    return by_task


def narrow_text(frame: pd.DataFrame, task: str) -> str:
    """A warning where predictions spread less than half as far as the ratings; else ""."""
    both = frame[[task, f"{task}_predicted"]].dropna()
    (low, high), (least, most) = (both[c].quantile([0.05, 0.95]) for c in both)
    if len(both) < 3 or most - least >= (high - low) / 2:
        return ""
    return (
        f"warning: nine in ten predictions of {task} lie in {least:.2f} to {most:.2f}, and ratings in "
        f"{low:.2f} to {high:.2f}: rank by them, and do not read them as ratings"
    )


def pair_evaluations(
    scores: Mapping[str, Sequence[float]], data: TrainingData, rows: Sequence[int]
) -> dict[str, PairEvaluation]:
    """Agreement with the preferences among some rows, by the task they are about; ``scores`` by task."""
    groups, names = data.groups_within(rows), data.table()["generator"].tolist()
    evaluations = {}
    for task in dict.fromkeys(group.task for group in groups):
        values = np.full(len(data), np.nan)
        arrays = {name: np.asarray(column) for name, column in scores.items()}
        values[list(rows)] = preference_score(arrays, task)
        judged = [group for group in groups if group.task == task]
        evaluations[task] = evaluate_pairs(values, judged, data.prompts, names, resamples=RESAMPLES)
    return evaluations


def labelled_table(rows: TrainingData) -> pd.DataFrame:
    """``TrainingData.table`` with a column of opinion scores per task, in its MOS scale."""
    table = rows.table()
    for column, task in enumerate(rows.tasks):
        labels = rows.labels[:, column].double().numpy()
        table[task.name] = labels * (task.mos_max - task.mos_min) + task.mos_min
    return table
