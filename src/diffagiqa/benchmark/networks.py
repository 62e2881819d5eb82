"""Baselines trained from scratch on the same images, labels and splits: a CNN and a ViT.

Each takes the image alone, or the image and its prompt; of an image the four channels that
``fitting.load_pictures`` gives. About as many trained parameters as the embedded scorer has.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import chain, pairwise

import torch
from torch import Tensor, nn

WORDS = 8192  # hashed vocabulary of the text branch


class PlainCNN(nn.Module):
    """Residual CNN: four stages of two blocks, stride 2 each after a stride-4 stem."""

    def __init__(self, width: int = 32, channels: int = 4) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width]
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 7, stride=4, padding=3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        blocks: list[nn.Module] = []
        before = width
        for i, after in enumerate(widths):
            blocks += [_Residual(before, after, 1 if i == 0 else 2), _Residual(after, after, 1)]
            before = after
        self.blocks = nn.Sequential(*blocks)
        self.out_channels = 2 * widths[-1]

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, S, S) in [0, 1] -> (B, out_channels): mean and deviation over positions."""
        maps = self.blocks(self.stem(2 * images - 1)).flatten(2)
        return torch.cat([maps.mean(2), maps.float().std(2).to(maps.dtype)], dim=1)


class PlainViT(nn.Module):
    """Vision transformer (Dosovitskiy et al. 2021), patch 16, mean-pooled."""

    def __init__(self, size: int = 224, width: int = 192, depth: int = 7, heads: int = 6) -> None:
        super().__init__()
        self.patches = nn.Conv2d(4, width, 16, stride=16)
        self.positions = nn.Parameter(torch.randn(1, (size // 16) ** 2, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width,
            heads,
            4 * width,
            dropout=0.0,  # drawing the masks is half of a training step on a CPU
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.out_channels = width

    def forward(self, images: Tensor) -> Tensor:
        """(B, 4, size, size) in [0, 1] -> (B, out_channels)."""
        tokens = self.patches(2 * images - 1).flatten(2).transpose(1, 2) + self.positions
        return self.norm(self.layers(tokens)).mean(1)  # type: ignore[no-any-return]


class BagOfWords(nn.Module):
    """Prompt encoder: hashed word and word-pair embeddings, averaged, and a small MLP."""

    def __init__(self, width: int = 64, out_channels: int = 128) -> None:
        super().__init__()
        self.embedding = nn.EmbeddingBag(WORDS, width, mode="mean")
        self.mlp = nn.Sequential(nn.Linear(width, out_channels), nn.GELU(), nn.Dropout(0.3))
        self.out_channels = out_channels

    def forward(self, prompts: Sequence[str]) -> Tensor:
        """Prompts -> (B, out_channels)."""
        bags = [_word_ids(prompt) for prompt in prompts]
        starts = torch.tensor([0, *(len(bag) for bag in bags[:-1])]).cumsum(0)
        return self.mlp(self.embedding(torch.tensor(list(chain.from_iterable(bags))), starts))  # type: ignore[no-any-return]


class Regressor(nn.Module):
    """Image encoder, optional prompt encoder, and one score in [0, 1] per task."""

    def __init__(
        self, image: nn.Module, text: BagOfWords | None, tasks: int, *, width: int = 128
    ) -> None:
        super().__init__()
        self.image = image
        self.text = text
        channels = int(image.out_channels) + (text.out_channels if text else 0)  # type: ignore[arg-type]
        self.head = nn.Sequential(
            nn.Linear(channels, width), nn.ReLU(), nn.Dropout(0.3), nn.Linear(width, tasks)
        )

    def forward(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """-> (B, tasks) in [0, 1]."""
        encoded = self.image(images)
        if self.text is not None:
            encoded = torch.cat([encoded, self.text(prompts).to(encoded.dtype)], dim=1)
        return torch.sigmoid(self.head(encoded))


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.skip = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, maps: Tensor) -> Tensor:
        return torch.relu(self.body(maps) + self.skip(maps))


def _word_ids(prompt: str) -> list[int]:
    words = prompt.lower().replace(",", " ").split()
    pairs = [f"{a} {b}" for a, b in pairwise(words)]
    return [zlib.crc32(piece.encode()) % WORDS for piece in words + pairs] or [0]
