"""What is measured is what is scored: every step of the ladder gives the released path's scores."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import small_config, spread_out

from diffagiqa import Scorer
from diffagiqa.backbones.folder import load_backbone
from diffagiqa.bench.memory import measure_memory
from diffagiqa.bench.precision import measure_precision
from diffagiqa.bench.released import ReleasedPath, ladder
from diffagiqa.bench.run import bench
from diffagiqa.bench.show import roofline, tables
from diffagiqa.model.config import TaskConfig
from diffagiqa.model.scoring import scoring_noise
from diffagiqa.pretrained import backbone_reference, load_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "model"
    config = small_config()
    Scorer.untrained(config.backbone, config, device="cpu", dtype="float32").save_pretrained(folder)
    return folder


STATISTICS = {
    "tasks": (TaskConfig("perception", use_text=False), TaskConfig("alignment")),
    "features": ("latents", "down_blocks.0.resnets.0"),
    "feature_channels": (4, 32),
    "pooling": "statistics",
    "prompting": "none",
    "words": ("up_blocks.1.attentions.1",),
    "words_size": 128,
}


@pytest.mark.parametrize("changes", [{}, STATISTICS], ids=["pyramid", "statistics and words"])
def test_every_step_gives_the_released_scores_and_the_last_the_scorers(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    config = small_config(**changes)
    untrained = Scorer.untrained(config.backbone, config, device="cpu", dtype="float32")
    spread_out(untrained).save_pretrained(tmp_path)
    trained = load_model(tmp_path).double()
    place = backbone_reference(config, tmp_path)
    backbone = load_backbone(str(place), config.unet_names).double()
    whole = UNet2DConditionModel.from_pretrained(Path(place) / "unet").double().eval()
    backbone.unet = whole
    encoder = AutoencoderKL.from_pretrained(Path(place) / "vae").encoder.double().eval()
    path = ReleasedPath(trained, backbone, encoder, whole, scoring_noise(config, backbone, 0)[0])
    image = torch.rand(3, 128, 128, generator=torch.Generator().manual_seed(0))
    found = [path(image.double(), "a red fox", steps) for _, steps in ladder()]
    for scores in found[1:]:
        for task, value in scores.items():
            torch.testing.assert_close(value, found[0][task], rtol=0, atol=1e-9)
    dark = path(image.double() / 2, "a red fox", ladder()[0][1])
    scorer = Scorer.from_pretrained(tmp_path, device="cpu", dtype="float32")
    for task, value in scorer.score_tensor(image[None], "a red fox").items():
        assert float(value) == pytest.approx(float(found[0][task]), abs=1e-4)
        assert abs(float(dark[task]) - float(value)) > 1e-2  # another picture has another score


def test_bench_measures_tables_and_plots(model: Path, tmp_path: Path) -> None:
    found = bench(
        str(model), device="cpu", dtype="bfloat16", batch=2, repeats=1, log=lambda _: None
    )
    found = json.loads(json.dumps(found))
    assert [row["title"][0] for row in found["ladder"]] == ["r", *"+" * (len(ladder()) - 1)]
    assert max(row["change"] for row in found["ladder"]) < 1e-4
    assert all(stage["seconds"] > 0 for stage in found["stages"])
    assert {s["name"] for s in found["stages"] if s["flop"]} >= {"VAE encoder", "U-Net", "pyramid"}
    text = tables(found)
    assert "| released path, float32 |" in text
    assert "GB peak resident" in text
    assert "Pyramid and head alone, one branch, float32" in text
    assert "all branches cost" in text
    roofline(found, tmp_path / "roofline.png")
    assert (tmp_path / "roofline.png").read_bytes().startswith(b"\x89PNG")


def test_precision_on_made_pictures(tiny_model: Path) -> None:
    found = measure_precision(str(tiny_model), "cpu", "bfloat16", 4, 64)
    same = measure_precision(str(tiny_model), "cpu", "float32", 4, 64)
    for task, row in found.items():
        assert row["largest"] < 0.02
        assert same[task]["largest"] < 1e-6


def test_memory_is_that_of_another_process(tiny_model: Path) -> None:
    assert 0.05 < measure_memory(str(tiny_model), "cpu", "float32")["peak_gb"] < 4


@pytest.mark.skipif(torch.cuda.is_available(), reason="wants a machine without a GPU")
def test_a_device_that_is_not_there(tiny_model: Path) -> None:
    from diffagiqa.errors import ConfigError

    with pytest.raises(ConfigError, match="sees no GPU"):
        bench(str(tiny_model), device="cuda", log=lambda _: None)


def test_without_matplotlib_there_is_no_plot_and_no_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert roofline({}, tmp_path / "roofline.png") is False
    assert not list(tmp_path.iterdir())
