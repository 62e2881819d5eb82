"""Generators on the same prompts: paired differences with their intervals, and win rates."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from diffagiqa import checks
from diffagiqa.data.wording import counted
from diffagiqa.errors import ConfigError, TableError
from diffagiqa.evaluation.correlations import MIN_GROUPS, bootstrap_interval
from diffagiqa.report.runs import Run, check_run

if TYPE_CHECKING:
    import pandas as pd

DRAWS = 2000


@dataclass(frozen=True)
class Comparison:
    """One run against a base run, on one task.

    Attributes:
        run, base: names of the two; ``run`` is better where ``difference`` is above 0.
        task: what is compared.
        prompts: the number of prompts that both have.
        mean, base_mean: mean over prompts of the mean score of a prompt's images, in [0, 1].
        difference: ``mean - base_mean``.
        low, high: its 95 % interval, a paired bootstrap over prompts; None for fewer than 10 prompts.
        win_rate: share of prompts on which ``run`` is better; ties count half.
    """

    run: str
    base: str
    task: str
    prompts: int
    mean: float
    base_mean: float
    difference: float
    low: float | None
    high: float | None
    win_rate: float

    @property
    def clear(self) -> bool:
        """Whether the interval excludes 0 when rounded to three decimals, as printed."""
        if self.low is None or self.high is None:
            return False
        return round(self.low, 3) > 0 or round(self.high, 3) < 0

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return asdict(self)


def compare(
    runs: Sequence[Run],
    *,
    doubtful: bool = False,
    seed: int = 0,
) -> list[Comparison]:
    """Compare every run with the first, on every task and prompt that both have.

    Args:
        runs: two or more, with images of the same prompts; images without a prompt are left out.
        doubtful: compare scores that the model itself does not stand behind, too.
        seed: of the bootstrap, 0 or more.

    Returns:
        One ``Comparison`` per run and task.

    Raises:
        ConfigError: there are fewer than two runs, or an argument is not as expected.
        TableError: no run shares a prompt with the first, or two no task that is not doubtful.

    Warns of a run that shares no prompt with the first.
    """
    for run in checks.several("runs", runs, "a list of runs"):
        check_run(run)
    checks.whole("seed", seed)
    if len(runs) < 2:
        raise ConfigError(
            f"{counted(len(runs), 'run was', 'runs were')} given; give two or more, or --by "
            "COLUMN to split one"
        )
    base, comparisons, apart = runs[0], [], []
    for run in runs[1:]:
        left_out = () if doubtful else (*base.doubtful, *run.doubtful)
        tasks = [task for task in base.tasks if task in run.tasks and task not in left_out]
        if left_out and not tasks:
            raise TableError(
                f"{base.name} and {run.name} share only scores that their model does not stand behind "
                f"({', '.join(dict.fromkeys(left_out))}); compare them with --doubtful"
            )
        theirs = _by_prompt(run, tasks).add_suffix(" other")
        both = _by_prompt(base, tasks).join(theirs, how="inner")
        if not tasks or both.empty:
            what = "task" if not tasks else "scored prompt"
            apart.append(f"{base.name} and {run.name} share no {what}")
            continue
        for task in tasks:
            ours, theirs = both[f"{task} other"].to_numpy(), both[task].to_numpy()
            comparisons.append(_compared(run.name, base.name, task, ours, theirs, seed))
    if not comparisons:
        raise TableError(f"{apart[0]}; compare like with like")
    for said in apart:
        warnings.warn(f"{said}, so they are not compared", stacklevel=2)
    return comparisons


def _compared(
    run: str, base: str, task: str, ours: np.ndarray, theirs: np.ndarray, seed: int
) -> Comparison:
    differences = ours - theirs
    enough = len(differences) >= MIN_GROUPS
    interval = bootstrap_interval(np.mean, differences, resamples=DRAWS, seed=seed)
    low, high = interval if enough else (None, None)
    wins = float((differences > 0).mean() + 0.5 * (differences == 0).mean())
    return Comparison(
        run, base, task, len(differences), float(ours.mean()), float(theirs.mean()),
        float(differences.mean()), low, high, wins,
    )  # fmt: skip


def _by_prompt(run: Run, tasks: Sequence[str]) -> pd.DataFrame:
    return run.prompted.groupby("prompt")[list(tasks)].mean()
