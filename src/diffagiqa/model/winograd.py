"""3x3 convolutions with a quarter of the multiplications: Winograd's F(4x4, 3x3).

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016), with their matrices:
tiles of 6x6 values and the kernel are each carried over by a small matrix, multiplied value by value,
and carried back to tiles of 4x4. In single precision its error is about five times the plain one's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

TILE = 4
LEAST_CHANNELS = 256
"""In and out. Below it the two transforms, whose cost is that of 52 channels, eat what is saved."""
LEAST_TILES = 64
"""Of a picture: 32 x 32 values. Smaller maps pay less; the kernels take four times the memory."""
_TILES_AT_ONCE = 256

_B = torch.tensor(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    dtype=torch.float64,
)
_G = torch.tensor(
    [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], dtype=torch.float64
) / torch.tensor([[24.0]], dtype=torch.float64)
_A = torch.tensor(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    dtype=torch.float64,
)


class WinogradConv2d(nn.Conv2d):
    """A padded 3x3 convolution that takes the short way where that pays, and else the plain one.

    It pays without gradients, in float32 on a CPU, for wide layers on large maps. ``short_way``
    switches it off. The carried kernels are made when first wanted, and kept.
    """

    short_way = True
    _carried: Tensor | None = None

    @classmethod
    def of(cls, conv: nn.Conv2d) -> WinogradConv2d:
        """The same convolution, holding the same parameters."""
        own = cls(conv.in_channels, conv.out_channels, 3, padding=1, device="meta")
        own.weight, own.bias = conv.weight, conv.bias
        return own.train(conv.training)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, O, H, W)."""
        if not self._pays(maps):
            return super().forward(maps)
        if self._carried is None:
            self._carried = carried_kernel(self.weight)
        return winograd(maps, self._carried, self.bias)

    def _pays(self, maps: Tensor) -> bool:
        height, width = maps.shape[-2:]
        return (
            self.short_way
            and not torch.is_grad_enabled()
            and maps.device.type == self.weight.device.type == "cpu"
            and maps.dtype == self.weight.dtype == torch.float32
            and height % TILE == width % TILE == 0
            and height * width >= LEAST_TILES * TILE**2
        )


def winograd_where_wide(network: Any) -> None:
    """Replace the wide 3x3 convolutions of a frozen network, in place; the parameters stay."""
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.Conv2d) and _is_wide(module):
            parent, _, last = name.rpartition(".")
            setattr(network.get_submodule(parent), last, WinogradConv2d.of(module))


def switch_short_way(network: nn.Module, on: bool) -> None:
    """Let a network's ``WinogradConv2d`` take the short way, or the plain one."""
    for module in network.modules():
        if isinstance(module, WinogradConv2d):
            module.short_way = on


@torch.no_grad()
def carried_kernel(weight: Tensor) -> Tensor:
    """(O, C, 3, 3) -> (36, C, O), computed in float64."""
    carried = torch.einsum("xi,ocij,yj->xyco", _G, weight.double(), _G)
    return carried.flatten(0, 1).to(weight.dtype).contiguous()


def winograd(maps: Tensor, carried: Tensor, bias: Tensor | None) -> Tensor:
    """(B, C, H, W), H and W multiples of 4, and a ``carried_kernel`` -> (B, O, H, W), channels last."""
    batch, channels, height, width = maps.shape
    outputs = carried.shape[2]
    down, across = height // TILE, width // TILE
    into, back = (torch.kron(matrix, matrix).to(maps.dtype) for matrix in (_B, _A))
    padded = maps.new_zeros(batch, height + 2, width + 2, channels)
    padded[:, 1:-1, 1:-1] = maps.permute(0, 2, 3, 1)
    found = maps.new_empty(batch, height, width, outputs)
    bias = maps.new_zeros(outputs) if bias is None else bias
    rows = max(1, min(down, _TILES_AT_ONCE // across))
    for picture, result in zip(padded, found, strict=True):
        for top in range(0, down, rows):
            count = min(rows, down - top)
            part = picture[TILE * top :]
            y, x = part.stride(0), part.stride(1)
            # (6, 6, count, across, C): tiles overlap by two values
            tiles = part.as_strided((6, 6, count, across, channels), (y, x, TILE * y, TILE * x, 1),
                                    part.storage_offset())  # fmt: skip
            values = into @ tiles.reshape(36, -1)
            products = torch.bmm(values.view(36, count * across, channels), carried)
            squares = torch.addmm(
                bias.repeat(count * across), back, products.view(36, -1)
            )  # (16, count * across * O)
            squares = squares.view(TILE, TILE, count, across, outputs).permute(2, 0, 3, 1, 4)
            band = result[TILE * top : TILE * (top + count)]
            band.view(count, TILE, across, TILE, outputs).copy_(squares)
    return found.permute(0, 3, 1, 2)


def _is_wide(conv: nn.Conv2d) -> bool:
    plain = conv.kernel_size == (3, 3) and conv.stride == conv.padding == conv.dilation == (1, 1)
    plain = plain and conv.groups == 1 and conv.padding_mode == "zeros"
    return plain and min(conv.in_channels, conv.out_channels) >= LEAST_CHANNELS
