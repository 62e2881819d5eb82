"""Agreement with the released code, from its own vectors, to 1e-4 relative."""

import copy
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import encode_text

from diffagiqa.backbones.noise import Noise
from diffagiqa.backbones.unet import StableDiffusion
from diffagiqa.backbones.unet_walk import unet_features
from diffagiqa.convert import convert_released
from diffagiqa.model.scoring import DiffAGIQA

LEVELS = ("mid", "up1_0", "up1_1", "up1_2", "up2_0")


@pytest.fixture(scope="module")
def model(reference: Path) -> DiffAGIQA:
    return convert_released(reference / "upstream_small.pth").model


@pytest.fixture(scope="module")
def text(backbone: StableDiffusion, expected: Mapping[str, np.ndarray]) -> torch.Tensor:
    with torch.no_grad():
        return encode_text(backbone, [str(prompt) for prompt in expected["prompts"]])


@pytest.fixture(scope="module")
def features(
    model: DiffAGIQA,
    backbone: StableDiffusion,
    text: torch.Tensor,
    expected: Mapping[str, np.ndarray],
) -> dict[str, torch.Tensor]:
    latents = torch.from_numpy(expected["noisy_latents"])
    with torch.no_grad():
        found = unet_features(backbone.unet, latents, 51, text, model.config.features)
    return found


def relative(found: torch.Tensor, wanted: np.ndarray) -> float:
    assert tuple(found.shape) == wanted.shape
    reference = torch.from_numpy(wanted).double()
    return float((found.double() - reference).norm() / reference.norm())


def test_text_embeddings_agree(text: torch.Tensor, expected: Mapping[str, np.ndarray]) -> None:
    assert relative(text, expected["text_embeddings"]) < 1e-4


def test_prompted_image_and_posterior_agree(
    model: DiffAGIQA,
    backbone: StableDiffusion,
    reference_images: torch.Tensor,
    expected: Mapping[str, np.ndarray],
) -> None:
    exact = copy.deepcopy(backbone).double()  # float32 differs by 1e-4 between one thread and two
    with torch.no_grad():
        prompted = model.prompt(reference_images)
        mean, std = exact.encode_image(prompted)
    assert relative(prompted[:, :, ::16, ::16], expected["prompted_image_sample"]) < 1e-4
    assert relative(mean, expected["posterior_mean"]) < 1e-4
    assert relative(std, expected["posterior_std"]) < 1e-4


def test_features_agree(
    features: dict[str, torch.Tensor], expected: Mapping[str, np.ndarray]
) -> None:
    for name, feature in zip(LEVELS, features.values(), strict=True):
        assert relative(feature[:, ::8], expected[name]) < 1e-4, name


def test_attended_maps_agree(
    model: DiffAGIQA, features: dict[str, torch.Tensor], expected: Mapping[str, np.ndarray]
) -> None:
    with torch.no_grad():
        attended = model.pyramid.attended([*features.values()])  # type: ignore[operator]
    for level, maps in enumerate(attended):
        assert relative(maps[:, :, ::4, ::4], expected[f"attended_{level}"]) < 1e-4


def test_scores_agree(
    model: DiffAGIQA, features: dict[str, torch.Tensor], expected: Mapping[str, np.ndarray]
) -> None:
    with torch.no_grad():
        scores = model.score_features(features)
    assert relative(scores["perception"], expected["scores"]) < 1e-4


def test_noise_schedule_is_that_of_the_release(backbone: StableDiffusion) -> None:
    # acp_51 and its two factors, as measured on the released code.
    assert float(backbone.alphas_cumprod[51]) == pytest.approx(0.9505240917, abs=1e-7)
    mean, noise = torch.full((1, 4, 2, 2), 2.0), torch.full((1, 4, 2, 2), 3.0)
    latents = backbone.noisy_latents(mean, torch.ones_like(mean), Noise(None, noise), 51)
    wanted = 0.9749482274 * 0.18215 * 2.0 + 0.2224318087 * 3.0
    assert float(latents[0, 0, 0, 0]) == pytest.approx(wanted, abs=1e-6)
