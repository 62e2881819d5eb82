"""An ensemble folded into one network is the ensemble."""

from __future__ import annotations

import pytest
import torch
from made_up import small_model

from diffagiqa.errors import TrainingError
from diffagiqa.model.pyramid import STATISTICS
from diffagiqa.model.scoring import DiffAGIQA, build_model
from diffagiqa.training.merge import merge


def member(seed: int) -> DiffAGIQA:
    """A model that has seen some batches, so that its statistics differ from another's."""
    torch.manual_seed(seed)
    model = build_model(small_model(pooling="statistics", prompting="none")).double().train()
    for _ in range(3):
        model.score_features(features(seed + 7, 8))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and module.affine:
            module.weight.data.uniform_(0.5, 2)
            module.bias.data.normal_()
    return model.eval()


def features(seed: int, count: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    widths = small_model().feature_channels
    return [
        torch.randn(count, STATISTICS * width, 1, 1, generator=generator, dtype=torch.float64)
        * (1 + seed)
        for width in widths
    ]


def test_the_merged_network_gives_the_mean_logit() -> None:
    members = [member(seed) for seed in range(3)]
    merged = merge(members).double()
    shown = features(1, 5)
    with torch.no_grad():
        found = merged.score_features(shown)
        for task, value in found.items():
            logits = torch.stack([model.score_features(shown)[task].logit() for model in members])
            assert logits.std(0).min() > 1e-4
            torch.testing.assert_close(value.logit(), logits.mean(0), rtol=1e-6, atol=1e-6)


def test_only_what_pools_statistics_can_be_merged() -> None:
    with pytest.raises(TrainingError, match="can be merged"):
        merge([build_model(small_model())] * 2)
