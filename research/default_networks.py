"""The default's recipe, and its pyramids and heads: several narrow ones side by side."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Recipe:
    """How the heads are trained; the defaults are what ships."""

    size: int = 2
    """Side of the pyramid's maps."""
    branches: int = 4
    channels: int = 12
    wide: int = 28
    narrow: int = 16
    hidden: tuple[int, int] = (32, 16)
    dropout: tuple[float, float] = (0.3, 0.2)
    feature_dropout: float = 0.5
    """Share of the channels of the backbone that a training step does not see."""
    epochs: int = 50
    batch: int = 64
    compared: int = 32
    """Images of a batch that are compared with copies."""
    lr: float = 2e-3
    weight_decay: float = 0.05
    mse: float = 15.0
    plcc: float = 1.0
    ranking: float = 0.5
    """Weight of a hinge on pairs of images, for quality."""
    within: float = 0.3
    """Weight of a hinge on pairs of the same generator."""
    order: float = 0.5
    """Weight of a hinge on an image and its damaged copies."""
    wrong: float = 0.5
    """Weight of what images are told about prompts of others."""
    smaller: float = 0.3
    """Share of images that are seen at another size."""
    averaged_from: float = 0.6
    """Share of the steps after which weights are averaged."""


class Norm(nn.Module):
    """Batch normalisation of (groups, rows, channels); in training by the first ``known`` rows alone."""

    def __init__(self, groups: int, channels: int) -> None:
        super().__init__()
        shape = (groups, 1, channels)
        self.weight, self.bias = nn.Parameter(torch.ones(shape)), nn.Parameter(torch.zeros(shape))
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("var", torch.ones(shape))

    def forward(self, x: Tensor, known: int | None = None) -> Tensor:
        mean, var = self.mean, self.var
        if self.training:
            var, mean = torch.var_mean(x[:, :known], 1, keepdim=True, correction=0)
            with torch.no_grad():
                self.mean.lerp_(mean, 0.1)
                self.var.lerp_(var, 0.1)
        return (x - mean) * torch.rsqrt(var + 1e-5) * self.weight + self.bias


def weights(*shape: int, inputs: int) -> nn.Parameter:
    return nn.Parameter((torch.rand(shape) * 2 - 1) / inputs**0.5)


class Levels(nn.Module):
    """1x1 convolution, norm, ReLU, twice, of every level and branch: ``PyramidLevel`` of kernels (1,)."""

    def __init__(self, widths: list[int], branches: int, channels: int) -> None:
        super().__init__()
        count = len(widths)
        self.first = nn.ParameterList(weights(branches * channels, w, inputs=w) for w in widths)
        self.norm1 = Norm(count, branches * channels)
        self.second = weights(count * branches, channels, channels, inputs=channels)
        self.norm2 = Norm(count * branches, channels)
        self.branches = branches

    def forward(self, levels: list[Tensor], known: int | None = None) -> Tensor:
        """(rows, width) per level -> (levels, branches, rows, channels)."""
        x = torch.stack([level @ w.T for level, w in zip(levels, self.first, strict=True)])
        x = F.relu(self.norm1(x, known))
        x = x.unflatten(2, (self.branches, -1)).transpose(1, 2).flatten(0, 1)
        x = F.relu(self.norm2(torch.bmm(x, self.second), known))
        return x.unflatten(0, (-1, self.branches))


class Head(nn.Module):
    """One ``ScoreHead`` per branch."""

    def __init__(self, levels: int, recipe: Recipe) -> None:
        super().__init__()
        k, wide, narrow = recipe.branches, recipe.wide, recipe.narrow
        first, second = recipe.hidden
        self.recipe = recipe
        self.join = weights(k, levels * recipe.channels, wide, inputs=levels * recipe.channels)
        self.conv1 = weights(k * wide, wide, 3, 3, inputs=wide * 9)
        self.conv2 = weights(k * narrow, wide, 3, 3, inputs=wide * 9)
        self.norms = nn.ModuleList(Norm(k, width) for width in (wide, wide, narrow))
        self.linear1, self.linear2 = (
            weights(k, narrow, first, inputs=narrow),
            weights(k, first, second, inputs=first),
        )
        self.linear3 = weights(k, second, 1, inputs=second)
        self.bias1, self.bias2, self.bias3 = (
            nn.Parameter(torch.zeros(k, 1, n)) for n in (first, second, 1)
        )

    def forward(self, maps: Tensor, known: int | None = None) -> Tensor:
        """(levels, branches, rows, channels), rows = images * cells -> logits (branches, images)."""
        size, drop = self.recipe.size, self.recipe.dropout
        x = maps.permute(1, 2, 0, 3).flatten(2)  # (K,R,levels*channels)
        x = F.relu(self.norms[0](torch.bmm(x, self.join), known))
        for conv, norm in ((self.conv1, self.norms[1]), (self.conv2, self.norms[2])):
            x = x.unflatten(1, (-1, size, size)).permute(1, 0, 4, 2, 3).flatten(1, 2)
            x = F.conv2d(x, conv, padding=1, groups=self.recipe.branches)
            x = x.unflatten(1, (self.recipe.branches, -1)).permute(1, 0, 3, 4, 2).flatten(1, 3)
            x = F.relu(norm(x, known))
        x = x.unflatten(1, (-1, size * size)).mean(2)  # (K,B,narrow)
        x = F.dropout(F.relu(torch.bmm(x, self.linear1) + self.bias1), drop[0], self.training)
        x = F.dropout(F.relu(torch.bmm(x, self.linear2) + self.bias2), drop[1], self.training)
        return (torch.bmm(x, self.linear3) + self.bias3).squeeze(2)
