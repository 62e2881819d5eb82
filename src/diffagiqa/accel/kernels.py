"""Triton kernels for what stands between the convolutions of a residual block, channels last.

PyTorch's own group normalisation copies such maps to the other layout and back, and a bias, an
activation and a sum are a pass over memory each. Here a norm is one pass that reads and one that
writes, and the rest is part of them; so is the gradient. Arithmetic is in float32.

Triton comes with PyTorch's CUDA builds. With ``TRITON_INTERPRET=1`` the kernels run on a CPU, for tests.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, NamedTuple, ParamSpec, TypeVar

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS = 64
"""Positions of a tile, by ``COLUMNS`` channels: 32 values per thread."""
COLUMNS = 64
SPLIT = 2048
"""Positions that one program adds up: 8192 programs for 64 maps of 512 x 512."""


Options = ParamSpec("Options")
Found = TypeVar("Found")


def on_its_device(
    launch: Callable[Concatenate[Tensor, Options], Found],
) -> Callable[Concatenate[Tensor, Options], Found]:
    """Triton launches on the current device, which need not be the one that the tensors are on."""

    @wraps(launch)
    def launch_there(tokens: Tensor, *args: Options.args, **options: Options.kwargs) -> Found:
        with torch.cuda.device_of(tokens):
            return launch(tokens, *args, **options)

    return launch_there


class Normalised(NamedTuple):
    """What a norm made of (B, positions, C), and what its gradient needs; all but ``maps`` float32."""

    maps: Tensor
    scale: Tensor  # (B,C)
    shift: Tensor  # (B,C): the norm is values * scale + shift
    centred: Tensor  # (B,C): what takes the values to a mean of 0 in their group
    inverse: Tensor  # (B,groups): 1 / standard deviation


@triton.jit
def _tile(rows, channels, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """This program's tile of (B, rows, channels): places there, channels, and which are inside."""
    picture = tl.program_id(2)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < channels
    mask = (row < rows)[:, None] & inside[None, :]
    place = picture.to(tl.int64) * rows * channels + row[:, None] * channels + column[None, :]
    return place, mask, column, inside


@triton.jit
def _members(channels, splits, width, SPLITS: tl.constexpr, WIDTH: tl.constexpr):
    """This program's group: splits, channels, and places of its sums in (B, splits, 2, channels)."""
    group, picture = tl.program_id(0), tl.program_id(1)
    member = tl.arange(0, WIDTH)
    column = group * width + member
    inside = member < width
    split = tl.arange(0, SPLITS)
    mask = (split < splits)[:, None] & inside[None, :]
    place = (picture * splits + split[:, None]) * 2 * channels + column[None, :]
    return split, column, inside, mask, place


