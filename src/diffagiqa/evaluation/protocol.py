"""Predictions -> the figures that papers report: overall, per generator, with intervals; repeats.

Reported per task: SRCC, PLCC as it is, PLCC after a 4- and a 5-parameter logistic mapping (named apart),
KRCC, RMSE, MAE. Intervals resample prompts, since images of one prompt are alike; figures inside each
generator stand beside the overall ones, since telling generators apart is easy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from diffagiqa import checks
from diffagiqa.data.splits import prompt_key
from diffagiqa.errors import DatabaseError
from diffagiqa.evaluation.correlations import (
    Measure,
    bootstrap_interval,
    by_group,
    krcc,
    mae,
    mean_within,
    plcc,
    plcc_fitted,
    rmse,
    srcc,
    why_undefined,
)

if TYPE_CHECKING:
    import pandas as pd

MEASURES: dict[str, Measure] = {"srcc": srcc, "plcc": plcc, "krcc": krcc, "rmse": rmse, "mae": mae}
LEVEL = 0.95  # coverage of the intervals
AGREEMENT = ("srcc", "plcc", "krcc")  # the correlations, which need no unit
FITTED = {"plcc_logistic4": 4, "plcc_logistic5": 5}  # name -> parameters of the mapping
METRICS = ("srcc", "plcc", *FITTED, "krcc", "rmse", "mae")


@dataclass(frozen=True)
class Figure:
    """One measured value with its bootstrap interval; None where it has no value or was not asked."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class TaskEvaluation:
    """How well one task was predicted.

    Attributes:
        rows: rows that were measured: with an opinion score and a prediction.
        unlabelled, unscored: rows left out: without an opinion score; with one but no prediction.
        figures: overall figures by metric (``METRICS``); RMSE and MAE in the unit of the scores.
        within: SRCC, PLCC and KRCC inside each generator, averaged by its rows.
        generators: inside each generator, by metric, with its "rows".
        reasons: by metric, why it has no value, or why a mapped PLCC is the plain one.
        groups: of the rows that were measured, the prompts (or rows) that intervals resample; 0 where
            that was not noted.
    """

    rows: int
    unlabelled: int
    unscored: int
    figures: Mapping[str, Figure]
    within: Mapping[str, float | None]
    generators: Mapping[str, Mapping[str, float | None]]
    reasons: Mapping[str, str]
    groups: int = 0


@dataclass(frozen=True)
class Evaluation:
    """All tasks of one set of predictions, and how the intervals were made.

    Attributes:
        tasks: by name.
        settings: resamples, level, seed, what was resampled ("group", "prompt" or "row"), and where it
            is known "split", the fields of ``SplitFacts``.
    """

    tasks: Mapping[str, TaskEvaluation]
    settings: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Evaluation:
        tasks = {}
        for name, task in values["tasks"].items():
            figures = {metric: Figure(**figure) for metric, figure in task["figures"].items()}
            tasks[name] = TaskEvaluation(**{**task, "figures": figures})
        return Evaluation(tasks, values["settings"])


