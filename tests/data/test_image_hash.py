"""Copies of an image are found whatever their file, and other images are not."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffagiqa.data.image_hash import (
    NO_HASH,
    near_others,
    perceptual_hash,
    perceptual_hashes,
)

FOLDER = Path(__file__).parents[2] / "src/diffagiqa/assets/demo"
DEMO = [file for file in sorted(FOLDER.glob("*.jpg")) if "damaged" not in file.name]


@pytest.fixture(scope="module")
def originals() -> list[Image.Image]:
    assert len(DEMO) >= 5
    return [Image.open(file).convert("RGB") for file in DEMO]


def changed(image: Image.Image, how: str) -> np.ndarray:
    if how == "smaller":
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
    elif how == "brighter":
        image = image.point(lambda value: min(255, int(value * 1.1)))
    else:
        file = io.BytesIO()
        image.save(file, "jpeg" if how == "jpeg" else "webp", quality=50)
        image = Image.open(file).convert("RGB")
    return np.asarray(image)


@pytest.mark.parametrize("how", ["smaller", "brighter", "jpeg", "webp"])
def test_a_copy_is_near_its_original_and_to_no_other(
    originals: list[Image.Image], how: str
) -> None:
    hashes = np.array([perceptual_hash(np.asarray(image)) for image in originals], np.uint64)
    for i, image in enumerate(originals):
        copy = np.array([perceptual_hash(changed(image, how))], np.uint64)
        assert near_others(copy, hashes[i : i + 1]).all()
        assert not near_others(copy, np.delete(hashes, i)).any()


def test_noise_is_near_nothing_and_distances_are_counted_bit_by_bit() -> None:
    random = np.random.default_rng(0)
    hashes = random.integers(1, 2**63, 300, dtype=np.uint64)
    others = random.integers(1, 2**63, 500, dtype=np.uint64)
    others[7] = hashes[3] ^ np.uint64(0b10110001)  # four bits
    others[8] = hashes[4] ^ np.uint64(0b11111)  # five
    expected = [min(bin(int(a) ^ int(b)).count("1") for b in others) <= 4 for a in hashes]
    assert near_others(hashes, others).tolist() == expected
    assert expected[3]
    assert not expected[4]
    assert not near_others(hashes, others[:0]).any()


def test_what_has_no_hash_is_like_nothing(tmp_path: Path) -> None:
    assert perceptual_hash(np.full((40, 30, 3), 90, np.uint8)) == NO_HASH
    (tmp_path / "a.png").write_bytes(b"no image")
    hashes = perceptual_hashes([str(tmp_path / "a.png"), str(tmp_path / "b.png")])
    assert hashes.tolist() == [0, 0]
    assert not near_others(hashes, hashes).any()
