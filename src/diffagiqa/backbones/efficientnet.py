"""EfficientNet-Lite0 without its classifier: an image -> the map after every stage.

Inverted bottlenecks without squeeze-and-excitation and with ReLU6 (Tan and Le, 2019; the "Lite" variant
published with TensorFlow's models). Batch normalisation is folded into the convolutions when the
weights are built (research/build_compact.py): the network holds convolutions with biases alone.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

STEM, HEAD = "stem", "head"
STEM_CHANNELS, HEAD_CHANNELS = 32, 1280
STAGES = (  # blocks, kernel, stride of the first, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
MULTIPLE = 32
"""Sides must be multiples of this: every stage halves or keeps them."""
CHANNELS = {
    STEM: STEM_CHANNELS,
    **{str(i): stage[-1] for i, stage in enumerate(STAGES, 1)},
    HEAD: HEAD_CHANNELS,
}
"""Channels of every named map, in the order in which they are computed."""


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution with TensorFlow's "same" padding for even sides.

    With stride 2 that padding is one more after than before. Two leading rows and columns of zeros
    in the kernel (``same_kernel``) make it even on both sides, which needs no padded copy of the map.
    """
    kernel += 2 * (stride - 1)
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups)


def same_kernel(weight: Tensor, stride: int) -> Tensor:
    """Weights (O, I, k, k) of the original -> of ``EfficientNetLite``: (O, I, k+2, k+2) at stride 2."""
    return weight if stride == 1 else F.pad(weight, (2, 0, 2, 0))


class InvertedBottleneck(nn.Module):
    """1x1 expansion, depthwise convolution, linear 1x1 projection; plus the input where shapes allow."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = _conv(inputs, inner, 1) if expansion != 1 else None
        self.depthwise = _conv(inner, inner, kernel, stride, groups=inner)
        self.project = _conv(inner, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, maps: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, outputs, h / stride, w / stride)."""
        inner = maps if self.expand is None else F.relu6(self.expand(maps), inplace=True)
        inner = F.relu6(self.depthwise(inner), inplace=True)
        projected: Tensor = self.project(inner)
        return projected + maps if self.residual else projected


class EfficientNetLite(nn.Module):
    """The convolutions of EfficientNet-Lite0, with a map after each stage."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _conv(3, STEM_CHANNELS, 3, 2)
        self.stages = nn.ModuleList()
        inputs = STEM_CHANNELS
        for blocks, kernel, stride, expansion, outputs in STAGES:
            stage = nn.Sequential()
            for i in range(blocks):
                stage.append(
                    InvertedBottleneck(inputs, outputs, kernel, stride if i == 0 else 1, expansion)
                )
                inputs = outputs
            self.stages.append(stage)
        self.head = _conv(inputs, HEAD_CHANNELS, 1)

    def forward(self, images: Tensor, last: str = HEAD) -> dict[str, Tensor]:
        """(B, 3, H, W) about [-1, 1], sides multiples of 32 -> maps by name, up to and with ``last``.

        ``stem`` (B, 32, H/2, W/2), ``1`` to ``7``: the stages, linear outputs; ``head``
        (B, 1280, H/32, W/32). The classifier was trained on (x - 127) / 128 of 0..255.
        """
        maps = F.relu6(self.stem(images * (127.5 / 128) + 0.5 / 128), inplace=True)
        named = {STEM: maps}
        for name, stage in zip(list(CHANNELS)[1:-1], self.stages, strict=True):
            if last in named:
                return named
            maps = named[name] = stage(maps)
        if last not in named:
            named[HEAD] = F.relu6(self.head(maps), inplace=True)
        return named
