"""Wide convolutions with fewer multiplications: Winograd's F(4x4, 3x3), F(4x4, 5x5) and F(2x2, 7x7).

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016): overlapping tiles of the
input and the kernel are transformed by small matrices, multiplied elementwise, and the products
transformed back. The matrices are Toom and Cook's. A quarter, a sixth and a third of the
multiplications; in single precision an error of 4e-5 of the output's standard deviation, where direct
convolution has 1e-5 or less.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from diffagiqa.accel.products import linear, products


class Tiling(NamedTuple):
    """``tile`` x ``tile`` outputs from ``size`` x ``size`` inputs; so many tiles at once."""

    tile: int
    size: int
    at_once: int


TILINGS = {3: Tiling(4, 6, 256), 5: Tiling(4, 8, 64), 7: Tiling(2, 8, 64)}
"""By the kernel's size."""
MIN_CHANNELS = 256
"""In and out. Below it the two transforms, whose cost is that of 52 channels, eat what is saved."""
MIN_POSITIONS = 1024
"""Of a map: 32 x 32. Smaller ones gain less, and transformed kernels take up to 4 times the memory."""
_POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)
"""Where the polynomials are evaluated, and at infinity: with all eight points the error is still that of
the first five and infinity."""


class WinogradConv2d(nn.Conv2d):
    """A padded convolution by Winograd's algorithm where that is faster, and directly elsewhere.

    It is faster in float32 on a CPU, for wide layers on large maps, and computed without gradients only.
    The transformed kernel is made on first use, and kept until the weight changes.
    """

    enabled = True
    _transformed: tuple[object, Tensor] | None = None

    @classmethod
    def of(cls, conv: nn.Conv2d) -> WinogradConv2d:
        """The same convolution, holding the same parameters."""
        size = conv.kernel_size[0]
        own = cls(conv.in_channels, conv.out_channels, size, padding=size // 2, device="meta")
        own.weight, own.bias = conv.weight, conv.bias
        return own.train(conv.training)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, O, H, W)."""
        if not self.is_faster_for(maps):
            return super().forward(maps)
        version = None if self.weight.is_inference() else self.weight._version
        state = (self.weight.data_ptr(), version)
        if self._transformed is None or self._transformed[0] != state:
            self._transformed = state, transformed_kernel(self.weight)
        return winograd(maps, self._transformed[1], self.bias, self.kernel_size[0])

    def is_faster_for(self, maps: Tensor) -> bool:
        """Whether Winograd's algorithm would be used for (B, C, H, W) now."""
        height, width = maps.shape[-2:]
        tile = TILINGS[self.kernel_size[0]].tile
        return (
            self.enabled
            and not torch.is_grad_enabled()
            and maps.device.type == self.weight.device.type == "cpu"
            and maps.dtype == self.weight.dtype == torch.float32
            and height % tile == width % tile == 0
            and height * width >= MIN_POSITIONS
        )


def replace_wide_convs(network: Any) -> None:
    """Replace the wide convolutions of a network, in place; the parameters stay."""
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.Conv2d) and _is_wide(module):
            parent, _, last = name.rpartition(".")
            setattr(network.get_submodule(parent), last, WinogradConv2d.of(module))


def enable_winograd(network: nn.Module, enabled: bool) -> None:
    """Allow a network's ``WinogradConv2d`` Winograd's algorithm, or make them convolve directly."""
    for module in network.modules():
        if isinstance(module, WinogradConv2d):
            module.enabled = enabled


@torch.no_grad()
def transformed_kernel(weight: Tensor) -> Tensor:
    """(O, C, k, k) -> (size * size, O, C), computed in float64."""
    _, kernel, _ = _matrices(weight.shape[-1])
    transformed = torch.einsum("xi,ocij,yj->xyoc", kernel, weight.double().cpu(), kernel)
    return transformed.flatten(0, 1).to(weight.device, weight.dtype).contiguous()


def winograd(maps: Tensor, transformed: Tensor, bias: Tensor | None, kernel: int = 3) -> Tensor:
    """A convolution padded by ``kernel // 2``: (B, C, H, W) -> (B, O, H, W), channels last.

    H and W are multiples of the tile; ``transformed``: the weight's ``transformed_kernel``.
    """
    batch, channels, height, width = maps.shape
    tile, size, at_once = TILINGS[kernel]
    border, outputs = kernel // 2, transformed.shape[1]
    down, across = height // tile, width // tile
    output_transform, _, input_transform = (
        torch.kron(matrix, matrix).to(maps.dtype) for matrix in _matrices(kernel)
    )
    padded = maps.new_zeros(batch, height + 2 * border, width + 2 * border, channels)
    padded[:, border:-border, border:-border] = maps.permute(0, 2, 3, 1)
    found = maps.new_empty(batch, height, width, outputs)
    bias = maps.new_zeros(outputs) if bias is None else bias
    rows = max(1, min(down, at_once // across))
    for picture, result in zip(padded, found, strict=True):
        for top in range(0, down, rows):
            count = min(rows, down - top)
            part = picture[tile * top :]
            y, x = part.stride(0), part.stride(1)
            # (size, size, count, across, C): tiles overlap
            tiles = part.as_strided((size, size, count, across, channels), (y, x, tile * y, tile * x, 1),
                                    part.storage_offset())  # fmt: skip
            values = linear(input_transform, tiles.reshape(size * size, -1).t())
            values = products(values.view(-1, count * across, channels), transformed)
            # (tile * tile, count * across * O)
            squares = linear(
                output_transform, values.view(size * size, -1).t(), bias.repeat(count * across)
            )
            squares = squares.view(tile, tile, count, across, outputs).permute(2, 0, 3, 1, 4)
            band = result[tile * top : tile * (top + count)]
            band.view(count, tile, across, tile, outputs).copy_(squares)
    return found.permute(0, 3, 1, 2)


@lru_cache(maxsize=8)
@torch.inference_mode(False)
def _matrices(kernel: int) -> tuple[Tensor, Tensor, Tensor]:
    """Transforms of output (tile, size), kernel (size, kernel) and input (size, size), in float64.

    The product of two polynomials from their values at ``size`` points, transposed (Toom and Cook).
    """
    tile, size, _ = TILINGS[kernel]
    return _powers(tile, size).T, _powers(kernel, size), torch.linalg.inv(_powers(size, size)).T


def _powers(terms: int, points: int) -> Tensor:
    """Powers of each point that a polynomial of so many terms has, (points, terms); the last is infinity.

    At infinity a polynomial is its leading coefficient.
    """
    finite = torch.tensor(_POINTS[: points - 1], dtype=torch.float64)[:, None]
    infinite = torch.zeros(1, terms, dtype=torch.float64)
    infinite[0, -1] = 1
    return torch.cat([finite ** torch.arange(terms), infinite])


def _is_wide(conv: nn.Conv2d) -> bool:
    size = conv.kernel_size[0]
    plain = conv.kernel_size == (size, size) and conv.padding == (size // 2, size // 2)
    plain = plain and conv.stride == conv.dilation == (1, 1)
    plain = plain and conv.groups == 1 and conv.padding_mode == "zeros" and size in TILINGS
    return plain and min(conv.in_channels, conv.out_channels) >= MIN_CHANNELS
