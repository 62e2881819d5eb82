"""Example pictures, drawn when the page starts: nothing is fetched."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, PngImagePlugin

from diffagiqa.synth.defects import damage
from diffagiqa.synth.samples import made_sample

SCENES = (11, 42)  # in the stream of synthetic pictures
DAMAGE = {"low detail": 0.6, "sensor noise": 0.4}


class Example(NamedTuple):
    """A picture with its prompt in its metadata, and what there is to see."""

    path: str
    prompt: str
    label: str


def write_examples(folder: Path, size: int = 384) -> list[Example]:
    """Draw the examples as PNG files, prompts inside as AUTOMATIC1111 writes them."""
    first, second = (made_sample(0, scene, size) for scene in SCENES)
    spoilt = damage(first.image, DAMAGE, (0, 1))[0]
    return [
        _write(folder / "clean.png", first.image, first.caption, "clean, right prompt"),
        _write(folder / "damaged.png", spoilt, first.caption, "damaged, right prompt"),
        _write(folder / "other.png", second.image, first.caption, "clean, wrong prompt"),
    ]


def _write(path: Path, image: np.ndarray, prompt: str, label: str) -> Example:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", f"{prompt}\nSteps: 20, Sampler: Euler a, Seed: 1")
    Image.fromarray(image).save(path, pnginfo=info)
    return Example(str(path), prompt, label)
