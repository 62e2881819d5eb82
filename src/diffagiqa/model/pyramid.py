"""Named features -> one map per level at one size, attended and joined."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffagiqa.model.repeated import conv_of_repeated, repeat_ratio


def pool_to(maps: Tensor, size: int) -> Tensor:
    """Adaptive average pooling to (B, C, size, size).

    A map that is smaller by a whole factor is repeated, which is the same values at a tenth of the time.
    """
    if maps.shape[-1] == maps.shape[-2] and size % maps.shape[-1] == 0:
        return maps if maps.shape[-1] == size else F.interpolate(maps, size, mode="nearest")
    return F.adaptive_avg_pool2d(maps, size)


def conv_bn_relu(inputs: int, outputs: int, kernel: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups)
    assert conv.bias is not None
    # Batch normalisation takes the bias out again, so its gradient is rounding, which AdamW would follow.
    conv.bias.requires_grad_(False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


class PyramidLevel(nn.Module):
    """Parallel convolutions of several sizes over one feature map, joined by a 1x1 convolution.

    The map is first brought to size x size by adaptive average pooling, which repeats the values of a
    smaller one; those convolutions are computed before the repetition, for the same result.
    The weights lie channels-last, as that needs; names and values of the state dict are the usual ones.
    """

    def __init__(self, inputs: int, channels: int, kernels: Sequence[int], size: int) -> None:
        super().__init__()
        self.size = size
        self.branches = nn.ModuleList(conv_bn_relu(inputs, channels, k) for k in kernels)
        self.branches.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.fusion = conv_bn_relu(channels * len(kernels), channels)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, channels, P, P)."""
        ratio = repeat_ratio(maps.shape[-2], maps.shape[-1], self.size)
        if ratio == 1:
            maps = pool_to(maps, self.size)
        parts = []
        for branch in self.branches:
            conv, norm, activation = branch.children()
            assert isinstance(conv, nn.Conv2d)
            large = conv(maps) if ratio == 1 else conv_of_repeated(maps, conv, ratio)
            parts.append(activation(norm(large)))
        return self.fusion(torch.cat(parts, dim=1))  # type: ignore[no-any-return]


class SpatialAttention(nn.Module):
    """Self-attention over positions, x + gamma * attention, unscaled dot product (SAGAN, eq. 1-3)."""

    def __init__(self, channels: int, attention_channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, attention_channels, 1)
        self.key = nn.Conv2d(channels, attention_channels, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, P, P) -> (B, C, P, P)."""
        query, key, value = (
            part(maps).flatten(2).transpose(1, 2).unsqueeze(1)  # (B,1,PP,*)
            for part in (self.query, self.key, self.value)
        )
        attended = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        return maps + self.gamma * attended.squeeze(1).transpose(1, 2).reshape(maps.shape)


class Pyramid(nn.Module):
    """The pyramid feature extractor: every level pooled to one size, convolved, attended."""

    def __init__(
        self,
        feature_channels: Sequence[int],
        *,
        size: int = 32,
        channels: int = 256,
        kernels: Sequence[int] = (1, 3, 5, 7),
        attention_channels: int = 32,
    ) -> None:
        super().__init__()
        self.out_channels = channels * len(feature_channels)
        self.levels = nn.ModuleList(
            PyramidLevel(c, channels, kernels, size) for c in feature_channels
        )
        self.attentions = nn.ModuleList(
            SpatialAttention(channels, attention_channels) for _ in feature_channels
        )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Features (B, C_i, h_i, w_i), one per level -> (B, levels * channels, P, P)."""
        return torch.cat(self.attended(features), dim=1)

    def attended(self, features: Sequence[Tensor]) -> list[Tensor]:
        """One attended map per level, (B, channels, P, P) each."""
        return [
            attention(level(feature))
            for level, attention, feature in zip(
                self.levels, self.attentions, features, strict=True
            )
        ]


class PlainPooling(nn.Module):
    """The ablation without a pyramid: a 1x1 convolution of each level, pooled to one size."""

    def __init__(self, feature_channels: Sequence[int], *, size: int, channels: int) -> None:
        super().__init__()
        self.size = size
        self.out_channels = channels * len(feature_channels)
        self.levels = nn.ModuleList(conv_bn_relu(c, channels) for c in feature_channels)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Features (B, C_i, h_i, w_i), one per level -> (B, levels * channels, P, P)."""
        pooled = [
            pool_to(level(feature), self.size)
            for level, feature in zip(self.levels, features, strict=True)
        ]
        return torch.cat(pooled, dim=1)
