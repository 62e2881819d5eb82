"""Matrix products in float32, by the library that is fastest in them on this CPU.

PyTorch hands them to MKL, which on AMD's Zen 5 uses half of the vector units' width (0.19 TFLOP/s on
two cores; docs/speed.md). oneDNN, which computes PyTorch's convolutions, uses all of it (0.45). Its
product is the operator that ``torch.compile`` puts in place of a linear layer on a CPU.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffagiqa.device import cpu_is_zen5

MIN_MULTIPLICATIONS = 2**21
"""Of a product: a call of oneDNN's costs 10 microseconds more, and below this it is no faster."""


class OneDNNLinear(nn.Linear):
    """``nn.Linear`` by ``linear``."""

    enabled = True

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., C) -> (..., O)."""
        if not self.enabled:
            return super().forward(tokens)
        return linear(tokens, self.weight, self.bias)


class OneDNNPointwise(nn.Conv2d):
    """A convolution of 1 x 1 by ``linear``; PyTorch's own is MKL's where it has one thread."""

    enabled = True

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, O, H, W)."""
        if not (self.enabled and is_faster_for(maps, self.out_channels)):
            return super().forward(maps)
        return linear(maps.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(
            0, 3, 1, 2
        )


def products_by_onednn(network: nn.Module) -> None:
    """Let a network compute linear layers and 1 x 1 convolutions by ``linear``; the parameters stay."""
    for module in network.modules():
        if type(module) is nn.Linear:
            module.__class__ = OneDNNLinear
        elif type(module) is nn.Conv2d and _is_pointwise(module):
            module.__class__ = OneDNNPointwise


def enable_products(network: nn.Module, enabled: bool) -> None:
    """Let a network that ``products_by_onednn`` changed compute by ``linear``, or as before."""
    for module in network.modules():
        if isinstance(module, (OneDNNLinear, OneDNNPointwise)):
            module.enabled = enabled


def linear(tokens: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(..., C) and (O, C) -> (..., O), as ``torch.nn.functional.linear``."""
    if not is_faster_for(tokens, len(weight)):
        return F.linear(tokens, weight, bias)
    return _product(tokens, weight, bias)


def products(values: Tensor, weights: Tensor) -> Tensor:
    """(P, N, C) and (P, O, C) -> (P, N, O): ``linear`` of each pair."""
    if not is_faster_for(values[0], weights.shape[1]):
        return torch.bmm(values, weights.transpose(1, 2))
    return torch.stack([linear(*pair) for pair in zip(values, weights, strict=True)])


def is_faster_for(tokens: Tensor, outputs: int) -> bool:
    """Whether a product of these goes to oneDNN: a large one in float32 on Zen 5, without gradients."""
    return (
        tokens.device.type == "cpu"
        and tokens.dtype == torch.float32
        and tokens.numel() * outputs >= MIN_MULTIPLICATIONS
        and not torch.is_grad_enabled()
        and cpu_is_zen5()
        and onednn_multiplies()
    )


@lru_cache(maxsize=1)
@torch.no_grad()
def onednn_multiplies() -> bool:
    """Whether this PyTorch has oneDNN's product, which is no public API, and it is right. Tried once."""
    tokens, weight = torch.arange(6.0).view(2, 3), torch.arange(12.0).view(4, 3)
    bias = torch.ones(len(weight))
    try:
        found = _product(tokens, weight, bias)
    except (AttributeError, RuntimeError, TypeError):
        return False
    return torch.equal(found, F.linear(tokens, weight, bias))


def _product(tokens: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if bias is not None:
        bias = bias.contiguous()  # its strides are ignored
    return torch.ops.mkldnn._linear_pointwise(tokens, weight, bias, "none", [], "")  # type: ignore[no-any-return]


def _is_pointwise(conv: nn.Conv2d) -> bool:
    return conv.kernel_size == conv.stride == (1, 1) and conv.padding == (0, 0) and conv.groups == 1