def evaluate_predictions(
    frame: pd.DataFrame,
    tasks: Sequence[str],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Measure predictions against opinion scores.

    Args:
        frame: columns ``<task>`` (opinion scores, NaN where missing) and ``<task>_predicted`` for every
            task, in the same unit; where known, ``generator``, and ``group`` or ``prompt``, which the
            bootstrap resamples by; a row without one by itself.
        resamples: of the bootstrap; 0 leaves the intervals out. 1000 of them take about 2 s per task
            and 500 rows.

    Raises:
        DatabaseError: where a column is missing.
    """
    checks.several("tasks", tasks, "a list of names")
    checks.whole("resamples", resamples)
    wanted = [name for task in tasks for name in (task, f"{task}_predicted")]
    if missing := [name for name in wanted if name not in frame]:
        raise DatabaseError(
            f"the predictions lack {', '.join(missing)}; expected an opinion score and a prediction, "
            "<task> and <task>_predicted, for every task"
        )
    units = (name for name in ("group", "prompt") if name in frame and any(_texts(frame[name])))
    unit = next(units, None)
    settings = {"resamples": resamples, "level": LEVEL, "seed": seed, "by": unit or "row"}
    evaluations = {task: _evaluate(frame, task, unit, resamples, seed) for task in tasks}
    return Evaluation(evaluations, settings)


def _evaluate(
    frame: pd.DataFrame, task: str, unit: str | None, resamples: int, seed: int
) -> TaskEvaluation:
    labelled = np.isfinite(frame[task].to_numpy(dtype=np.float64))
    scored = np.isfinite(frame[f"{task}_predicted"].to_numpy(dtype=np.float64))
    rows = frame[labelled & scored]
    predicted = rows[f"{task}_predicted"].to_numpy(dtype=np.float64)
    mos = rows[task].to_numpy(dtype=np.float64)
    groups = None if unit is None else resampling_units(rows[unit])
    figures: dict[str, Figure] = {}
    reason = why_undefined(predicted, mos)
    reasons = dict.fromkeys(AGREEMENT, reason) if reason else {}
    for metric in METRICS:
        if metric in FITTED:
            fitted = plcc_fitted(predicted, mos, FITTED[metric])
            figures[metric] = Figure(_value(fitted.plcc))
            if fitted.reason:
                reasons[metric] = fitted.reason
            continue
        measure = MEASURES[metric]
        low, high = float("nan"), float("nan")
        if resamples and len(rows):
            low, high = bootstrap_interval(
                measure, predicted, mos, resamples=resamples, level=LEVEL, seed=seed, groups=groups
            )
        figures[metric] = Figure(_value(measure(predicted, mos)), _value(low), _value(high))
    generators: dict[str, dict[str, float | None]] = {}
    within: dict[str, float | None] = {}
    if "generator" in frame and len(rows):
        names = rows["generator"].tolist()
        for metric, measure in MEASURES.items():
            parts = by_group(measure, predicted, mos, names)
            for name, (value, count) in parts.items():
                generators.setdefault(name, {"rows": count})[metric] = _value(value)
            if metric in AGREEMENT:
                within[metric] = _value(mean_within(parts))
    return TaskEvaluation(
        rows=len(rows),
        unlabelled=int((~labelled).sum()),
        unscored=int((labelled & ~scored).sum()),
        figures=figures,
        within=within,
        generators=generators,
        reasons=reasons,
        groups=len(rows) if groups is None else len(set(groups)),
    )


def resampling_units(column: pd.Series) -> list[str]:
    """The prompt or group of each row as intervals resample it; a row without one is by itself.

    Prompts that a split holds for the same one are one here, too.
    """
    key = prompt_key if column.name == "prompt" else str
    return [key(text) or f"\0{i}" for i, text in enumerate(_texts(column))]


def _texts(column: pd.Series) -> list[str]:
    return column.astype(object).where(column.notna(), "").astype(str).tolist()


@dataclass(frozen=True)
class Spread:
    """One figure over repeats: its values in the order of the repeats, and what they come to.

    ``std`` is the sample's (divided by n - 1); None for fewer than two values.
    """

    values: tuple[float, ...]
    median: float | None
    mean: float | None
    std: float | None


@dataclass(frozen=True)
class Summary:
    """Repeats of one protocol: by task, spreads by metric, "within_srcc" and the like among them."""

    repeats: int
    tasks: Mapping[str, Mapping[str, Spread]]


def summarise_repeats(evaluations: Sequence[Evaluation]) -> Summary:
    """Median, mean and standard deviation of every figure over repeats that have it."""
    names = list(dict.fromkeys(task for evaluation in evaluations for task in evaluation.tasks))
    tasks = {}
    for name in names:
        runs = [evaluation.tasks[name] for evaluation in evaluations if name in evaluation.tasks]
        by_metric: dict[str, list[float | None]] = {}
        for run in runs:
            for metric, figure in run.figures.items():
                by_metric.setdefault(metric, []).append(figure.value)
            for metric, value in run.within.items():
                by_metric.setdefault(f"within_{metric}", []).append(value)
        tasks[name] = {metric: spread(values) for metric, values in by_metric.items()}
    return Summary(len(evaluations), tasks)


def spread(values: Sequence[float | None]) -> Spread:
    """Values over repeats, those that exist.

    >>> spread([0.8, None, 0.9, 0.7]).median
    0.8
    """
    known = [float(value) for value in values if value is not None and np.isfinite(value)]
    return Spread(
        tuple(known),
        float(np.median(known)) if known else None,
        float(np.mean(known)) if known else None,
        float(np.std(known, ddof=1)) if len(known) > 1 else None,
    )


def _value(number: float) -> float | None:
    return float(number) if np.isfinite(number) else None
