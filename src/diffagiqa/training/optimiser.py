"""AdamW with its groups, the learning rate as a function of the step, and the averaged weights."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn

from diffagiqa.model.scoring import DiffAGIQA
from diffagiqa.training.config import TrainingConfig
from diffagiqa.training.naming import Naming


def make_optimiser(
    model: DiffAGIQA, config: TrainingConfig, naming: Naming | None = None
) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter, 2019): prompters and heads apart, no decay on vectors.

    Biases, BatchNorm and the attention's gamma are not decayed; neither are the prompters, whose
    zero is "no change" already.
    """
    heads = [
        parameter
        for part in (model.pyramid, model.heads, *([naming] if naming else []))
        for parameter in part.parameters()
        if parameter.requires_grad
    ]
    groups = [
        {"params": [p for p in heads if p.ndim > 1], "lr": config.lr_heads},
        {"params": [p for p in heads if p.ndim <= 1], "lr": config.lr_heads, "weight_decay": 0.0},
    ]
    prompters = [p for p in model.prompters.parameters() if p.requires_grad]
    if prompters:
        groups.append({"params": prompters, "lr": config.lr_prompters, "weight_decay": 0.0})
    optimiser = torch.optim.AdamW(groups, lr=config.lr_heads, weight_decay=config.weight_decay)
    for group in optimiser.param_groups:
        group["peak"] = group["lr"]
    return optimiser


def lr_factor(step: int, total: int, warmup: float) -> float:
    """Share of the peak learning rate at a step: linear warm-up, then half a cosine to 0.

    >>> [round(lr_factor(step, 10, 0.2), 2) for step in (0, 1, 2, 6, 10)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    rising = round(total * warmup)
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * min((step - rising) / max(total - rising, 1), 1.0)))


def set_lr(optimiser: torch.optim.Optimizer, factor: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * factor


class EMA:
    """The exponential moving average of weights and BatchNorm statistics, as a model of its own."""

    def __init__(self, model: DiffAGIQA, decay: float) -> None:
        self.decay = decay
        # Without averaging, validation uses the trained weights themselves: no second copy.
        self.model = copy.deepcopy(model).requires_grad_(False) if decay else model

    @torch.no_grad()
    def update(self, model: DiffAGIQA, step: int) -> None:
        """Move towards the weights after ``step`` steps; faster early on, to forget the start."""
        if not self.decay:
            return
        rate = 1 - min(self.decay, (1 + step) / (10 + step))
        own = self.model.state_dict()
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                own[name].lerp_(value, rate)
            else:
                own[name].copy_(value)


def trained_parameters(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]
