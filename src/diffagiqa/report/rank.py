"""Best of N: the pictures of each prompt in the order of their score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from diffagiqa import checks
from diffagiqa.report.runs import Run, check_run

if TYPE_CHECKING:
    import pandas as pd


def rank(
    run: Run, *, top: int | None = 1, weights: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """The ``top`` pictures of every prompt, best first; prompts in the order they first appear.

    Args:
        run: scores; rows that failed are left out, and rows without a prompt, unless none has one.
        top: pictures kept per prompt; None keeps all.
        weights: of the tasks; default: all alike. What is ranked by is the column ``score``.

    Returns:
        Columns prompt, rank (from 1), of (pictures of this prompt), score, the tasks, image. Equal
        scores keep the order of the table. Also unfamiliar, where the run has it.
    """
    check_run(run)
    if top is not None:
        checks.whole("top", top, 1)
    rows = run.scored.assign(score=run.weighted(weights))
    prompted = run.prompted.index
    if len(prompted):
        rows = rows.loc[prompted]
    rows = rows.assign(_first=rows.groupby("prompt", sort=False).ngroup())
    rows = rows.sort_values(["_first", "score"], ascending=[True, False], kind="stable")
    groups = rows.groupby("_first", sort=False)
    rows = rows.assign(rank=groups.cumcount() + 1, of=groups["score"].transform("size"))
    if top is not None:
        rows = rows[rows["rank"] <= top]
    columns = ["prompt", "rank", "of", "score", *run.tasks, "image"]
    if "unfamiliar" in rows.columns:
        columns.append("unfamiliar")
        rows["unfamiliar"] = rows["unfamiliar"].astype(object).where(rows["unfamiliar"].notna(), "")
    return rows[columns].reset_index(drop=True)
