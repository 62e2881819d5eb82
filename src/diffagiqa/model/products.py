"""Matrix products in float32, by the library that is fastest in them on this CPU.

PyTorch hands them to MKL, which on AMD's Zen 5 uses half of the vector units' width (0.2 TFLOP/s on two
cores; docs/speed.md). oneDNN, which computes its convolutions, uses all of it (0.4), and a matrix
product is a convolution of 1 x 1.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from diffagiqa.device import cpu_is_zen5

PIECE = 256
"""Rows of a weight per convolution: of more, oneDNN makes a copy that costs more than the product."""


def linear(tokens: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(N, C) and (O, C) -> (N, O), as ``torch.nn.functional.linear``."""
    if not by_convolution(tokens):
        return F.linear(tokens, weight, bias)
    count, channels = tokens.shape
    maps = tokens.reshape(1, count, 1, channels).permute(0, 3, 1, 2)  # (1,C,N,1), channels last
    pieces = weight.split(PIECE)
    offsets = [None] * len(pieces) if bias is None else bias.split(PIECE)
    parts = [
        F.conv2d(maps, piece.reshape(-1, channels, 1, 1), offset)
        for piece, offset in zip(pieces, offsets, strict=True)
    ]
    return torch.cat(parts, dim=1)[0, :, :, 0].t()


def by_convolution(tokens: Tensor) -> bool:
    """Whether a product of these is computed as convolutions: in float32 on Zen 5, without gradients."""
    return (
        tokens.device.type == "cpu"
        and tokens.dtype == torch.float32
        and not torch.is_grad_enabled()
        and torch.backends.mkldnn.is_available()
        and cpu_is_zen5()
    )
