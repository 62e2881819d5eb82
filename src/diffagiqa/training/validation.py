"""Scores of some rows as users will see them, and how they agree with the labels while training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from diffagiqa.evaluation.correlations import plcc, srcc
from diffagiqa.evaluation.pairs import evaluate_pairs, preference_score
from diffagiqa.model.scoring import DiffAGIQA
from diffagiqa.training.data import TrainingData
from diffagiqa.training.inputs import Inputs
from diffagiqa.training.processes import Processes, interleave


@torch.no_grad()
def predict(
    model: DiffAGIQA, inputs: Inputs, chosen: Sequence[int], processes: Processes | None = None,
    batch_size: int = 32,
) -> dict[str, Tensor]:  # fmt: skip
    """Scores of some rows by task, (len(chosen),) in [0, 1] on the CPU, with the fixed noise."""
    processes = processes or Processes()
    training = model.training
    model.eval()
    local = chosen[processes.rank :: processes.count]
    parts: list[dict[str, Tensor]] = []
    for start in range(0, len(local), batch_size):
        inputs.prefetch(local[start : start + 2 * batch_size])
        scores = inputs.scores(model, local[start : start + batch_size], None)
        parts.append({task: value.float().cpu() for task, value in scores.items()})
    model.train(training)
    tasks = model.config.task_names
    values = {
        task: torch.cat([part[task] for part in parts]).tolist() if parts else [] for task in tasks
    }
    everyone = processes.gather_objects(values)
    return {
        task: torch.tensor(interleave([part[task] for part in everyone], len(chosen)))
        for task in tasks
    }


def agreement(
    scores: Mapping[str, Tensor], data: TrainingData, rows: Sequence[int]
) -> dict[str, float]:
    """SRCC and PLCC by task, within each database and averaged by its rows; accuracy on pairs by task.

    A constant score has no order, nor have one or two rows; they count as 0. ``validation`` is what
    epochs are compared by: the mean over tasks of SRCC, and of 2 x accuracy - 1 of pairs.
    """
    labels, sources = data.labels[list(rows)].numpy(), data.sources[list(rows)].numpy()
    figures: dict[str, float] = {}
    compared: list[float] = []
    for column, task in enumerate(data.task_names):
        x, y = scores[task].numpy(), labels[:, column]
        known = ~np.isnan(y)
        sums = np.zeros(2)
        for source in np.unique(sources[known]):
            members = known & (sources == source)
            both = [srcc(x[members], y[members]), plcc(x[members], y[members])]
            sums += members.sum() * np.nan_to_num(both)
        if known.sum() >= 3:
            figures[f"{task}_srcc"], figures[f"{task}_plcc"] = (sums / known.sum()).tolist()
            compared.append(figures[f"{task}_srcc"])
    if groups := data.groups_within(rows):
        position = {row: i for i, row in enumerate(rows)}
        for task in dict.fromkeys(group.task for group in groups):
            judged = np.full(len(data), np.nan)
            judged[list(position)] = preference_score(scores, task).numpy()
            of_task = [group for group in groups if group.task == task]
            accuracy = evaluate_pairs(judged, of_task, data.prompts, resamples=0).accuracy.value
            if accuracy is not None:
                figures[f"{task}_accuracy"] = accuracy
                compared.append(2 * accuracy - 1)
    return {**figures, "validation": float(np.mean(compared)) if compared else 0.0}


def can_be_ranked(data: TrainingData, rows: Sequence[int]) -> bool:
    """Whether some database has three rows with labels of a task that are not all alike, or a group."""
    labels, sources = data.labels[list(rows)], data.sources[list(rows)]
    for source in sources.unique():
        for column in labels[sources == source].unbind(1):
            known = column[~column.isnan()]
            if len(known) >= 3 and len(known.unique()) > 1:
                return True
    return bool(data.groups_within(rows))
