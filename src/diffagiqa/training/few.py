"""A few ratings: the start's scores brought to their scale, and what that misses by ridge regression.

An optimiser learns hardly anything of sixty ratings. Here each score stays the start's own, its logit on
a line, plus a linear function of the mean of the pyramid's maps (``ModelConfig.head_skip``), as strong as
leaving one row out at a time says is best: nothing where the start's score is all there is to know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from diffagiqa.data.wording import counted
from diffagiqa.errors import TrainingError
from diffagiqa.model.head import ScoreHead
from diffagiqa.model.scoring import DiffAGIQA, build_model
from diffagiqa.training.config import TrainingConfig
from diffagiqa.training.data import TrainingData
from diffagiqa.training.inputs import FeatureInputs, Inputs
from diffagiqa.training.loop import Fitted
from diffagiqa.training.run_folder import Parts, RunFolder

Array = NDArray[np.float64]
LEAST = 3
"""Ratings of a score below which nothing is learnt."""
EDGE = 0.03
"""A label of 0 or 1 has no logit; it counts as this far from the end."""
PENALTIES = 10.0 ** np.arange(-1, 5, 0.5)


def can_be_solved(config: TrainingConfig, model: DiffAGIQA, data: TrainingData, rows: int) -> bool:
    """Whether training is a regression, rather than steps of an optimiser."""
    known = config.init is not None and config.freeze_prompters and not data.groups
    return known and rows <= config.solve_up_to and model.config.pooling != "queries"


@torch.no_grad()
def solve(
    model: DiffAGIQA, inputs: Inputs, data: TrainingData, split: Parts, run: RunFolder | None = None
) -> Fitted:
    """The model, fitted to all rated rows of train and validation, which chooses nothing here."""
    assert isinstance(inputs, FeatureInputs)
    state = model.state_dict()
    model = build_model(replace(model.config, head_skip=True)).eval()
    heads = {name: cast("ScoreHead", head) for name, head in model.heads.items()}
    for name, head in heads.items():
        skip = cast("nn.Conv2d", head.skip).weight
        state.setdefault(f"heads.{name}.skip.weight", torch.zeros_like(skip))
    model.load_state_dict(state)
    rows = [*split["train"], *split.get("validation", ())]
    maps, scores = _maps_and_scores(model, inputs, rows)
    for column, task in enumerate(data.task_names):
        label = data.labels[rows, column].double().numpy()
        known = np.isfinite(label)
        if known.sum() < LEAST or np.ptp(label[known]) == 0:
            raise TrainingError(
                f"{task} has {counted(int(known.sum()), 'rating')} to learn from, and {LEAST} that are "
                "not all alike are the least; rate more images"
            )
        start, wanted = _logit(scores[task][known], 1e-6), _logit(label[known], EDGE)
        slope, offset, weight, shift = fitted(start, maps[task][known], wanted)
        last = cast("nn.Linear", heads[task].regressor[-2])
        skip = cast("nn.Conv2d", heads[task].skip).weight  # (1,D,1,1)
        last.weight.mul_(slope)
        last.bias.mul_(slope).add_(offset + shift)
        skip.mul_(slope).add_(torch.from_numpy(weight).to(skip)[None, :, None, None])
    scores = _maps_and_scores(model, inputs, rows)[1]
    labels = data.labels[rows].double().numpy()  # (N, tasks)
    squares = np.square(np.stack([scores[task] for task in data.task_names], 1) - labels)
    row = {"epoch": 0.0, "loss": float(np.nanmean(squares))}
    if run is not None:
        run.save_best(model)
        run.save({}, model)
        run.log([row])
        run.close()
    return Fitted(model, 0.0, 0, [row])


def fitted(start: Array, maps: Array, wanted: Array) -> tuple[float, float, Array, float]:
    """``wanted`` (N,) as slope * ``start`` (N,) + offset + ``maps`` (N, D) @ weights (D,) + shift."""
    slope, offset = np.polyfit(start, wanted, 1) if np.ptp(start) > 1e-6 else (1.0, 0.0)
    rest = wanted - slope * start - offset
    centre, unit = maps.mean(0), maps.std(0) + 1e-3
    x = (maps - centre) / (unit * np.sqrt(maps.shape[1]))
    values, vectors = np.linalg.eigh(x @ x.T)
    values = values.clip(0)
    turned = vectors.T @ (rest - rest.mean())
    errors = []
    for penalty in PENALTIES:
        share = values / (values + penalty)
        left = rest - rest.mean() - vectors @ (share * turned)
        seen = (vectors**2 * share).sum(1) + 1 / len(
            rest
        )  # by itself: leave-one-out in closed form
        errors.append(np.mean(np.square(left / (1 - seen.clip(max=0.99)))))
    penalty = PENALTIES[int(np.argmin(errors))]
    weights = x.T @ (vectors @ (turned / (values + penalty)))
    weights = weights / (unit * np.sqrt(maps.shape[1]))
    return float(slope), float(offset), weights, float(rest.mean() - centre @ weights)


def _maps_and_scores(
    model: DiffAGIQA, inputs: FeatureInputs, rows: Sequence[int]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """By task: the mean over places and draws of the pyramid's maps, (N, D), and scores, (N,)."""
    parts = []
    for start in range(0, len(rows), 32):
        stages = inputs.stages(model, rows[start : start + 32], None)
        parts.append(
            {
                task: (
                    torch.stack([s["pyramid"][i].mean((2, 3)) for s in stages]).mean(0),
                    torch.stack([s["scores"][task] for s in stages]).mean(0),
                )
                for task, i in model.pass_of.items()
            }
        )
    maps, scores = (
        {task: torch.cat([part[task][i] for part in parts]).double().numpy() for task in parts[0]}
        for i in (0, 1)
    )
    return maps, scores


def _logit(values: Array, edge: float) -> Array:
    inside = values.clip(edge, 1 - edge)
    return np.log(inside / (1 - inside))
