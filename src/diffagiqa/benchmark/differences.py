"""How far the method lies above each baseline, on the very same pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from diffagiqa.data.wording import counted
from diffagiqa.evaluation.correlations import MIN_GROUPS, bootstrap_interval, srcc
from diffagiqa.evaluation.protocol import resampling_units
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
        known = [one for one in found if np.isfinite(one.value)]
        cells = [number(None)] * 2
        if known:
            bounds = [(one.low, one.high) for one in known if one.prompts >= MIN_GROUPS]
            low, high = np.mean(bounds, axis=0) if bounds else (None, None)
            cells = [
                number(float(np.median([one.value for one in known]))),
                f"{number(low)} to {number(high)}"
                if bounds
                else f"{counted(known[0].prompts, 'prompt')}: no interval",
            ]
        lines.append([f"{method.regime} minus {other.regime}", *cells, str(len(known))])
    return markdown(["comparison", "SRCC difference", "95 % interval", "repeats"], lines)


class _Difference(NamedTuple):
    value: float
    low: float
    high: float
    prompts: int


def _difference(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], rows: Rows, task: str
) -> _Difference:
    """Difference and bounds on one test part; both hold "rows" and "scores" by task."""
    table = labelled_table(rows)
    for name, test in (("ours", ours), ("theirs", theirs)):
        table[name] = float("nan")
        table.loc[test["rows"], name] = test["scores"][task]
    known = table.dropna(subset=["ours", "theirs", task])
    mine, others, mos = (known[name].to_numpy() for name in ("ours", "theirs", task))
    units = resampling_units(known["prompt"])
    bounds = bootstrap_interval(
        lambda x, other, y: srcc(x, y) - srcc(other, y), mine, others, mos,
        resamples=RESAMPLES, groups=units,
    )  # fmt: skip
    return _Difference(srcc(mine, mos) - srcc(others, mos), *bounds, len(set(units)))
