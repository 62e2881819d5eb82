"""Image -> image + visual prompt."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class VisualPrompter(nn.Module):
    """A learned, image-dependent change of the image (Diff-AGIQA, visual prompter).

    Two convolutions whose output is added to the image.
    """

    def __init__(self, channels: int = 6, kernel: int = 5) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, channels, kernel, padding=kernel // 2)
        self.conv2 = nn.Conv2d(channels, 3, kernel, padding=kernel // 2)

    @property
    def changes_nothing(self) -> bool:
        """Whether it adds zero to every image."""
        bias = self.conv2.bias
        return not self.conv2.weight.any() and (bias is None or not bias.any())

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, 3, H, W), about [-1, 1], the range backbones expect."""
        centred = 2 * images - 1
        return centred + self.conv2(torch.relu(self.conv1(centred)))


class NoPrompter(nn.Module):
    """The ablation without a visual prompt: only the change of range."""

    def forward(self, images: Tensor) -> Tensor:
        return (2 * images).sub_(1)  # in place: a fresh block of this size costs more than the sum
