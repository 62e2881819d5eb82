"""An ensemble folded into one network is the ensemble."""

from __future__ import annotations

import pytest
import torch
from made_up import small_model

from diffagiqa.errors import TrainingError
from diffagiqa.model.config import ModelConfig
from diffagiqa.model.pyramid import StatisticsPooling
from diffagiqa.model.scoring import DiffAGIQA, build_model
from diffagiqa.training.merge import merge


def member(seed: int, config: ModelConfig) -> DiffAGIQA:
    """A model that has seen some batches, so that its statistics differ from another's."""
    torch.manual_seed(seed)
    model = build_model(config).double().train()
    for _ in range(3):
        model.score_features(features(seed + 7, 8, config))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and module.affine:
            module.weight.data.uniform_(0.5, 2)
            module.bias.data.normal_()
    return model.eval()


def features(seed: int, count: int, config: ModelConfig) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    maps = [
        torch.randn(count, width, 5, 4, generator=generator, dtype=torch.float64) * (1 + seed)
        for width in config.feature_channels
    ]
    pooling = StatisticsPooling(config.feature_channels, channels=1, textures=config.textures)
    return pooling.statistics(maps)


@pytest.mark.parametrize("textures", [False, True])
def test_the_merged_network_gives_the_mean_logit(textures: bool) -> None:
    config = small_model(
        pooling="statistics", prompting="none", textures=textures, feature_channels=(16, 8, 8, 8, 8)
    )
    members = [member(seed, config) for seed in range(3)]
    merged = merge(members).double()
    shown = features(1, 5, config)
    with torch.no_grad():
        found = merged.score_features(shown)
        for task, value in found.items():
            logits = torch.stack([model.score_features(shown)[task].logit() for model in members])
            assert logits.std(0).min() > 1e-4
            torch.testing.assert_close(value.logit(), logits.mean(0), rtol=1e-6, atol=1e-6)


def test_only_what_pools_statistics_can_be_merged() -> None:
    with pytest.raises(TrainingError, match="can be merged"):
        merge([build_model(small_model())] * 2)
