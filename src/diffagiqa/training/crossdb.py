"""Train on A, test on B: how far a trained model carries, with the prompts that both share reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffagiqa.data.splits import prompt_key
from diffagiqa.errors import ImageError, PromptError, TrainingError
from diffagiqa.evaluation.correlations import bootstrap_interval
from diffagiqa.evaluation.protocol import AGREEMENT, MEASURES
from diffagiqa.scorer import Scorer
from diffagiqa.training import measures
from diffagiqa.training.data import Rows


@dataclass(frozen=True)
class CrossResult:
    """Agreement on another database: on all of it, and on prompts that training never saw.

    ``tasks`` maps task -> part ("all", "new prompts") -> figures; ``shared_prompts`` is the overlap.
    """

    trained_on: str
    tested_on: str
    prompts: int
    shared_prompts: int
    unreadable: int
    tasks: dict[str, dict[str, dict[str, Any]]]


def cross_evaluate(
    run: Path, rows: Rows, *, backbone: str | None = None, device: str | None = None,
    log: Callable[[str], None] = print,
) -> CrossResult:  # fmt: skip
    """Score another database with ``run/best``, and compare by the tasks that both have.

    ``run`` is the folder of a training run; its ``rows.csv`` says which prompts were trained on.
    """
    trained = _training_rows(run)
    scorer = Scorer.from_pretrained(run / "best", backbone=backbone, device=device)
    common = [task for task in rows.task_names if task in scorer.tasks]
    if not common:
        raise TrainingError(
            f"{run} was trained for {', '.join(scorer.tasks)}, and {', '.join(rows.names)} has labels "
            f"of {', '.join(rows.task_names)}; they have no task in common"
        )
    seen = {prompt_key(prompt) for prompt in trained["prompt"].astype(str)}
    keys = [prompt_key(prompt) for prompt in rows.prompts]
    scores = np.full((len(rows), len(common)), np.nan)
    pairs = ((sample.source, sample.prompt or "") for sample in rows.samples)
    for row, result in enumerate(scorer.score_many(pairs)):
        if not isinstance(result, (ImageError, PromptError)):
            scores[row] = [result[task] for task in common]
        if (row + 1) % 200 == 0:
            log(f"{row + 1} of {len(rows)} pictures scored")
    parts = {
        "all": np.ones(len(rows), bool),
        "new prompts": np.array([k not in seen for k in keys]),
    }
    tasks: dict[str, dict[str, dict[str, Any]]] = {}
    for column, task in enumerate(common):
        labels = rows.labels[:, rows.task_names.index(task)].numpy().astype(np.float64)
        known = ~np.isnan(labels) & ~np.isnan(scores[:, column])
        tasks[task] = {
            part: _figures(scores[chosen & known, column], labels[chosen & known],
                           [key for key, own in zip(keys, chosen & known, strict=True) if own])
            for part, chosen in parts.items()
        }  # fmt: skip
    return CrossResult(
        trained_on=_database_of(run),
        tested_on=" + ".join(rows.names),
        prompts=len(set(keys)),
        shared_prompts=len(set(keys) & seen),
        unreadable=int(np.isnan(scores[:, 0]).sum()),
        tasks=tasks,
    )


def render_cross(result: CrossResult) -> str:
    """The result as Markdown."""
    lines = [
        f"# Trained on {result.trained_on}, tested on {result.tested_on}",
        "",
        f"{result.shared_prompts} of {result.prompts} prompts of {result.tested_on} were trained on; "
        'the rows "new prompts" leave their pictures out. '
        f"{result.unreadable} pictures could not be read. "
        "Brackets: 95 % percentile bootstrap over prompts.",
        "",
        "| task | pictures of | count | SRCC | PLCC | KRCC |",
        "|---|---|---|---|---|---|",
    ]
    for task, parts in result.tasks.items():
        for part, found in parts.items():
            cells = [
                f"{found[name]:.3f} [{found['interval'][name][0]:.3f}, {found['interval'][name][1]:.3f}]"
                if np.isfinite(found[name])
                else "too few"
                for name in AGREEMENT
            ]
            lines.append(f"| {task} | {part} | {found['pictures']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _figures(scores: np.ndarray, labels: np.ndarray, prompts: list[str]) -> dict[str, Any]:
    figures: dict[str, Any] = {"pictures": len(scores)}
    figures |= {name: MEASURES[name](scores, labels) for name in AGREEMENT}
    if len(scores) >= 3:
        figures["interval"] = {
            name: bootstrap_interval(
                MEASURES[name], scores, labels, groups=prompts, resamples=measures.RESAMPLES
            )
            for name in AGREEMENT
        }
    return figures


def _training_rows(run: Path) -> Any:
    import pandas as pd

    try:
        table = pd.read_csv(run / "rows.csv", keep_default_na=False)
        return table[table["part"].isin(["train", "validation"])]
    except (OSError, ValueError, KeyError) as error:
        raise TrainingError(
            f"{run} is no training run ({error}); give a folder that diffagiqa train has written"
        ) from None


def _database_of(run: Path) -> str:
    from diffagiqa.training.config import TrainingConfig

    config = TrainingConfig.from_json((run / "config.json").read_text(encoding="utf-8"))
    return " + ".join(config.databases)
