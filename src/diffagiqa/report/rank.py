"""Best of N: the images of each prompt in the order of their score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from diffagiqa import checks
from diffagiqa.report.runs import Run, check_run

if TYPE_CHECKING:
    import pandas as pd


def rank(
    run: Run, *, top: int | None = 1, weights: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """The best images of every prompt, by the weighted mean of their scores.

    Args:
        run: the scores; failed rows are left out, and rows without a prompt, unless none has one.
        top: images kept per prompt, 1 or more; None: all.
        weights: by task, 0 or more; default: equal over ``Run.ranking``, without doubtful scores.

    Returns:
        A pandas frame, best first, prompts in the order of the table: prompt, rank (from 1), of (the
        prompt's number of images), score (the weighted mean, in [0, 1]), the tasks, image; and file,
        doubtful and unfamiliar where the run has them. Equal scores keep the order of the table.

    Raises:
        ConfigError: an argument is not as expected.
    """
    check_run(run)
    if top is not None:
        checks.whole("top", top, 1)
    if len(run.prompted):
        run = replace(run, rows=run.prompted)
    rows = run.scored.assign(score=run.weighted(weights)).dropna(subset=["score"])
    rows = rows.assign(_first=rows.groupby("prompt", sort=False).ngroup())
    rows = rows.sort_values(["_first", "score"], ascending=[True, False], kind="stable")
    groups = rows.groupby("_first", sort=False)
    rows = rows.assign(rank=groups.cumcount() + 1, of=groups["score"].transform("size"))
    if top is not None:
        rows = rows[rows["rank"] <= top]
    columns = ["prompt", "rank", "of", "score", *run.tasks, "image"]
    for name in ("file", "doubtful", "unfamiliar"):
        if name in rows.columns:
            columns.append(name)
            rows[name] = rows[name].astype(object).where(rows[name].notna(), "")
    return rows[columns].reset_index(drop=True)
