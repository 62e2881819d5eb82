"""Evaluations and published figures -> Markdown tables. What was not run is printed as not run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from diffagiqa.data.wording import counted
from diffagiqa.evaluation.correlations import MIN_GROUPS
from diffagiqa.evaluation.protocol import (
    AGREEMENT,
    Evaluation,
    Figure,
    Spread,
    Summary,
    TaskEvaluation,
)
from diffagiqa.evaluation.published import published

NOT_RUN = "not run"
NO_VALUE = "no value"
NAMES = {
    "srcc": "SRCC",
    "plcc": "PLCC",
    "plcc_logistic4": "PLCC, 4-parameter logistic",
    "plcc_logistic5": "PLCC, 5-parameter logistic",
    "krcc": "KRCC",
    "rmse": "RMSE",
    "mae": "MAE",
    "within_srcc": "SRCC within generators",
    "within_plcc": "PLCC within generators",
    "within_krcc": "KRCC within generators",
}
COLUMNS = ("srcc", "plcc", "plcc_logistic4", "krcc", "rmse", "within_srcc")


def results_table(results: Mapping[str, Summary | None], task: str) -> str:
    """One row per result: the median of its repeats, then mean ± standard deviation,
    ``0.812 (0.809 ± 0.011, n = 10)``; "not run" for None, or without the task."""
    rows = []
    for name, result in results.items():
        spreads = None if result is None else result.tasks.get(task)
        cells = [NOT_RUN if spreads is None else _spread(spreads.get(m)) for m in COLUMNS]
        rows.append([name, *cells])
    return markdown(["method", *(NAMES[metric] for metric in COLUMNS)], rows)


def figure_texts(
    evaluation: TaskEvaluation,
    metrics: Sequence[str] = (*AGREEMENT, "rmse"),
    digits: int = 3,
) -> list[str]:
    """What a command prints of one task: the figures that there are, and why there are no others."""
    shown = {metric: evaluation.figures[metric] for metric in metrics}
    texts = []
    for metric, figure in shown.items():
        if figure.value is not None:
            plain = f" ({evaluation.reasons[metric]})" if metric in evaluation.reasons else ""
            texts.append(f"{NAMES[metric]} {figure_text(figure, digits)}{plain}")
    reason = evaluation.reasons.get("srcc")
    return [*texts, f"no correlation: {reason}"] if reason else texts


def intervals_text(evaluation: TaskEvaluation, by: str = "prompt") -> str:
    """What the intervals were made over, or that there is too little for any.

    ``by``: ``Evaluation.settings["by"]``.
    """
    over = counted(evaluation.groups, "row" if by == "row" else "prompt")
    return (
        f"{over}: no interval" if evaluation.groups < MIN_GROUPS else f"95 % intervals over {over}"
    )


def intervals_table(rows: Mapping[str, Sequence[Evaluation]], task: str) -> str:
    """95 % bootstrap intervals by method, their bounds averaged over repeats."""
    lines = []
    for name, evaluations in rows.items():
        tasks, line = [evaluation.tasks[task] for evaluation in evaluations], [name]
        few = [figures for figures in tasks if figures.groups < MIN_GROUPS]
        none = intervals_text(few[0], str(evaluations[0].settings["by"])) if few else NO_VALUE
        for figures in ([t.figures[metric] for t in tasks] for metric in AGREEMENT):
            bounds = [(f.low, f.high) for f in figures if f.low is not None]
            low, high = np.mean(np.array(bounds, np.float64), axis=0) if bounds else (None, None)
            line.append(f"{number(low)} to {number(high)}" if bounds else none)
        lines.append(line)
    return markdown(["method, 95 % interval", *(NAMES[m] for m in AGREEMENT)], lines)


def generator_table(evaluation: Evaluation, task: str) -> str:
    """One row per generator, with its number of rows."""
    metrics = (*AGREEMENT, "rmse")
    rows = [
        [name, str(int(values["rows"] or 0)), *(number(values.get(m)) for m in metrics)]
        for name, values in evaluation.tasks[task].generators.items()
    ]
    return markdown(["generator", "rows", *(NAMES[metric] for metric in metrics)], rows)


def published_table(database: str, task: str) -> str:
    """Published results on one database and task, with protocol and source; "" where there are none."""
    results = published(database, task)
    metrics = list(dict.fromkeys(metric for row in results for metric in row.figures))
    rows = []
    for row in results:
        values = [row.figures.get(metric) for metric in metrics]
        cells = ["not available" if v is None else f"{v:.4f}".rstrip("0") for v in values]
        near = "yes, nearly" if row.comparable else "no"
        rows.append([row.method, *cells, row.protocol, near, row.source])
    names = [NAMES.get(metric, metric) for metric in metrics]
    header = ["method", *names, "protocol", "comparable with ours by prompt", "source"]
    return markdown(header, rows) if rows else ""


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; bars in cells are escaped.

    >>> print(markdown(["a", "b"], [["1", "x|y"]]))
    | a | b |
    | --- | --- |
    | 1 | x\\|y |
    """
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |"
        for line in lines
    )


def figure_text(figure: Figure | None, digits: int = 3) -> str:
    """Value and interval, ``0.812 [0.790, 0.831]``."""
    if figure is None or figure.value is None:
        return NO_VALUE
    if figure.low is None or figure.high is None:
        return f"{figure.value:.{digits}f}"
    return f"{figure.value:.{digits}f} [{figure.low:.{digits}f}, {figure.high:.{digits}f}]"


def _spread(spread: Spread | None) -> str:
    if spread is None or spread.median is None or spread.mean is None:
        return NO_VALUE
    if spread.std is None:
        return f"{spread.median:.3f} (n = 1)"
    return f"{spread.median:.3f} ({spread.mean:.3f} ± {spread.std:.3f}, n = {len(spread.values)})"


def number(value: float | None) -> str:
    """Three decimals, or that there is no value: constant scores have no correlation."""
    return NO_VALUE if value is None else f"{value:.3f}"
