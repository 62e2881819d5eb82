"""A trained model -> the same function with less work: what only training needs is folded away."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from diffagiqa.model.prompter import NoPrompter, VisualPrompter
from diffagiqa.model.scoring import SHARED, DiffAGIQA


def fold(model: DiffAGIQA, dtype: torch.dtype | None = None) -> DiffAGIQA:
    """Make batch normalisation part of the convolutions before it and drop dropout, in place.

    The scores are the same up to rounding; the model cannot be trained or saved any
    more. ``dtype`` is that of the spatial convolutions afterwards.

    Pyramid and fusion take most of the trained parts' time and memory. Prompters and regressors
    stay as they are: there a half-precision step of 1/256 would show in the score.
    """
    model.eval().requires_grad_(False)
    _drop_idle_prompters(model)
    for module in model.modules():
        if isinstance(module, nn.Sequential):
            _fold_sequential(module)
    if dtype is not None:
        model.pyramid.to(dtype)
        for head in model.heads.values():
            if isinstance(head.fusion, nn.Module):  # queries work in float32
                head.fusion.to(dtype)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _fold_sequential(parts: nn.Sequential) -> None:
    for i, part in enumerate(parts):
        before = parts[i - 1] if i else None
        if isinstance(part, nn.BatchNorm2d) and isinstance(before, nn.Conv2d):
            parts[i - 1] = fuse_conv_bn_eval(before, part)
            parts[i] = nn.Identity()
        elif isinstance(part, nn.Dropout):
            parts[i] = nn.Identity()


def _drop_idle_prompters(model: DiffAGIQA) -> None:
    """Prompters that change nothing share one pass through the backbone."""
    prompters = model.prompters.values()
    if all(isinstance(part, VisualPrompter) and part.changes_nothing for part in prompters):
        model.prompters = nn.ModuleDict({SHARED: NoPrompter()})
        model.plan_passes()
