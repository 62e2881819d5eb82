"""Training on transformers and on Stable Diffusion XL: through the network, and on cached features."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from made_up import made_up_rows, small_config, thirds

from diffagiqa import Scorer
from diffagiqa.backbones.base import query_features
from diffagiqa.model.config import ModelConfig
from diffagiqa.training.train import train

sys.path.insert(0, str(Path(__file__).parents[1] / "backbones"))
from small_pipelines import small_pipeline

CASES = {
    "StableDiffusionXL-pyramid-prompters": ("up_blocks.0.attentions.0.transformer_blocks.7",),
    "StableDiffusion3-queries-prompters": ("transformer_blocks.1", "transformer_blocks.3"),
    "StableDiffusion3-queries-cached": ("transformer_blocks.1", "transformer_blocks.3"),
    "ZImage-pyramid-cached": ("layers.0", "layers.2"),
}


@pytest.mark.parametrize("case", CASES)
def test_trains_saves_and_scores(case: str, tmp_path: Path) -> None:
    kind, pooling, regime = case.split("-")
    features = CASES[case]
    if pooling == "queries":
        features = query_features(features)
    backbone = small_pipeline(kind, tmp_path / kind)
    model = {
        "backbone": str(backbone), "image_size": 64, "fit": "native", "timestep": 100,
        "features": features, "feature_channels": (1,) * len(features), "pooling": pooling,
        "query_width": 16, "query_heads": 2,
    }  # fmt: skip
    config = small_config(model, epochs=2, freeze_prompters=regime == "cached")
    rows = made_up_rows(tmp_path / "images", 6)
    fitted = train(config, rows, thirds(6), tmp_path / "run", device="cpu", log=lambda text: None)
    assert torch.isfinite(
        torch.tensor([p.detach().abs().sum() for p in fitted.model.parameters()])
    ).all()
    if regime == "prompters":
        assert any(
            p.conv2.weight.any() for p in fitted.model.prompters.values()
        )  # it moved from zero
    scorer = Scorer.from_pretrained(tmp_path / "run" / "best", device="cpu", dtype="float32")
    score = scorer(rows.samples[0].image, rows.samples[0].prompt)
    assert set(score.scores) == {"perception", "alignment"}
    assert isinstance(scorer.config, ModelConfig)
