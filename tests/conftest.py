"""Shared fixtures: the reference backbone and the vectors that the released code gave on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diffagiqa import Scorer
from diffagiqa.backbones.base import Prompts
from diffagiqa.backbones.folder import load_backbone
from diffagiqa.backbones.unet import StableDiffusion
from diffagiqa.model.config import RELEASED_FEATURES, ModelConfig

REFERENCE = Path(__file__).parent / "reference"

ROUNDING = 1e-4
"""Most that a float32 score differs where its sums are taken in another order: in another batch, with
folded norms, by other instructions. A sum of n = 10,000 products, as in the widest layers, rounds by
about sqrt(n) 2^-24 of itself, and 100 layers in a row by sqrt(100) times that: 6e-5."""

torch.set_num_threads(min(2, torch.get_num_threads()))


@pytest.fixture(scope="session")
def reference() -> Path:
    return REFERENCE


@pytest.fixture(scope="session")
def expected() -> Mapping[str, np.ndarray]:
    """Outputs of the released code, see tests/reference/README.md."""
    with np.load(REFERENCE / "expected.npz", allow_pickle=False) as vectors:
        return {name: vectors[name] for name in vectors.files}


@pytest.fixture(scope="session")
def reference_images() -> torch.Tensor:
    """(3, 3, 512, 512) in [0, 1]."""
    arrays = [np.asarray(Image.open(REFERENCE / f"image{i}.png").convert("RGB")) for i in range(3)]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2) / 255.0


@pytest.fixture(scope="session")
def backbone() -> StableDiffusion:
    """The small random backbone, float32."""
    return load_backbone(str(REFERENCE / "backbone"), RELEASED_FEATURES)


def encode_prompts(
    backbone: StableDiffusion, prompts: Sequence[str], long_prompts: str = "truncate"
) -> Prompts:
    """A batch of prompts of one length."""
    return Prompts.stack(backbone.encode_prompts(prompts, long_prompts))


def encode_text(
    backbone: StableDiffusion, prompts: Sequence[str], long_prompts: str = "truncate"
) -> torch.Tensor:
    """(B, L, D)."""
    return encode_prompts(backbone, prompts, long_prompts).text


def small_config(**changes: object) -> ModelConfig:
    """A model that scores in milliseconds on the reference backbone."""
    settings: dict[str, object] = {
        "backbone": str(REFERENCE / "backbone"),
        "image_size": 128,
        "feature_channels": (128,) * 5,
        "pyramid_channels": 8,
        "attention_channels": 2,
        "fusion_channels": (16, 8, 8),
        "head_channels": (8, 8),
    }
    return ModelConfig(**(settings | changes))  # type: ignore[arg-type]


def unlike_pictures(count: int, size: int = 128) -> list[np.ndarray]:
    """(size, size, 3) uint8 each: noise of unlike contrast on unlike shades."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (count, size, size, 3))
    shades = rng.integers(0, 256, (count, 1, 1, 3))
    contrast = rng.uniform(0, 1, (count, 1, 1, 1))
    return list((contrast * noise + (1 - contrast) * shades).astype(np.uint8))


def unlike_prompts(count: int) -> list[str]:
    return [f"a picture of {number} foxes" for number in range(count)]


def spread_out(scorer: Scorer, pictures: int = 7) -> Scorer:
    """Give an untrained model normalisation statistics and a steep head, so that its scores differ.

    Without, all pictures score alike to five digits, and no test can tell one from the other.
    """
    size = scorer.config.image_size
    batch = torch.stack([scorer.prepare(one) for one in unlike_pictures(pictures, size)])
    for module in scorer.model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # a plain average of what it sees
    scorer.model.pyramid.train()
    for head in scorer.model.heads.values():
        head.fusion.train()  # type: ignore[union-attr, operator]
    with torch.no_grad():
        scorer.score_tensor(batch, unlike_prompts(pictures))
        for head in scorer.model.heads.values():
            head.regressor[-2].weight *= 20  # type: ignore[index]
    scorer.model.eval()
    return scorer


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved untrained model that scores some ten 64 x 64 pictures a second on one core."""
    folder = tmp_path_factory.mktemp("tiny") / "model"
    config = small_config(image_size=64, pyramid_size=4)
    untrained = Scorer.untrained(config.backbone, config, device="cpu", dtype="float32")
    spread_out(untrained).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_scorer(tiny_model: Path) -> Scorer:
    """That model, loaded: 64 x 64 pixels."""
    return Scorer.from_pretrained(tiny_model, device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def small_scorer() -> Scorer:
    """Untrained, 128 x 128 pixels: the backbone's deepest map has more than one place."""
    config = small_config(pyramid_size=8)
    return spread_out(Scorer.untrained(config.backbone, config, device="cpu", dtype="float32"))
