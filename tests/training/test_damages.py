"""Severity 0 changes nothing, severity is monotone, patterns come from the seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import diffagiqa
from diffagiqa.errors import ConfigError
from diffagiqa.training.damages import (
    DEFECTS,
    GLOBAL,
    HELD_OUT_DEFECTS,
    LOCAL,
    TRAIN_DEFECTS,
    damage,
)

DEMO = Path(diffagiqa.__file__).parent / "assets" / "demo"

SEVERITIES = np.linspace(0, 1, 9)


def demo(name: str, size: int) -> np.ndarray:
    """(size, size, 3) uint8: a demo image, shrunk."""
    image = Image.open(DEMO / f"{name}.jpg").convert("RGB")
    return np.asarray(image.resize((size, size), Image.Resampling.BOX))


def photo() -> np.ndarray:
    """(90, 130, 3) uint8: waves under fine noise."""
    grid = np.indices((90, 130)).sum(0)
    grey = 128 + 60 * np.sin(grid / 9) + np.random.default_rng(0).normal(0, 9, (90, 130))
    return np.clip(grey[..., None] * (1.0, 0.8, 0.6), 0, 255).astype(np.uint8)


IMAGES = [demo("apple", 96), demo("bus", 96), photo()]


@pytest.mark.parametrize("name", DEFECTS)
def test_severity_0_is_the_identity(name: str) -> None:
    for image in IMAGES:
        done, mask = damage(image, name, 0.0, np.random.default_rng(0))
        np.testing.assert_array_equal(done, image)
        assert not mask.any()


@pytest.mark.parametrize("name", DEFECTS)
def test_error_grows_with_severity(name: str) -> None:
    for seed, image in enumerate(IMAGES):
        errors = []
        for severity in SEVERITIES:
            done, _ = damage(image, name, float(severity), np.random.default_rng(seed))
            errors.append(np.abs(done.astype(float) - image).mean())
        steps = np.diff(errors)
        # JPEG's quantiser and texture that meets itself again may step back a little
        slack = 0.02 * errors[-1] + 0.02
        assert (steps >= -slack).all(), errors
        assert errors[-1] > 0.5


@pytest.mark.parametrize("name", DEFECTS)
def test_severity_is_continuous(name: str) -> None:
    image = IMAGES[0]
    for low in (0.0, 0.3, 0.7):
        one, other = (
            damage(image, name, s, np.random.default_rng(0))[0].astype(float)
            for s in (low, low + 0.01)
        )
        assert np.abs(one - other).mean() < 3.0


@pytest.mark.parametrize("name", DEFECTS)
def test_same_seed_same_bytes(name: str) -> None:
    first, again, other = (
        damage(IMAGES[0], name, 0.6, np.random.default_rng(seed))[0] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    fixed = (
        "blur",
        "oversmoothing",
        "checkerboard",
        "oversaturation",
        "low detail",
        "jpeg",
        "ringing",
    )
    assert (first != other).any() or name in fixed


@pytest.mark.parametrize("name", LOCAL)
def test_local_defects_stay_in_their_mask(name: str) -> None:
    image = demo("apple", 128)
    y, x = np.mgrid[:128, :128]
    region = ((x - 70) ** 2 + (y - 60) ** 2 < 30**2).astype(np.float32)
    done, mask = damage(image, name, 0.8, np.random.default_rng(3), region)
    outside = mask < 1e-3
    # A mask of a thousandth moves a pixel by hundredths of one: at most a rounding.
    np.testing.assert_allclose(done[outside].astype(int), image[outside], rtol=0, atol=1)
    assert 0 < mask.mean() < 0.7
    assert mask[region > 0.5].mean() > 0.03 or name == "duplicated part"


def test_resolution_does_not_change_how_strong_it_is() -> None:
    small, large = demo("balloon", 96), demo("balloon", 288)
    for name in ("blur", "warped geometry", "ghosting", "colour drift", "patch seams"):
        errors = [
            np.abs(damage(p, name, 0.7, np.random.default_rng(0))[0].astype(float) - p).mean()
            for p in (small, large)
        ]
        assert 0.6 < errors[0] / errors[1] < 1.6, name


def test_held_out_kinds() -> None:
    assert set(HELD_OUT_DEFECTS) | set(TRAIN_DEFECTS) == set(DEFECTS)
    assert not set(HELD_OUT_DEFECTS) & set(TRAIN_DEFECTS)
    assert set(HELD_OUT_DEFECTS) & set(GLOBAL)
    assert set(HELD_OUT_DEFECTS) & set(LOCAL)


def test_a_severity_out_of_range_is_named() -> None:
    with pytest.raises(ConfigError, match=r"severity is 1\.5"):
        damage(IMAGES[0], "blur", 1.5, np.random.default_rng(0))
