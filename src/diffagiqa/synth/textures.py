"""Noise, and what a surface is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.floating]


def smooth_noise(seed: int, height: int, width: int, cells: float, stretch: float = 1.0) -> Array:
    """(height, width) smooth noise in [0, 1], ``cells`` per side; ``stretch`` > 1 draws it out along x.

    A function of the seed and the grid, not of the resolution: the same scene at another size has the
    same noise.
    """
    rows = max(2, round(cells)) + 3
    columns = max(2, round(cells * width / max(height, 1) / stretch)) + 3
    grid = np.random.default_rng(seed).random((rows, columns), dtype=np.float32)
    scale = ((columns - 3) / width, (rows - 3) / height)
    image = Image.fromarray(grid, mode="F").resize(
        (width, height),
        Image.Resampling.BICUBIC,
        box=(1.5, 1.5, 1.5 + scale[0] * width, 1.5 + scale[1] * height),
    )
    return np.clip(np.asarray(image, np.float32), 0, 1)


def fractal(
    seed: int, height: int, width: int, cells: float, octaves: int, stretch: float = 1.0
) -> Array:
    """Octaves of smooth noise, each twice as fine and half as strong; in [0, 1], mean one half."""
    total, weight, strength = np.zeros((height, width), np.float32), 0.0, 1.0
    for octave in range(octaves):
        fine = cells * 2**octave
        if octave and fine > max(height, width):
            break
        total += strength * smooth_noise(seed + 7919 * octave, height, width, fine, stretch)
        weight += strength
        strength *= 0.5
    return total / np.float32(weight)


def step(x: Array, width: float | Array) -> Array:
    """A soft step from 0 to 1 around x = 0, ``width`` wide."""
    t = np.clip(x / width + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


@dataclass(frozen=True, slots=True)
class Surface:
    """A material on a grid of (h, w) points.

    Attributes:
        shade: factor on the colour.
        mix: share of the contrast colour (stripes, dots, squares).
        bump: height for relief, in units of the thing; None for smooth.
        fray: added to the distance at the border, in units of the thing; None for a clean cut.
        gloss: strength of the highlight, 0 to 1.
        mirror: share of a reflected environment, 0 to 1.
        opacity: of the inside.
        sparkle: added light.
        tint: sRGB (0..1) that the colour is drawn towards, and its share.
    """

    shade: Array | float = 1.0
    mix: Array | float = 0.0
    bump: Array | None = None
    fray: Array | None = None
    gloss: float = 0.25
    mirror: float = 0.0
    opacity: float = 1.0
    sparkle: Array | None = None
    tint: tuple[tuple[float, float, float], float] | None = None


def plain(u: Array, v: Array, px: float, seed: int) -> Surface:
    """Painted, slightly uneven."""
    h, w = u.shape
    return Surface(shade=0.93 + 0.14 * fractal(seed, h, w, 6, 4))


def wooden(u: Array, v: Array, px: float, seed: int) -> Surface:
    """Grain: bent rings, drawn out along x, with fine fibres."""
    h, w = u.shape
    bend = smooth_noise(seed, h, w, 2.5, 2.5)
    rings = np.mod(v * 3.2 + bend * 3.0, 1.0)
    band = step(rings - 0.2, 0.4) * step(0.98 - rings, 0.1)
    fibre = smooth_noise(seed + 1, h, w, 60, 12)
    shade = 0.68 + 0.3 * band + 0.2 * (fibre - 0.5)
    return Surface(shade=shade, bump=0.012 * band, gloss=0.12, tint=((0.55, 0.34, 0.16), 0.22))


def metal(u: Array, v: Array, px: float, seed: int) -> Surface:
    """Brushed, mirroring a bright sky over a dark ground."""
    h, w = u.shape
    brushed = smooth_noise(seed, h, w, 90, 24)
    return Surface(shade=0.86 + 0.22 * brushed, gloss=0.9, mirror=0.6)


def glass(u: Array, v: Array, px: float, seed: int) -> Surface:
    """Clear, with strong highlights."""
    return Surface(shade=1.08, gloss=1.0, mirror=0.18, opacity=0.62)


def furry(u: Array, v: Array, px: float, seed: int) -> Surface:
    """Tufts that hang down and fray the border."""
    h, w = u.shape
    strands = smooth_noise(seed, w, h, 90, 7).T
    tufts = smooth_noise(seed + 1, w, h, 30, 2).T
    hair = 0.65 * strands + 0.35 * tufts
    return Surface(shade=0.62 + 0.7 * hair, bump=0.02 * hair, fray=0.09 * (hair - 0.6), gloss=0.0)


def striped(u: Array, v: Array, px: float, seed: int) -> Surface:
    """Bands of the colour and a contrast, at an angle."""
    angle = (seed % 7) * 0.45
    t = np.mod((u * np.cos(angle) + v * np.sin(angle)) * 2.6, 1.0).astype(np.float32)
    band = step(np.abs(t - 0.5) - 0.26, 2.6 * px * 1.5)
    return Surface(mix=band, gloss=0.2)


def dotted(u: Array, v: Array, px: float, seed: int) -> Surface:
    """Staggered dots of a contrast."""
    pitch = 0.36
    row = np.floor(v / pitch)
    a = np.mod(u / pitch + 0.5 * np.mod(row, 2), 1.0) - 0.5
    b = np.mod(v / pitch, 1.0) - 0.5
    return Surface(mix=step(0.29 - np.hypot(a, b), px / pitch * 1.5), gloss=0.2)


def checkered(u: Array, v: Array, px: float, seed: int) -> Surface:
    """Squares of the colour and a contrast."""
    wave = np.sin(u * np.pi / 0.27) * np.sin(v * np.pi / 0.27)
    return Surface(mix=step(wave, max(0.1, px * 14)), gloss=0.2)


def marble(u: Array, v: Array, px: float, seed: int) -> Surface:
    """Light veins along bent lines, on a cloudy ground."""
    h, w = u.shape
    cloud = fractal(seed, h, w, 3, 5)
    vein = np.abs(np.sin((u * 1.6 + v * 1.1 + 5.0 * cloud) * 2.4))
    return Surface(
        shade=0.84 + 0.3 * cloud,
        mix=0.75 * np.clip(1 - vein / 0.16, 0, 1) ** 1.5,
        gloss=0.7,
        mirror=0.1,
    )


def knitted(u: Array, v: Array, px: float, seed: int) -> Surface:
    """Rows of V-shaped stitches."""
    h, w = u.shape
    a = np.mod(u / 0.1, 1.0) - 0.5
    stitch = 0.5 + 0.5 * np.sin((v / 0.1 + 1.1 * np.abs(a)) * 2 * np.pi)
    relief = stitch * (1 - 2.6 * a * a)
    fuzz = smooth_noise(seed, h, w, 50)
    return Surface(
        shade=0.62 + 0.42 * relief + 0.18 * fuzz,
        bump=0.02 * relief,
        fray=0.05 * (fuzz - 0.5),
        gloss=0.0,
    )


def glittery(u: Array, v: Array, px: float, seed: int) -> Surface:
    """Sparks of many sizes."""
    h, w = u.shape
    fine = smooth_noise(seed, h, w, 44)
    coarse = smooth_noise(seed + 1, h, w, 9)
    spark = np.clip((fine + 0.25 * coarse - 0.86) * 5, 0, 1)
    return Surface(shade=0.8 + 0.4 * smooth_noise(seed + 2, h, w, 70), sparkle=spark, gloss=0.5)


SURFACES: dict[str, Callable[[Array, Array, float, int], Surface]] = {
    "": plain,
    "wooden": wooden,
    "metal": metal,
    "glass": glass,
    "furry": furry,
    "striped": striped,
    "dotted": dotted,
    "checkered": checkered,
    "marble": marble,
    "knitted": knitted,
    "glittery": glittery,
}
