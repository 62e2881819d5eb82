"""Severity 0 changes nothing, severity is monotone, patterns come from the seed."""

from __future__ import annotations

import numpy as np
import pytest
from diffagiqa.synth.defects import DEFECTS, HELD_OUT_DEFECTS, TRAIN_DEFECTS, damage
from diffagiqa.synth.render import render_layers
from diffagiqa.synth.samples import made_sample
from diffagiqa.synth.scene import Entity, Scene

from diffagiqa.errors import ConfigError, ImageError

SEVERITIES = np.linspace(0, 1, 9)


def pictures() -> list[np.ndarray]:
    """Two made ones and one that is not square and holds fine noise, like a photo."""
    made = [made_sample(0, i, 96).image for i in (2, 5)]
    grid = np.indices((90, 130)).sum(0)
    photo = 128 + 60 * np.sin(grid / 9) + np.random.default_rng(0).normal(0, 9, (90, 130))
    return [*made, np.clip(photo[..., None] * (1.0, 0.8, 0.6), 0, 255).astype(np.uint8)]


PICTURES = pictures()


@pytest.mark.parametrize("name", DEFECTS)
def test_severity_0_is_the_identity(name: str) -> None:
    for picture in PICTURES:
        done = DEFECTS[name](picture, 0.0, np.random.default_rng(0))
        np.testing.assert_array_equal(done.image, picture)
        assert not done.mask.any()


@pytest.mark.parametrize("name", DEFECTS)
def test_error_grows_with_severity(name: str) -> None:
    for seed, picture in enumerate(PICTURES):
        errors = []
        for severity in SEVERITIES:
            done = DEFECTS[name](picture, float(severity), np.random.default_rng(seed)).image
            errors.append(np.abs(done.astype(float) - picture).mean())
        steps = np.diff(errors)
        # JPEG's quantiser and texture that meets itself again may step back a little
        slack = 0.02 * errors[-1] + 0.02
        assert (steps >= -slack).all(), errors
        assert errors[-1] > 0.5


@pytest.mark.parametrize("name", DEFECTS)
def test_severity_is_continuous(name: str) -> None:
    picture = PICTURES[0]
    for low in (0.0, 0.3, 0.7):
        one, other = (
            DEFECTS[name](picture, s, np.random.default_rng(0)).image.astype(float)
            for s in (low, low + 0.01)
        )
        assert np.abs(one - other).mean() < 3.0


@pytest.mark.parametrize("name", DEFECTS)
def test_same_seed_same_bytes(name: str) -> None:
    first, again, other = (
        DEFECTS[name](PICTURES[0], 0.6, np.random.default_rng(seed)).image for seed in (1, 1, 2)
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


@pytest.mark.parametrize("name", [n for n, d in DEFECTS.items() if d.kind == "local"])
def test_local_defects_stay_in_their_mask(name: str) -> None:
    scene = Scene((Entity("cat", "red"),), (), "meadow", "photo", layout_seed=2)
    layers = render_layers(scene, 128, 1)
    done = DEFECTS[name](layers.image, 0.8, np.random.default_rng(3), layers.masks[0] / 255)
    outside = done.mask < 1e-3
    np.testing.assert_array_equal(done.image[outside], layers.image[outside])
    assert 0 < done.mask.mean() < 0.7
    thing = layers.masks[0] > 127
    assert done.mask[thing].mean() > 0.03 or name == "duplicated part"


def test_resolution_does_not_change_how_strong_it_is() -> None:
    scene = Scene((Entity("cat", "red"),), (), "meadow", "photo", layout_seed=2)
    small, large = render_layers(scene, 96, 1).image, render_layers(scene, 288, 1).image
    for name in ("blur", "warped geometry", "ghosting", "colour drift", "patch seams"):
        errors = [
            np.abs(DEFECTS[name](p, 0.7, np.random.default_rng(0)).image.astype(float) - p).mean()
            for p in (small, large)
        ]
        assert 0.6 < errors[0] / errors[1] < 1.6, name


def test_a_pattern_does_not_depend_on_other_defects() -> None:
    alone, _ = damage(PICTURES[0], {"sensor noise": 0.5}, 7)
    both, masks = damage(PICTURES[0], {"blur": 0.0, "sensor noise": 0.5}, 7)
    np.testing.assert_array_equal(alone, both)
    assert set(masks) == {"sensor noise"}


def test_held_out_kinds() -> None:
    assert set(HELD_OUT_DEFECTS) | set(TRAIN_DEFECTS) == set(DEFECTS)
    assert {DEFECTS[name].kind for name in HELD_OUT_DEFECTS} == {"global", "local"}


def test_wrong_arguments_are_named() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ConfigError, match=r"severity is 1\.5"):
        DEFECTS["blur"](PICTURES[0], 1.5, rng)
    with pytest.raises(ImageError, match="float64"):
        DEFECTS["blur"](np.zeros((32, 32, 3)), 0.5, rng)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="'blurr'"):
        damage(PICTURES[0], {"blurr": 0.5}, 0)
