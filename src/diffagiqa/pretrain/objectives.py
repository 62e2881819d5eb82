"""Side tasks of the denoiser: name the made defect and how strong it is; does the caption fit?

Both read what the scorer will read, the GEGLU outputs of chosen transformer layers, through linear
heads that are thrown away after training. The defects are this file's own; no human rating is used.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

DEFECTS = ("none", "blur", "noise", "jpeg", "low detail", "colour", "ghost", "checkerboard")


def damage(
    image: np.ndarray, kind: int, severity: float, generator: np.random.Generator
) -> np.ndarray:
    """uint8 (H, W, 3) -> the same with defect ``DEFECTS[kind]`` at ``severity`` in (0, 1]; 0 = none."""
    from PIL import Image, ImageFilter

    name = DEFECTS[kind]
    if name == "none" or severity <= 0:
        return image
    height, width = image.shape[:2]
    picture = Image.fromarray(np.ascontiguousarray(image))
    if name == "blur":
        return np.asarray(picture.filter(ImageFilter.GaussianBlur(0.4 + 3.6 * severity)))
    if name == "jpeg":
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=round(45 - 40 * severity))
        return np.asarray(Image.open(file))
    if name == "low detail":
        small = (
            max(4, round(width / (1.3 + 4 * severity))),
            max(4, round(height / (1.3 + 4 * severity))),
        )
        again = picture.resize(small, Image.Resampling.BOX).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        return np.asarray(again)
    values: Any = image.astype(np.float32)
    if name == "noise":
        values = values + generator.normal(0, 4 + 40 * severity, image.shape)
    elif name == "colour":
        grey = values.mean(2, keepdims=True)
        cast = generator.uniform(-50, 50, 3) * severity
        values = grey + (values - grey) * (1 + generator.choice([-0.9, 2.0]) * severity) + cast
    elif name == "ghost":
        shift = generator.integers(3, 4 + int(12 * severity), size=2) * generator.choice([-1, 1], 2)
        moved = np.roll(values, tuple(int(s) for s in shift), (0, 1))
        values = values + (0.15 + 0.35 * severity) * (moved - values)
    else:
        rows, columns = np.indices((height, width)) // 2
        values = values + (4 + 24 * severity) * np.where((rows + columns) % 2, 1, -1)[..., None]
    return np.clip(values, 0, 255).astype(np.uint8)


class Taps:
    """Collects the GEGLU outputs of named transformer layers during one forward pass."""

    def __init__(self, unet: Any, names: Sequence[str]) -> None:
        self.gates = [unet.get_submodule(name).transformer_blocks[0].ff.net[0] for name in names]
        self.maps: list[Tensor] = []

    @property
    def widths(self) -> list[int]:
        return [gate.proj.out_features // 2 for gate in self.gates]

    def __enter__(self) -> list[Tensor]:
        self.maps = []
        self.handles = [
            gate.register_forward_hook(lambda _m, _i, output: self.maps.append(output))
            for gate in self.gates
        ]
        return self.maps

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()


class SideHeads(nn.Module):
    """One linear head per tapped layer on the mean and spread of its map over positions."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        outputs = len(DEFECTS) + 2  # kind, severity, caption match
        self.norms = nn.ModuleList(nn.LayerNorm(2 * width) for width in widths)
        self.heads = nn.ModuleList(nn.Linear(2 * width, outputs) for width in widths)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Layers of (B, HW, C) -> (layers, B, kinds + 2)."""
        rows = []
        for features, norm, head in zip(maps, self.norms, self.heads, strict=True):
            features = features.float()
            spread = (features.var(1, correction=0) + 1e-6).sqrt()  # no NaN from a map of one place
            pooled = torch.cat([features.mean(1), spread], dim=1)
            rows.append(head(norm(pooled)))
        return torch.stack(rows)


def defect_loss(rows: Tensor, kinds: Tensor, severities: Tensor) -> Tensor:
    """Cross-entropy of the kind plus squared error of the severity, mean over layers and samples."""
    layers = rows.shape[0]
    logits = rows[..., : len(DEFECTS)].flatten(0, 1)
    named = F.cross_entropy(logits, kinds.repeat(layers))
    strong = F.mse_loss(rows[..., len(DEFECTS)].sigmoid(), severities.expand(layers, -1))
    return named + 4 * strong


def match_loss(rows: Tensor, fits: Tensor) -> Tensor:
    """Binary cross-entropy of "this caption belongs to this picture"; ``fits`` (B,) of 0 and 1."""
    return F.binary_cross_entropy_with_logits(
        rows[..., len(DEFECTS) + 1], fits.expand(rows.shape[0], -1)
    )
