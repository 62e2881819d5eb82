"""Rendering styles: how things are drawn, how the background is prepared, how the picture is finished.

Every function takes and gives (side, side, 3) sRGB in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from diffagiqa.synth.textures import fractal, smooth_noise, step
from diffagiqa.synth.things import Look

Array = NDArray[np.floating]


def _luma(image: Array) -> Array:
    return image @ np.array((0.299, 0.587, 0.114), np.float32)


def _blur(image: Array, sigma: float) -> Array:
    return ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="nearest", truncate=2.5)


def _moved(image: Array, dx: Array, dy: Array) -> Array:
    """Each pixel from (x + dx, y + dy), displacements in pixels, nearest."""
    n = len(image)
    line = np.arange(n, dtype=np.float32)
    x = np.clip(np.rint(line[None, :] + dx), 0, n - 1).astype(np.intp)
    y = np.clip(np.rint(line[:, None] + dy), 0, n - 1).astype(np.intp)
    return image[y, x]


def keep(image: Array, seed: int) -> Array:
    """The picture as it is."""
    return image


def flatten(image: Array, seed: int) -> Array:
    """A background in few steps of brightness, hues kept."""
    smooth = _blur(image, len(image) / 160)
    luma = _luma(smooth)
    steps = np.rint(luma * 11) / 11
    return smooth * ((steps + 0.02) / (luma + 0.02))[..., None]


def photo(image: Array, seed: int) -> Array:
    """A touch of contrast and vignetting."""
    n = len(image)
    line = (np.arange(n, dtype=np.float32) + 0.5) / n - 0.5
    falloff = 1.03 - 0.28 * (line[None, :] ** 2 + line[:, None] ** 2)
    curve = image * image * (3 - 2 * image)
    return (0.7 * image + 0.3 * curve) * falloff[..., None]


def watercolor(image: Array, seed: int) -> Array:
    """Pigment that pools at edges and in the grain of the paper; white borders."""
    n = len(image)
    shift = n * 0.014
    image = _moved(
        image,
        shift * (fractal(seed, n, n, 14, 3) - 0.5),
        shift * (fractal(seed + 1, n, n, 14, 3) - 0.5),
    )
    luma = _luma(image)
    pooled = np.clip(np.abs(luma - ndimage.gaussian_filter(luma, n / 90, truncate=2.5)) * 4, 0, 0.8)
    blotch, paper = fractal(seed + 2, n, n, 4, 6), smooth_noise(seed + 3, n, n, 170)
    strength = 0.24 + 0.85 * blotch + 0.3 * (paper - 0.5) + pooled
    gray = luma[..., None]
    pure = np.clip(gray + (image - gray) * 1.2, 0.04, 1)
    washed = np.power(pure, strength[..., None])
    line = (np.arange(n, dtype=np.float32) + 0.5) / n
    side = np.minimum(line, 1 - line)
    edge = np.minimum(side[None, :], side[:, None])
    inside = step(edge - 0.03 - 0.05 * (blotch - 0.4), 0.02)
    sheet = (0.965 + 0.05 * (paper - 0.5))[..., None] * np.array((1, 0.99, 0.96), np.float32)
    return sheet + (washed * sheet - sheet) * inside[..., None]


def oil_painting(image: Array, seed: int) -> Array:
    """Colour drawn along bent strokes, whose relief catches the light."""
    n = len(image)
    angle = 2 * np.pi * fractal(seed, n, n, 2.5, 2)
    cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    dab = smooth_noise(seed + 1, n, n, 50) - 0.5  # neighbours of one dab take one colour
    jitter = np.round(dab * 5) / 5 * n * 0.011
    bristle = smooth_noise(seed + 2, n, n, 90)
    taps = 4 if n <= 256 else 7
    colour, relief = np.zeros_like(image), np.zeros((n, n), np.float32)
    for along in np.linspace(-n / 100, n / 100, taps, dtype=np.float32):
        colour += _moved(image, cos * along - sin * jitter, sin * along + cos * jitter)
        relief += _moved(bristle, cos * 2 * along, sin * 2 * along)
    tone = relief / taps
    lean = max(1, n // 256)
    emboss = (tone - np.roll(tone, (lean, lean), (0, 1))) * (0.36 * n / (256 * lean))
    rich = colour / taps
    gray = _luma(rich)[..., None]
    rich = gray + (rich - gray) * 1.15
    return rich * (1 + 0.5 * (tone - 0.5))[..., None] + np.clip(emboss, -0.16, 0.16)[..., None]


def pencil_sketch(image: Array, seed: int) -> Array:
    """Coloured pencil: hatching on white paper, crossed where it is dark, contours drawn last."""
    n = len(image)
    luma = _luma(image)
    line = np.arange(n, dtype=np.float32) / n
    bend = fractal(seed, n, n, 4, 2) * 0.06
    x, y = line[None, :] + bend, line[:, None] + bend
    grain, tooth = smooth_noise(seed + 1, n, n, 60), smooth_noise(seed + 2, n, n, 180)
    first = 0.5 + 0.5 * np.sin((x + 0.9 * y) * 2 * np.pi * 44 + 1.5 * grain)
    second = 0.5 + 0.5 * np.sin((x - 1.1 * y) * 2 * np.pi * 38 + 1.5 * grain)
    dark = 1 - luma
    stroke = (
        0.42 + 0.55 * dark + 0.42 * (first - 0.5) + 0.4 * (second - 0.5) * step(dark - 0.5, 0.3)
    )
    stroke = np.clip(stroke + 0.3 * (tooth - 0.5), 0.8 * dark * dark, 1)
    gray = luma[..., None]
    pigment = np.clip(gray + (image - gray) * 1.3, 0, 1)
    drawn = 1 - (1 - pigment) * stroke[..., None]
    gy, gx = np.gradient(ndimage.gaussian_filter(luma, n / 300, truncate=2.5))
    contour = np.clip(np.hypot(gx, gy) * n / 18 - 0.3, 0, 1) * (0.4 + 0.6 * grain)
    paper = np.array((0.985, 0.98, 0.965), np.float32)
    return drawn * (1 - 0.7 * contour)[..., None] * paper


_BAYER = (
    np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]], np.float32) + 0.5
) / 16 - 0.5


def pixel_art(image: Array, seed: int) -> Array:
    """Few colours, ordered dither; the picture given is already small."""
    n = len(image)
    dither = np.tile(_BAYER, (n // 4 + 1, n // 4 + 1))[:n, :n]
    luma = _luma(image)
    steps = np.rint(luma * 12 + 0.6 * dither) / 12
    toned = image * ((steps + 0.03) / (luma + 0.03))[..., None]
    return np.rint(np.clip(toned, 0, 1) * 15) / 15


@dataclass(frozen=True, slots=True)
class Style:
    """One way to render.

    Attributes:
        look: how things are drawn.
        prepare: background -> background.
        finish: picture -> picture.
        grid: side of the pixel raster, as a function of the picture's size; None for none.
    """

    look: Look
    prepare: Callable[[Array, int], Array]
    finish: Callable[[Array, int], Array]
    grid: Callable[[int], int] | None = None


RENDERERS: dict[str, Style] = {
    "photo": Style(Look(), keep, photo),
    "cartoon": Style(Look("cel", outline=0.045, detail=0.25), flatten, keep),
    "watercolor": Style(Look("wash", wobble=0.05, detail=0.8), keep, watercolor),
    "oil painting": Style(Look("soft", wobble=0.02), keep, oil_painting),
    "pixel art": Style(
        Look("cel", outline=0.05, detail=0.5),
        flatten,
        pixel_art,
        lambda size: 32 if size < 96 else 64,
    ),
    "pencil sketch": Style(
        Look("wash", outline=0.03, ink=(0.2, 0.2, 0.22), wobble=0.06, detail=0.7),
        keep,
        pencil_sketch,
    ),
}
