"""Scores that were written before, judged by people's choices between the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from diffagiqa.data.names import NameIndex
from diffagiqa.data.samples import quoted
from diffagiqa.errors import TableError
from diffagiqa.evaluation.pairs import PairEvaluation, evaluate_pairs
from diffagiqa.report.runs import Run, check_run

if TYPE_CHECKING:
    from diffagiqa.data.databases.listing import Listing


def judge(
    runs: Sequence[Run], choices: Listing, *, weights: Mapping[str, float] | None = None, seed: int = 0
) -> PairEvaluation:  # fmt: skip
    """How well the scores of one or several runs agree with choices.

    Args:
        runs: with different images; with two or more, each is a generator and has the run's name.
        choices: as ``read_choices`` reads them. Images are matched by their whole name, else by the last
            parts of their path; one that matches several counts as not scored.
        weights: by task; the score that is judged is their weighted mean; default: equal.
        seed: of the intervals.

    Raises:
        TableError: the choices name no image of the runs.
    """
    images = choices.table["image"].tolist()
    scores, generators = np.full(len(images), np.nan), ["unknown"] * len(images)
    if len(runs) == 1:
        generators = choices.table["generator"].astype(str).tolist()
    for run in runs:
        values = check_run(run).weighted(weights)
        score_of = dict(zip(run.scored["image"], values, strict=True))
        index = NameIndex(score_of)
        for row, image in enumerate(images):
            if len(names := index.find(image)) == 1:
                ambiguous = len(runs) > 1 and np.isfinite(scores[row])
                scores[row] = np.nan if ambiguous else score_of[names[0]]
                generators[row] = run.name if len(runs) > 1 else generators[row]
    if not np.isfinite(scores).any():
        raise TableError(
            f"the choices name no image of {runs[0].name} by itself, such as {quoted(images[0])}; "
            "name the images there as the scores name them"
        )
    prompts = choices.table["prompt"].tolist()
    return evaluate_pairs(scores, choices.groups, prompts, generators, seed=seed)
