"""Convolution of a map whose values are repeated, computed before the repetition.

Pooling a small map up to a larger size repeats every value r x r times. A k x k convolution of the
repeated map then multiplies the same numbers r * r times over. Here every tap is one matrix product
on the small map, and the products are added up where the repeated map would have used them: the same
sums, 1 / r**2 of the multiplications, borders included (a tap that falls outside the repeated map
falls outside the small one too).
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def repeat_ratio(height: int, width: int, size: int) -> int:
    """How often a (height, width) map is repeated to fill (size, size); 1 where it is not."""
    if height == width and height < size and size % height == 0:
        return size // height
    return 1


def conv_of_repeated(maps: Tensor, conv: nn.Conv2d, ratio: int) -> Tensor:
    """``conv(maps repeated ratio x ratio)``, exactly, for a stride-1 convolution padded by k // 2.

    (B, C, h, w) -> (B, out, h * ratio, w * ratio). Differentiable in the maps and the weights.
    """
    batch, channels, height, width = maps.shape
    outputs, _, kernel, _ = conv.weight.shape
    if kernel == 1:  # nothing to add up: the product itself is repeated
        small = conv(maps)
        return small.repeat_interleave(ratio, 2).repeat_interleave(ratio, 3)
    taps = conv.weight.permute(2, 3, 0, 1).reshape(kernel * kernel * outputs, channels, 1, 1)
    products = F.conv2d(maps, taps)  # (B, k*k*out, h, w)
    products = products.reshape(batch, kernel, kernel * outputs, height, width)
    rows = _placement(height, ratio, kernel, maps.device, maps.dtype)  # (H, k, h)
    columns = _placement(width, ratio, kernel, maps.device, maps.dtype)
    by_row = torch.einsum("Hkh,bkmhw->bmHw", rows, products)
    by_row = by_row.reshape(batch, kernel, outputs, height * ratio, width)
    placed = torch.einsum("Wkw,bkoHw->boHW", columns, by_row)
    return placed if conv.bias is None else placed + conv.bias[:, None, None]


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # kept for later calls, which may want gradients
def _placement(
    small: int, ratio: int, kernel: int, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """(small * ratio, kernel, small) of zeros and ones: which product lands on which position."""
    position = torch.arange(small * ratio)[:, None]
    tap = torch.arange(kernel)[None, :] - kernel // 2
    source = torch.div(position + tap, ratio, rounding_mode="floor")  # outside: -1 or small
    return (source[:, :, None] == torch.arange(small)).to(device, dtype)
