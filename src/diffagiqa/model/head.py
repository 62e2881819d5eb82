"""Pyramid maps -> one score in [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence

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
        kernel: int = 3,
    ) -> None:
        """``kernel`` of the last two fusion convolutions: 1 for maps of a single position."""
        super().__init__()
        wide, middle, narrow = fusion_channels
        self.fusion = nn.Sequential(
            conv_bn_relu(inputs, wide),
            conv_bn_relu(wide, middle, kernel, groups=fusion_groups),
            conv_bn_relu(middle, narrow, kernel),
        )
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
        pooled = self.pool(self.fusion(maps))
        # In training, too, in its own type: bfloat16 has a step of 1/256 where the scores lie.
        with without_autocast(pooled.device):
            return self.regressor(pooled).squeeze(1)  # type: ignore[no-any-return]

    def pool(self, fused: Tensor) -> Tensor:
        """(B, C, P, P) -> (B, C), the mean over positions in the regressor's type."""
        first = self.regressor[0]
        assert isinstance(first, nn.Linear)
        return fused.mean(dim=(2, 3), dtype=first.weight.dtype)
