"""Side tasks of the denoiser: name the made defect and its severity; find the crop of the same picture;
does the caption fit; which caption fits?

They read what the scorer will read, the GEGLU outputs of chosen transformer layers, through linear
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
    """Mean and spread over positions of the GEGLU outputs of named transformer layers.

    They are taken inside the U-Net's own forward pass, so that a compiled U-Net takes them too.
    """

    def __init__(self, unet: Any, names: Sequence[str]) -> None:
        self.gates = [unet.get_submodule(name).transformer_blocks[0].ff.net[0] for name in names]
        self.pooled: list[Tensor] = []
        """One (B, 2C) per layer; whoever calls the U-Net empties it."""
        # Registered once: a compiled U-Net is compiled again whenever its hooks change.
        self.handles = [gate.register_forward_hook(self._take) for gate in self.gates]

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()

    @property
    def widths(self) -> list[int]:
        return [gate.proj.out_features for gate in self.gates]  # half the outputs, twice pooled

    def _take(self, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
        values = output.float()  # (B, HW, C)
        spread = (values.var(1, correction=0) + 1e-6).sqrt()  # no NaN from a map of one place
        self.pooled.append(torch.cat([values.mean(1), spread], dim=1))


class SideHeads(nn.Module):
    """Linear heads on the pooled layers, thrown away after training.

    Each layer names defect, severity and caption match on its own; two embeddings read all of them.
    """

    def __init__(self, widths: Sequence[int], text_width: int, embedding: int = 128) -> None:
        super().__init__()
        outputs = len(DEFECTS) + 2  # kind, severity, caption match
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in widths)
        self.heads = nn.ModuleList(nn.Linear(width, outputs) for width in widths)
        self.look = nn.Linear(sum(widths), embedding)
        self.scene = nn.Linear(sum(widths), embedding)
        self.caption = nn.Linear(text_width, embedding)
        self.sharpness = nn.Parameter(torch.tensor(2.3))

    def forward(self, pooled: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Layers of (B, 2C) -> (layers, B, kinds + 2), look (B, E) and scene (B, E) of length 1."""
        normed = [norm(values) for norm, values in zip(self.norms, pooled, strict=True)]
        rows = torch.stack([head(v) for head, v in zip(self.heads, normed, strict=True)])
        joined = torch.cat(normed, dim=1)
        return rows, F.normalize(self.look(joined), dim=1), F.normalize(self.scene(joined), dim=1)


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


def pair_loss(looks: Tensor, temperature: float = 0.1) -> Tensor:
    """Rows 2i and 2i + 1 are crops of one picture with one damage: each finds the other (NT-Xent).

    Chen et al., 2020; with damage as part of the identity, Madhusudana et al., 2022 (CONTRIQUE).
    """
    if len(looks) < 4:
        return looks.sum() * 0
    similarity = looks @ looks.T / temperature
    similarity = similarity.masked_fill(
        torch.eye(len(looks), dtype=torch.bool, device=looks.device), float("-inf")
    )
    partner = torch.arange(len(looks), device=looks.device) ^ 1
    return F.cross_entropy(similarity, partner)


def caption_loss(scenes: Tensor, captions: Tensor, sharpness: Tensor, own: Tensor) -> Tensor:
    """Each picture (N, E) finds its caption among all of the batch (M, E); ``own`` (N, M) marks which.

    A picture may have its caption several times in the batch: the loss asks for any of them.
    """
    logits = scenes @ captions.T * sharpness.clamp(max=4.6).exp()
    found = logits.masked_fill(~own, float("-inf")).logsumexp(1)
    return (logits.logsumexp(1) - found).mean()