@triton.jit
def _moments(
    values, found, rows, channels, splits, split_rows,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Mean and sum of squared deviations of every channel over one split of one picture's positions.

    values (B, rows, channels) -> found (B, splits, 2, channels). Sums are of differences from the
    split's first position: no digits are lost where a mean is large.
    """
    split, picture = tl.program_id(0), tl.program_id(2)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < channels
    own = values + picture.to(tl.int64) * rows * channels
    first = split * split_rows
    last = tl.minimum(first + split_rows, rows)
    origin = tl.load(own + first * channels + column, inside, 0.0).to(tl.float32)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    squares = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(first, last, ROWS):
        row = start + tl.arange(0, ROWS)
        mask = (row < last)[:, None] & inside[None, :]
        value = tl.load(own + row[:, None] * channels + column[None, :], mask, 0.0).to(tl.float32)
        away = tl.where(mask, value - origin[None, :], 0.0)
        total += away
        squares += away * away
    count = (last - first).to(tl.float32)
    sums = tl.sum(total, 0)
    deviations = tl.maximum(tl.sum(squares, 0) - sums * sums / count, 0.0)
    place = found + (picture * splits + split) * 2 * channels + column
    tl.store(place, origin + sums / count, inside)
    tl.store(place + channels, deviations, inside)


@triton.jit
def _affine(
    moments, weight, bias, before, scale, shift, centred, inverse, rows, total, channels, splits,
    split_rows, width, epsilon, before_stride, SPLITS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Moments of channels -> scale and shift of every channel, (B, channels), that normalise its group.

    ``before`` (B, channels), or its single row with a stride of 0, is added to the values first.
    ``total``: values of a group.
    """
    split, column, inside, mask, place = _members(channels, splits, width, SPLITS, WIDTH)
    picture = tl.program_id(1)
    mean = tl.load(moments + place, mask, 0.0)
    deviations = tl.load(moments + place + channels, mask, 0.0)
    added = tl.load(before + picture * before_stride + column, inside, 0.0).to(tl.float32)
    mean = tl.where(mask, mean + added[None, :], 0.0)
    count = tl.minimum(split_rows, rows - split * split_rows).to(tl.float32)[:, None]
    centre = tl.sum(tl.sum(tl.where(mask, mean * count, 0.0), 1), 0) / total
    away = tl.where(mask, mean - centre, 0.0)
    variance = tl.sum(tl.sum(deviations + away * away * count, 1), 0) / total
    own_inverse = 1.0 / tl.sqrt(variance + epsilon)
    own_scale = tl.load(weight + column, inside, 0.0).to(tl.float32) * own_inverse
    own_shift = tl.load(bias + column, inside, 0.0).to(tl.float32) + (added - centre) * own_scale
    place = picture * channels + column
    tl.store(scale + place, own_scale, inside)
    tl.store(shift + place, own_shift, inside)
    tl.store(centred + place, added - centre, inside)
    tl.store(inverse + picture * tl.num_programs(0) + tl.program_id(0), own_inverse)


@triton.jit
def _apply(
    values, scale, shift, found, rows, channels,
    SILU: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """values * scale + shift, and SiLU of it; (B, rows, channels)."""
    place, mask, column, inside = _tile(rows, channels, ROWS, COLUMNS)
    own = tl.program_id(2) * channels + column
    value = tl.load(values + place, mask, 0.0).to(tl.float32)
    own_scale = tl.load(scale + own, inside, 0.0)
    own_shift = tl.load(shift + own, inside, 0.0)
    value = value * own_scale[None, :] + own_shift[None, :]
    if SILU:
        value = value / (1.0 + tl.exp(-value))
    tl.store(found + place, value.to(found.dtype.element_ty), mask)


@triton.jit
def _through_silu(gradient, value, scale, shift, SILU: tl.constexpr):
    """The gradient before SiLU, from the one behind it."""
    if SILU:
        normal = value * scale + shift
        chance = 1.0 / (1.0 + tl.exp(-normal))
        gradient = gradient * chance * (1.0 + normal * (1.0 - chance))
    return gradient


@triton.jit
def _gradient_sums(
    values, gradients, scale, shift, centred, found, rows, channels, splits, split_rows,
    SILU: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Of every channel over one split: the sum of gradients, and of gradients times centred values."""
    split, picture = tl.program_id(0), tl.program_id(2)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < channels
    offset = picture.to(tl.int64) * rows * channels
    own_scale = tl.load(scale + picture * channels + column, inside, 0.0)[None, :]
    own_shift = tl.load(shift + picture * channels + column, inside, 0.0)[None, :]
    own_centred = tl.load(centred + picture * channels + column, inside, 0.0)[None, :]
    first = split * split_rows
    last = tl.minimum(first + split_rows, rows)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    products = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(first, last, ROWS):
        row = start + tl.arange(0, ROWS)
        mask = (row < last)[:, None] & inside[None, :]
        place = offset + row[:, None] * channels + column[None, :]
        value = tl.load(values + place, mask, 0.0).to(tl.float32)
        gradient = tl.load(gradients + place, mask, 0.0).to(tl.float32)
        gradient = _through_silu(gradient, value, own_scale, own_shift, SILU)
        total += gradient
        products += gradient * (value + own_centred)
    place = found + (picture * splits + split) * 2 * channels + column
    tl.store(place, tl.sum(total, 0), inside)
    tl.store(place + channels, tl.sum(products, 0), inside)


@triton.jit
def _gradient_affine(
    sums, scale, centred, inverse, slope, level, total, channels, splits, width,
    SPLITS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """What a norm's statistics add to the gradient: values * slope + level, (B, channels) each."""
    _, column, inside, mask, place = _members(channels, splits, width, SPLITS, WIDTH)
    picture = tl.program_id(1)
    gradients = tl.sum(tl.load(sums + place, mask, 0.0), 0)
    products = tl.sum(tl.load(sums + place + channels, mask, 0.0), 0)
    own_scale = tl.load(scale + picture * channels + column, inside, 0.0)
    own_centred = tl.load(centred + picture * channels + column, inside, 0.0)
    own_inverse = tl.load(inverse + picture * tl.num_programs(0) + tl.program_id(0))
    own_slope = -own_inverse * own_inverse * tl.sum(own_scale * products, 0) / total
    own_level = own_centred * own_slope - tl.sum(own_scale * gradients, 0) / total
    place = picture * channels + column
    tl.store(slope + place, own_centred * 0.0 + own_slope, inside)
    tl.store(level + place, own_level, inside)


@triton.jit
def _gradient_apply(
    values, gradients, scale, shift, slope, level, found, rows, channels,
    SILU: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """The gradient before the norm, from the one behind it."""
    place, mask, column, inside = _tile(rows, channels, ROWS, COLUMNS)
    own = tl.program_id(2) * channels + column
    own_scale = tl.load(scale + own, inside, 0.0)[None, :]
    own_shift = tl.load(shift + own, inside, 0.0)[None, :]
    value = tl.load(values + place, mask, 0.0).to(tl.float32)
    gradient = tl.load(gradients + place, mask, 0.0).to(tl.float32)
    gradient = _through_silu(gradient, value, own_scale, own_shift, SILU) * own_scale
    gradient += value * tl.load(slope + own, inside, 0.0)[None, :]
    gradient += tl.load(level + own, inside, 0.0)[None, :]
    tl.store(found + place, gradient.to(found.dtype.element_ty), mask)


@triton.jit
def _sum(
    values, bias, others, found, rows, channels, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):  # fmt: skip
    """values + bias + others; (B, rows, channels), bias (channels)."""
    place, mask, column, inside = _tile(rows, channels, ROWS, COLUMNS)
    value = tl.load(values + place, mask, 0.0).to(tl.float32)
    value += tl.load(others + place, mask, 0.0).to(tl.float32)
    value += tl.load(bias + column, inside, 0.0).to(tl.float32)[None, :]
    tl.store(found + place, value.to(found.dtype.element_ty), mask)


@on_its_device
def group_norm(
    tokens: Tensor, groups: int, weight: Tensor, bias: Tensor, epsilon: float,
    before: Tensor | None = None, silu: bool = False,
) -> Normalised:  # fmt: skip
    """Group normalisation of (B, positions, C), contiguous; SiLU of it where wanted.

    ``before`` (C,) or (B, C) is added first. The type stays.
    """
    batch, rows, channels = tokens.shape
    splits, width = triton.cdiv(rows, SPLIT), channels // groups
    moments = tokens.new_empty((batch, splits, 2, channels), dtype=torch.float32)
    _moments[_split_grid(tokens)](
        tokens, moments, rows, channels, splits, SPLIT, ROWS=ROWS, COLUMNS=COLUMNS
    )
    if before is None:
        before = tokens.new_zeros(channels)
    scale, shift, centred = tokens.new_empty((3, batch, channels), dtype=torch.float32)
    inverse = scale.new_empty((batch, groups))
    _affine[(groups, batch)](
        moments, weight, bias, before.contiguous(), scale, shift, centred, inverse, rows,
        float(rows * width), channels, splits, SPLIT, width, epsilon,
        channels if before.ndim == 2 else 0,
        SPLITS=triton.next_power_of_2(splits), WIDTH=triton.next_power_of_2(width),
    )  # fmt: skip
    found = torch.empty_like(tokens)
    _apply[_tile_grid(tokens)](
        tokens, scale, shift, found, rows, channels, SILU=silu, ROWS=ROWS, COLUMNS=COLUMNS
    )
    return Normalised(found, scale, shift, centred, inverse)


@on_its_device
def group_norm_gradient(
    tokens: Tensor, gradients: Tensor, normalised: Normalised, silu: bool
) -> Tensor:
    """Gradient of ``group_norm`` in its tokens, (B, positions, C), from that in its result."""
    _, scale, shift, centred, inverse = normalised
    batch, rows, channels = tokens.shape
    groups = inverse.shape[1]
    splits, width = triton.cdiv(rows, SPLIT), channels // groups
    sums = scale.new_empty((batch, splits, 2, channels))
    _gradient_sums[_split_grid(tokens)](
        tokens, gradients, scale, shift, centred, sums, rows, channels, splits, SPLIT,
        SILU=silu, ROWS=ROWS, COLUMNS=COLUMNS,
    )  # fmt: skip
    slope, level = torch.empty_like(scale), torch.empty_like(scale)
    _gradient_affine[(groups, batch)](
        sums, scale, centred, inverse, slope, level, float(rows * width), channels, splits, width,
        SPLITS=triton.next_power_of_2(splits), WIDTH=triton.next_power_of_2(width),
    )  # fmt: skip
    found = torch.empty_like(tokens)
    _gradient_apply[_tile_grid(tokens)](
        tokens, gradients, scale, shift, slope, level, found, rows, channels,
        SILU=silu, ROWS=ROWS, COLUMNS=COLUMNS,
    )  # fmt: skip
    return found


@on_its_device
def biased_sum(tokens: Tensor, bias: Tensor, others: Tensor) -> Tensor:
    """tokens + bias + others: (B, positions, C) contiguous, and a bias (C,)."""
    rows, channels = tokens.shape[1:]
    found = torch.empty_like(tokens)
    _sum[_tile_grid(tokens)](
        tokens, bias, others, found, rows, channels, ROWS=ROWS, COLUMNS=COLUMNS
    )
    return found


def _tile_grid(tokens: Tensor) -> tuple[int, int, int]:
    batch, rows, channels = tokens.shape
    return triton.cdiv(rows, ROWS), triton.cdiv(channels, COLUMNS), batch


def _split_grid(tokens: Tensor) -> tuple[int, int, int]:
    batch, rows, channels = tokens.shape
    return triton.cdiv(rows, SPLIT), triton.cdiv(channels, COLUMNS), batch
