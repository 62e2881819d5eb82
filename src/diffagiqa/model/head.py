"""Pyramid maps -> one score in [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from diffagiqa.device import without_autocast
from diffagiqa.model.pyramid import conv_bn_relu


class ScoreHead(nn.Module):
    """Fusion of the levels, global average pooling, and a small regressor; one per task."""

    def __init__(
        self,
        inputs: int,
        *,
        fusion_channels: Sequence[int] = (512, 256, 128),
        fusion_groups: int = 4,
        head_channels: Sequence[int] = (256, 128),
        dropout: Sequence[float] = (0.5, 0.3),
        skip: bool = False,
    ) -> None:
        super().__init__()
        wide, middle, narrow = fusion_channels
        self.fusion = nn.Sequential(
            conv_bn_relu(inputs, wide),
            conv_bn_relu(wide, middle, 3, groups=fusion_groups),
            conv_bn_relu(middle, narrow, 3),
        )
        self.skip = nn.Conv2d(inputs, 1, 1, bias=False) if skip else None
        first, second = head_channels
        self.regressor = nn.Sequential(
            nn.Linear(narrow, first),
            nn.ReLU(),
            nn.Dropout(dropout[0]),
            nn.Linear(first, second),
            nn.ReLU(),
            nn.Dropout(dropout[1]),
            nn.Linear(second, 1),
            nn.Sigmoid(),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """(B, inputs, P, P) -> (B,), in [0, 1]."""
        return self.regress(self.fuse(maps))

    def fuse(self, maps: Tensor) -> Tensor:
        """(B, inputs, P, P) -> (B, C, P, P); with a skip, one channel more, which adds to the logit."""
        fused: Tensor = self.fusion(maps)
        if self.skip is None:
            return fused
        return torch.cat([fused, self.skip(maps.to(self.skip.weight.dtype)).to(fused.dtype)], dim=1)

    def regress(self, fused: Tensor) -> Tensor:
        """Fused maps (B, C, P, P) -> (B,), in [0, 1]: of their mean over positions."""
        first = self.regressor[0]
        assert isinstance(first, nn.Linear)
        pooled = fused.mean(dim=(2, 3), dtype=first.weight.dtype)
        # In training, too, in its own type: bfloat16 has a step of 1/256 where the scores lie.
        with without_autocast(pooled.device):
            if self.skip is None:
                return self.regressor(pooled).squeeze(1)  # type: ignore[no-any-return]
            logits = self.regressor[:-1](pooled[:, :-1]) + pooled[:, -1:]
            return torch.sigmoid(logits).squeeze(1)
