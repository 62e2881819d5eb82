"""Images of other kinds than were trained on: charts, text, noise, flat colour, screenshots."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from matplotlib import font_manager
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

WORDS = [
    "time", "people", "water", "light", "world", "house", "under", "river", "stone", "number", "letter",
    "small", "table", "measure", "score", "image", "model", "open", "close", "value", "night", "paper",
    "green", "window", "forest", "begin", "travel", "market", "winter", "garden",
]  # fmt: skip
Random = np.random.Generator


def _font(size: int, family: str = "DejaVu Sans") -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font_manager.findfont(family), size)


def _words(rng: Random, count: int) -> str:
    return " ".join(rng.choice(WORDS, count))


def chart(rng: Random) -> Image.Image:
    """A matplotlib chart of one of five kinds, 600x450."""
    figure = Figure(figsize=(6, 4.5), dpi=100)
    axis = figure.subplots()
    kind = rng.integers(5)
    if kind == 0:
        axis.bar(range(8), rng.uniform(1, 9, 8))
    elif kind == 1:
        axis.plot(np.cumsum(rng.normal(size=(50, 3)), axis=0), label=["a", "b", "c"])
        axis.legend()
    elif kind == 2:
        axis.scatter(*rng.normal(size=(2, 200)))
    elif kind == 3:
        axis.pie(rng.uniform(1, 5, 5), labels=list("abcde"))
    else:
        axis.imshow(rng.uniform(size=(12, 12)))
    axis.set(title=_words(rng, 4), xlabel=_words(rng, 1), ylabel=_words(rng, 1))
    data = io.BytesIO()
    figure.savefig(data)
    return Image.open(data).convert("RGB")


def page(rng: Random) -> Image.Image:
    """A page of text, 600x800."""
    image = Image.new("RGB", (600, 800), "white" if rng.random() < 0.7 else (245, 238, 220))
    draw, size, top = ImageDraw.Draw(image), int(rng.integers(13, 22)), 40
    while top < 760:
        line = _words(rng, int(rng.integers(5, 9)))[: int(520 / size * 1.9)]
        draw.text((40, top), line, (20, 20, 20), font=_font(size))
        top += int(size * (2.5 if rng.random() < 0.1 else 1.5))
    return image


def noise(rng: Random) -> Image.Image:
    """Uniform, Gaussian, grey or smooth noise, 256x256 or 512x512."""
    kind, side = rng.integers(4), int(rng.choice([256, 512]))
    if kind == 3:
        coarse = rng.integers(0, 256, (side // 16, side // 16, 3)).astype(np.uint8)
        return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
    pixels = [
        rng.integers(0, 256, (side, side, 3)),
        128 + rng.normal(0, 40, (side, side, 3)),
        np.repeat(rng.integers(0, 256, (side, side, 1)), 3, axis=2),
    ][kind]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def flat(rng: Random) -> Image.Image:
    """One colour, or a gradient between two, 512x512."""
    first, second = rng.integers(0, 256, (2, 3))
    ramp = np.linspace(0, 1, 512)[None, :, None] * np.ones((512, 1, 1)) * (rng.random() < 0.5)
    return Image.fromarray((first * (1 - ramp) + second * ramp).astype(np.uint8))


def screenshot(rng: Random) -> Image.Image:
    """A window with a title bar, a side bar, lines of text and buttons; wide or tall."""
    dark = rng.random() < 0.5
    paper, ink = ((30, 30, 34), (220, 220, 220)) if dark else ((248, 249, 250), (30, 30, 30))
    width, height = (1024, 640) if rng.random() < 0.7 else (480, 900)
    image = Image.new("RGB", (width, height), paper)
    draw, side = ImageDraw.Draw(image), int(width * 0.22)
    plain, mono = _font(15), _font(14, "DejaVu Sans Mono")
    draw.rectangle((0, 0, width, 36), fill=(50, 50, 60) if dark else (52, 101, 164))
    draw.text((12, 9), _words(rng, 3), "white", font=plain)
    draw.rectangle((0, 36, side, height), fill=(38, 38, 44) if dark else (235, 237, 240))
    for i in range(12):
        draw.text((14, 56 + i * 30), _words(rng, 1), ink, font=plain)
    top = 60
    while top < height - 40:
        if rng.random() < 0.2:
            colour = tuple(int(value) for value in rng.integers(60, 220, 3))
            draw.rounded_rectangle((side + 20, top, side + 140, top + 30), 8, fill=colour)
            draw.text((side + 34, top + 6), _words(rng, 1), "white", font=plain)
            top += 44
        else:
            line, font = _words(rng, int(rng.integers(2, 9))), mono if rng.random() < 0.5 else plain
            draw.text((side + 20, top), line, ink, font=font)
            top += 24
    return image


KINDS: dict[str, Callable[[Random], Image.Image]] = {
    "charts": chart,
    "pages of text": page,
    "noise": noise,
    "flat colour": flat,
    "screenshots": screenshot,
}
