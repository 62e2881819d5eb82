"""Train on A, test on B: how far a trained model carries, with the prompts that both share reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffagiqa.data.splits import prompt_key
from diffagiqa.data.wording import counted
from diffagiqa.errors import ImageError, PromptError, TrainingError
from diffagiqa.evaluation.protocol import AGREEMENT, TaskEvaluation, evaluate_predictions
from diffagiqa.evaluation.tables import NAMES, figure_text, intervals_text, markdown
from diffagiqa.scorer import Scorer
from diffagiqa.training import measures
from diffagiqa.training.data import Rows

if TYPE_CHECKING:
    import pandas as pd

METRICS = (*AGREEMENT, "rmse")


@dataclass(frozen=True)
class CrossResult:
    """Agreement on another database: on all of it, and on prompts that training never saw.

    ``tasks`` maps task -> part ("all", "new prompts") -> figures; ``shared_prompts`` is the overlap.
    ``predictions`` has a row per picture: its labels and scores, and whether its prompt is new.
    """

    trained_on: str
    tested_on: str
    prompts: int
    shared_prompts: int
    unreadable: int
    tasks: dict[str, dict[str, TaskEvaluation]]
    predictions: pd.DataFrame


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
    seen = {prompt_key(prompt) for prompt in trained["prompt"].astype(str)} - {""}
    keys = [prompt_key(prompt) for prompt in rows.prompts]
    scores = np.full((len(rows), len(common)), np.nan)
    pairs = ((sample.source, sample.prompt or "") for sample in rows.samples)
    for row, result in enumerate(scorer.score_many(pairs)):
        if not isinstance(result, (ImageError, PromptError)):
            scores[row] = [result[task] for task in common]
        if (row + 1) % 200 == 0:
            log(f"{row + 1} of {len(rows)} pictures scored")
    columns = dict(zip(common, scores.T.tolist(), strict=True))
    frame = measures.predictions(columns, rows, range(len(rows)))
    new = np.array([key not in seen for key in keys])
    parts = {
        name: evaluate_predictions(part, common, resamples=measures.RESAMPLES).tasks
        for name, part in {"all": frame, "new prompts": frame[new]}.items()
    }
    tasks = {task: {part: found[task] for part, found in parts.items()} for task in common}
    frame["new_prompt"] = np.where(new, "yes", "no")
    return CrossResult(
        trained_on=_database_of(run),
        tested_on=" + ".join(rows.names),
        prompts=len(set(keys)),
        shared_prompts=len(set(keys) & seen),
        unreadable=int(np.isnan(scores[:, 0]).sum()),
        tasks=tasks,
        predictions=frame,
    )


def render_cross(result: CrossResult) -> str:
    """The result as Markdown."""
    unread = counted(result.unreadable, "picture")
    head = [
        f"# Trained on {result.trained_on}, tested on {result.tested_on}",
        "",
        f"{result.shared_prompts} of {counted(result.prompts, 'prompt')} of {result.tested_on} were "
        f'trained on; the rows "new prompts" leave their pictures out. {unread} could not be read. '
        "Brackets: 95 % percentile bootstrap over prompts. RMSE is in units of the labels.",
        "",
    ]
    lines, reasons = [], []
    for task, parts in result.tasks.items():
        for part, found in parts.items():
            cells = [figure_text(found.figures[name]) for name in METRICS]
            lines.append([task, part, str(found.rows), *cells])
            if reason := found.reasons.get("srcc"):
                reasons.append(f"{task}, {part}: no correlation, since {reason}.")
            elif found.figures["srcc"].low is None:
                reasons.append(f"{task}, {part}: {intervals_text(found)}.")
    table = markdown(["task", "pictures of", "count", *(NAMES[name] for name in METRICS)], lines)
    return "\n".join([*head, table, *([""] if reasons else []), *reasons]) + "\n"


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
