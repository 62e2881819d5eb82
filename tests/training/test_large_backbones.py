"""Training on transformers and on Stable Diffusion XL: through the network, and on cached features."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up import made_up_rows, make_pictures, small_config, thirds
from typer.testing import CliRunner

from diffagiqa import Scorer
from diffagiqa.backbones import text_encoders
from diffagiqa.backbones.flow import FlowTransformer
from diffagiqa.backbones.folder import backbone_defaults
from diffagiqa.backbones.mmdit import StableDiffusion3
from diffagiqa.backbones.names import query_features
from diffagiqa.cli.main import app
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


def test_features_are_cached_without_text_encoders_where_memory_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[bool] = []

    def encode(backbone: StableDiffusion3, images: torch.Tensor) -> Any:
        held.append(backbone.text_encoders.in_memory)
        return FlowTransformer.encode_image(backbone, images)

    monkeypatch.setattr(StableDiffusion3, "encode_image", encode)
    monkeypatch.setattr(text_encoders, "free_memory", lambda device: 0)
    model = {
        "backbone": str(small_pipeline("StableDiffusion3", tmp_path / "sd3")), "image_size": 64,
        "timestep": 100, "features": ("transformer_blocks.1",), "feature_channels": (1,),
    }  # fmt: skip
    config = small_config(model, epochs=1, freeze_prompters=True)
    rows = made_up_rows(tmp_path / "images", 6)
    train(config, rows, thirds(6), tmp_path / "run", device="cpu", log=lambda text: None)
    assert held
    assert not any(held)


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["StableDiffusionXL", "StableDiffusion3", "ZImage"])
def test_every_command_works_on_it(kind: str, tmp_path: Path) -> None:
    folder = small_pipeline(kind, tmp_path / kind)
    samples = make_pictures(tmp_path / "images", 12)
    table = tmp_path / "t.csv"
    lines = [
        f"images/{i:03d}.png,{s.prompt},{s.labels['perception']}" for i, s in enumerate(samples)
    ]
    table.write_text("\n".join(["image,prompt,mos", *lines]))
    small = ["--epochs", 1, "--batch-size", 4]
    for setting in ("model.image_size=64", "min_steps=0", "folds=0", "model.pyramid_channels=8",
                    "model.attention_channels=2",
                    "model.fusion_channels=16,8,8", "model.head_channels=8,8", "flip=false"):  # fmt: skip
        small += ["--set", setting]
    data = [table, "--label", "perception=mos", "--scale", "perception=0:5"]
    said = run("train", *data, "--backbone", folder, "--out", tmp_path / "run", *small,
               "--freeze-prompters", "--device", "cpu")  # fmt: skip
    defaults = backbone_defaults(str(folder))
    assert f"timestep {defaults.timestep}" in said
    assert defaults.features[-1] in said
    again = ["reproduce", *data, "--backbone", folder, "--out", tmp_path / "report", "--repeats", 1,
             *small, "--device", "cpu"]  # fmt: skip
    assert "features: shard 1 of 1 written" in run(*again)
    assert "features: shard" not in run(*again)  # the cache is found again
    assert (tmp_path / "report" / "report.md").is_file()
    model = ["--model", tmp_path / "run" / "best", "--device", "cpu", "--dtype", "float32"]
    images, out = tmp_path / "images", tmp_path / "scores.csv"
    run("score", images, "--prompt", "stripes", "--out", out, "--quiet", *model)
    assert len(out.read_text().splitlines()) == 13
    run(
        "explain",
        images / "000.png",
        "--prompt",
        "red stripes",
        "--out",
        tmp_path / "e.png",
        *model[:4],
    )
    run(
        "bench",
        *model,
        "--out",
        tmp_path / "b.json",
        "--repeats",
        1,
        "--batch-size",
        1,
        "--no-released",
    )
    assert json.loads((tmp_path / "b.json").read_text())["stages"]
    assert kind in run("doctor", "--model", tmp_path / "run" / "best")
