"""Named features -> one map per level at one size, attended and joined."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffagiqa.device import at_least_float32
from diffagiqa.model.repeated import conv_of_repeated, repeat_ratio, wide_conv


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
            large = wide_conv(maps, conv) if ratio == 1 else conv_of_repeated(maps, conv, ratio)
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


STATISTICS = 4  # of each channel


def statistics(maps: Tensor) -> Tensor:
    """Four statistics of every channel over the picture: (B, C, h, w) -> (B, 4C, 1, 1), float32 or more.

    Mean; log standard deviation; log of mean absolute over standard deviation, low where few places
    stand out; and the spread of the log energy over places, high where flat and busy parts mix.
    """
    values = at_least_float32(maps.flatten(2))
    variance, mean = torch.var_mean(values, 2, correction=0)
    centred = values - mean[:, :, None]
    log_std = 0.5 * torch.log(variance + 1e-5)
    evenness = torch.log(centred.abs().mean(2) + 1e-3) - log_std
    spread = (torch.log(centred.square() + 1e-4).var(2, correction=0) + 1e-6).sqrt()
    return torch.cat([mean, log_std, evenness, spread], dim=1)[:, :, None, None]


PLACES = 6  # correlations of each channel


def textures(maps: Tensor) -> list[Tensor]:
    """Correlations of places and of channels: (B, C, h, w) -> (B, 6C, 1, 1) and (B, C(C-1)/2, 1, 1).

    Over the picture, 0 where nothing varies. Places: autocorrelation of each channel's magnitude about
    its mean, one and two below and to the right, then of the channel itself, one below and to the right.
    Pairs: correlation of the log energies of every two channels. As in texture synthesis (Portilla and
    Simoncelli, 2000), on latents in place of wavelets.
    """
    values = at_least_float32(maps)
    centred = values - values.mean((2, 3), keepdim=True)
    magnitude = centred.abs()
    magnitude = magnitude - magnitude.mean((2, 3), keepdim=True)
    power, own_power = (one.square().mean((2, 3)) + 1e-4 for one in (magnitude, centred))
    places = [_autocorrelation(magnitude, power, lag, axis) for lag in (1, 2) for axis in (2, 3)]
    places += [_autocorrelation(centred, own_power, 1, axis) for axis in (2, 3)]
    energy = torch.log(centred.square() + 1e-4).flatten(2)
    energy = energy - energy.mean(2, keepdim=True)
    energy = energy / (energy.square().mean(2, keepdim=True) + 1e-6).sqrt()
    first, second = torch.triu_indices(maps.shape[1], maps.shape[1], 1, device=maps.device)
    pairs = (energy @ energy.transpose(1, 2) / energy.shape[2])[:, first, second]
    return [torch.cat(places, dim=1)[:, :, None, None], pairs[:, :, None, None]]


def _autocorrelation(centred: Tensor, power: Tensor, lag: int, axis: int) -> Tensor:
    """Autocorrelation of (B, C, h, w) at a ``lag`` along an axis, (B, C); 0 where the map is no longer.

    ``power`` (B, C): its mean square.
    """
    length = centred.shape[axis] - lag
    if length < 1:
        return centred.new_zeros(centred.shape[:2])
    product = centred.narrow(axis, 0, length) * centred.narrow(axis, lag, length)
    return product.mean((2, 3)) / power


class StatisticsPooling(nn.Module):
    """Statistics of every feature over the picture, standardised and joined; no place is kept."""

    def __init__(
        self,
        feature_channels: Sequence[int],
        *,
        channels: int,
        dropout: float = 0.0,
        textures: bool = False,
        words: Sequence[int] = (),
    ) -> None:
        """``words``: widths of further levels that come as statistics, (B, F, 1, 1)."""
        super().__init__()
        self.textures = textures
        own = [
            width
            for c in feature_channels
            for width in (
                (STATISTICS * c, PLACES * c, c * (c - 1) // 2) if textures else (STATISTICS * c,)
            )
        ]
        self.image_levels = len(own)
        self.widths = [*own, *words]
        self.out_channels = channels * len(self.widths)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width, affine=False) for width in self.widths)
        self.dropouts = nn.ModuleList(nn.Dropout(dropout) for _ in self.widths)
        self.levels = nn.ModuleList(conv_bn_relu(width, channels) for width in self.widths)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Statistics of features and of words, (B, F_i, 1, 1) -> (B, levels * channels, 1, 1)."""
        standard = self.standardised(levels)
        parts = zip(standard, self.dropouts, self.levels, strict=True)
        return torch.cat([level(dropout(found)) for found, dropout, level in parts], dim=1)

    def standardised(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Statistics in units of the training pictures' standard deviations, (B, F, 1, 1) per level."""
        return [norm(one) for one, norm in zip(levels, self.norms, strict=True)]

    def statistics(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Features (B, C_i, h_i, w_i) -> ``statistics``, and ``textures``, of each, (B, F, 1, 1)."""
        found = []
        for maps in features:
            kinds = [statistics(maps), *(textures(maps) if self.textures else [])]
            found += [kind.to(features[0].dtype) for kind in kinds]
        return found

    def distance(self, levels: Sequence[Tensor]) -> Tensor:
        """How unlike the training pictures, (B,): the mean squared deviation, about 1 for those, of the
        level that deviates most.

        A Mahalanobis distance with a diagonal covariance, per statistic. Each level by itself, since what
        is odd in one (the smooth places of a chart) drowns in the mean of all.
        """
        own = self.standardised(levels)[: self.image_levels]
        each = [one.flatten(1).float().square().clamp(max=1e4).mean(1) for one in own]
        return torch.stack(each).amax(0)
