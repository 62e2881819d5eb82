"""Convolution of a map whose values are repeated, computed before the repetition.

Pooling a small map up to a larger size repeats every value r x r times. A k x k convolution of the
repeated map then multiplies the same numbers r * r times over. Here every tap is one matrix product
on the small map, and the products are added up where the repeated map would have used them: the same
sums, 1 / r**2 of the multiplications, borders included (a tap that falls outside the repeated map
falls outside the small one too).

The other exact form, one small convolution with summed taps per output phase, multiplies more: for
k = 7 it has 8 x 8 taps over the phases of r = 2 and 10 x 10 over those of r = 4, against 7 x 7 here.

Weights in channels-last layout are used as they lie; in the default layout they are copied at every
call, which for Stable Diffusion's widths costs ten times the products (bfloat16, AMX).
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
    tokens = maps.permute(0, 2, 3, 1).reshape(batch * height * width, channels)
    taps = conv.weight.permute(0, 2, 3, 1).reshape(outputs * kernel * kernel, channels)
    if kernel == 1:  # nothing to add up: the product itself is repeated
        small = F.linear(tokens, taps, conv.bias).view(batch, height, 1, width, 1, outputs)
        large = small.expand(-1, -1, ratio, -1, ratio, -1)
        return large.reshape(batch, height * ratio, width * ratio, outputs).permute(0, 3, 1, 2)
    products = F.linear(tokens, taps).view(batch, height, width, outputs, kernel, kernel)
    rows = _placement(height, ratio, kernel, maps.device, products.dtype)  # (H, k*h)
    columns = _placement(width, ratio, kernel, maps.device, products.dtype)  # (W, k*w)
    products = products.permute(0, 4, 1, 2, 5, 3)  # (B, k, h, w, k, out)
    placed = rows @ products.reshape(batch, kernel * height, width * kernel * outputs)
    placed = placed.view(batch, height * ratio, width, kernel, outputs).transpose(2, 3)
    placed = columns @ placed.reshape(batch, height * ratio, kernel * width, outputs)
    if conv.bias is not None:
        placed = placed + conv.bias
    return placed.permute(0, 3, 1, 2)  # (B, out, H, W), channels last


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # kept for later calls, which may want gradients
def _placement(
    small: int, ratio: int, kernel: int, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """(small * ratio, kernel * small) of zeros and ones: which product lands on which position."""
    position = torch.arange(small * ratio)[:, None]
    tap = torch.arange(kernel)[None, :] - kernel // 2
    source = torch.div(position + tap, ratio, rounding_mode="floor")  # outside: -1 or small
    return (source[:, :, None] == torch.arange(small)).flatten(1).to(device, dtype)
