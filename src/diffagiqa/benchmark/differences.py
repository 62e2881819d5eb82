"""How far the method lies above each baseline, on the very same pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from diffagiqa.evaluation.correlations import bootstrap_difference, srcc
from diffagiqa.evaluation.tables import markdown, number
from diffagiqa.training.data import Rows
from diffagiqa.training.measures import RESAMPLES, labelled_table
from diffagiqa.training.reproduce import Repeats


def differences_table(done: Sequence[Repeats], rows: Rows, task: str) -> str:
    """SRCC of the last method minus that of each other one, over the repeats that both ran.

    Paired bootstrap: both are measured on the same resampled prompts. Medians of the differences over
    repeats; bounds are averaged over them.
    """
    *others, method = done
    lines = []
    for other in others:
        pairs = list(zip(method.results, other.results, strict=False))
        found = [_difference(ours["test"], theirs["test"], rows, task) for ours, theirs in pairs]
        known = [one for one in found if np.isfinite(one).all()]
        cells = [number(None)] * 2
        if known:
            value = float(np.median([difference for difference, _, _ in known]))
            low, high = np.mean([bounds for _, *bounds in known], axis=0)
            cells = [number(value), f"{number(low)} to {number(high)}"]
        lines.append([f"{method.regime} minus {other.regime}", *cells, str(len(known))])
    return markdown(["", "SRCC", "95 % interval of the difference", "repeats"], lines)


def _difference(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], rows: Rows, task: str
) -> tuple[float, float, float]:
    """Difference and bounds on one test part; both hold "rows" and "scores" by task."""
    table = labelled_table(rows)
    for name, test in (("ours", ours), ("theirs", theirs)):
        table[name] = float("nan")
        table.loc[test["rows"], name] = test["scores"][task]
    known = table.dropna(subset=["ours", "theirs", task])
    mine, others, mos = (known[name].to_numpy() for name in ("ours", "theirs", task))
    bounds = bootstrap_difference(
        srcc, mine, others, mos, resamples=RESAMPLES, groups=known["prompt"].tolist()
    )
    return srcc(mine, mos) - srcc(others, mos), *bounds
