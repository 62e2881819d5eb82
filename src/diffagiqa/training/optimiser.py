"""AdamW with its groups, the learning rate as a function of the step, and the averaged weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from diffagiqa.model.scoring import DiffAGIQA
from diffagiqa.training.config import TrainingConfig


def make_optimiser(
    model: DiffAGIQA, config: TrainingConfig, further: nn.Module | None = None
) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter, 2019): prompters and heads apart, no decay on vectors.

    Biases, BatchNorm and the attention's gamma are not decayed; neither are the prompters, whose
    zero is "no change" already. ``further`` layers are trained as the heads are.
    """
    heads = [
        parameter
        for part in (model.pyramid, model.heads, *([further] if further else []))
        for parameter in trained_parameters(part)
    ]
    groups = [
        {"params": [p for p in heads if p.ndim > 1], "lr": config.lr_heads},
        {"params": [p for p in heads if p.ndim <= 1], "lr": config.lr_heads, "weight_decay": 0.0},
    ]
    if prompters := trained_parameters(model.prompters):
        groups.append({"params": prompters, "lr": config.lr_prompters, "weight_decay": 0.0})
    return torch.optim.AdamW(
        groups, lr=config.lr_heads, weight_decay=config.weight_decay, fused=True
    )


def make_schedule(
    optimiser: torch.optim.Optimizer, config: TrainingConfig, steps: int
) -> LRScheduler:
    """Learning rates over ``steps``: linear from 0 for a share ``config.warmup``, then a cosine to 0."""
    from transformers.optimization import get_cosine_schedule_with_warmup

    return get_cosine_schedule_with_warmup(optimiser, round(steps * config.warmup), steps)


def averaged(model: DiffAGIQA, decay: float) -> AveragedModel:
    """The exponential moving average of weights and BatchNorm statistics; ``.module`` is the model.

    After n updates an average keeps min(decay, (1 + n) / (10 + n)) of its value: it forgets the start.
    """

    def average(old: Any, new: Any, updates: Tensor | int) -> None:
        if not old[0].is_floating_point():
            torch._foreach_copy_(old, new)
            return
        count = torch.as_tensor(updates, device=old[0].device, dtype=old[0].dtype)
        rate = 1 - ((1 + count) / (10 + count)).clamp(max=decay)
        torch._foreach_lerp_(old, new, [rate] * len(old))

    made = AveragedModel(model, multi_avg_fn=average, use_buffers=True)
    made.requires_grad_(False)
    return made


def trained_parameters(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]
