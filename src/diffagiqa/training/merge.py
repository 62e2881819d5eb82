"""Several trained models -> one network that gives the mean of their logits: an ensemble at one's price.

Widths add up; convolutions across members are zero, so each member stays itself until the last layer,
which averages. For models that pool statistics; their U-Net passes are shared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from diffagiqa.errors import TrainingError
from diffagiqa.model.scoring import DiffAGIQA, build_model


@torch.no_grad()
def merge(models: Sequence[DiffAGIQA]) -> DiffAGIQA:
    """One model whose score is sigmoid(mean of the members' logits), in evaluation mode.

    Raises ``TrainingError`` where the members are not alike, or do not pool statistics.
    """
    first = models[0].config
    if first.pooling != "statistics" or any(model.config != first for model in models):
        raise TrainingError(
            'only models of one configuration with pooling "statistics" can be merged; train members '
            "with the same recipe"
        )
    count = len(models)
    wide, middle, narrow = first.fusion_channels
    config = replace(
        first,
        pyramid_channels=count * first.pyramid_channels,
        fusion_channels=(count * wide, count * middle, count * narrow),
        fusion_groups=count * first.fusion_groups,
        head_channels=(count * first.head_channels[0], count * first.head_channels[1]),
    )
    merged = build_model(config).eval()
    merged.prompters.load_state_dict(models[0].prompters.state_dict())
    _merge_pyramids(merged.pyramid, [model.pyramid for model in models])
    for task in first.task_names:
        _merge_heads(
            merged.heads[task], [model.heads[task] for model in models], len(first.level_names)
        )
    return merged


def _merge_pyramids(merged: Any, members: Sequence[Any]) -> None:
    for level, norm in enumerate(merged.norms):
        norms = [member.norms[level] for member in members]
        norm.load_state_dict(norms[0].state_dict())
        convs = []
        for own, member in zip(norms, members, strict=True):
            conv = member.levels[level][0]
            # The shared norm is the first member's: the others' is undone inside their weights.
            spread = (own.running_var + own.eps).sqrt()
            weight = conv.weight * ((norm.running_var + norm.eps).sqrt() / spread)[:, None, None]
            shift = (
                conv.weight[:, :, 0, 0] * ((norm.running_mean - own.running_mean) / spread)
            ).sum(1)
            convs.append((weight, conv.bias + shift))
        merged.levels[level][0].weight.copy_(torch.cat([weight for weight, _ in convs]))
        merged.levels[level][0].bias.copy_(torch.cat([bias for _, bias in convs]))
        _join_norms(merged.levels[level][1], [member.levels[level][1] for member in members])


def _merge_heads(merged: Any, members: Sequence[Any], levels: int) -> None:
    count = len(members)
    for stage, block in enumerate(merged.fusion):
        convs = [member.fusion[stage][0] for member in members]
        weights: list[Tensor] = [conv.weight[:, :, 0, 0] for conv in convs]
        if stage == 0:  # maps come level by level, the members side by side within each
            joined = torch.zeros_like(block[0].weight[:, :, 0, 0])
            rows, columns = weights[0].shape
            each = columns // levels
            for k, one in enumerate(weights):
                for level in range(levels):
                    start = (level * count + k) * each
                    own = one[:, level * each : (level + 1) * each]
                    joined[k * rows : (k + 1) * rows, start : start + each] = own
        elif convs[0].groups > 1:
            joined = torch.cat(weights)
        else:
            joined = torch.block_diag(*weights)
        block[0].weight.copy_(joined[:, :, None, None])
        block[0].bias.copy_(torch.cat([conv.bias for conv in convs]))
        _join_norms(block[1], [member.fusion[stage][1] for member in members])
    linears = [i for i, part in enumerate(merged.regressor) if isinstance(part, nn.Linear)]
    for i in linears:
        parts = [member.regressor[i] for member in members]
        last = i == linears[-1]
        weight: Tensor = (
            torch.cat([part.weight for part in parts], 1) / count
            if last
            else torch.block_diag(*(part.weight for part in parts))
        )
        biases = [part.bias for part in parts]
        merged.regressor[i].weight.copy_(weight)
        merged.regressor[i].bias.copy_(torch.stack(biases).mean(0) if last else torch.cat(biases))


def _join_norms(merged: Any, members: Sequence[Any]) -> None:
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(merged, name).copy_(torch.cat([getattr(member, name) for member in members]))
