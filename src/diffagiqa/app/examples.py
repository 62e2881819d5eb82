"""Example images of the page: files of the package, with their prompts in the metadata."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from PIL import Image, PngImagePlugin

from diffagiqa.assets import demo_images


class Example(NamedTuple):
    """An image with its prompt in its metadata, and what there is to see."""

    path: str
    prompt: str
    label: str


def write_examples(folder: Path) -> list[Example]:
    """Write the examples as PNG files, prompts inside as AUTOMATIC1111 writes them."""
    images = demo_images()
    first = images[0]
    damaged = next(other for other in images if other[1:] == (first.prompt, "damaged"))
    other = next(image for image in images if image.prompt != first.prompt)
    chosen = [
        (first.path, "clean.png", "clean, right prompt"),
        (damaged.path, "damaged.png", "damaged, right prompt"),
        (other.path, "other.png", "clean, wrong prompt"),
    ]
    return [_write(folder / name, path, first.prompt, label) for path, name, label in chosen]


def _write(target: Path, source: Path, prompt: str, label: str) -> Example:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", f"{prompt}\nSteps: 20, Sampler: Euler a, Seed: 1")
    with Image.open(source) as image:
        image.save(target, pnginfo=info)
    return Example(str(target), prompt, label)
