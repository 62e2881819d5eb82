"""The brushes that backgrounds are painted with, on (n, n, 3) sRGB in [0, 1]."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diffagiqa.synth.textures import fractal, step

Array = NDArray[np.floating]
Colour = tuple[float, float, float]


def rgb(*colour: float) -> Array:
    """(3,) float32."""
    return np.array(colour, np.float32)


def blend(a: Array, b: Array | Colour, share: Array) -> Array:
    """``a`` covered with ``b`` by a share in [0, 1]."""
    share = share[..., None] if share.ndim == 2 else share
    return a + (np.asarray(b, np.float32) - a) * share


def axes(n: int) -> tuple[Array, Array]:
    """Pixel centres in [0, 1]: x as (1, n), y as (n, 1)."""
    line = (np.arange(n, dtype=np.float32) + 0.5) / n
    return line[None, :], line[:, None]


def vertical(n: int, top: Colour, bottom: Colour, end: float = 1.0) -> Array:
    """A gradient from top to bottom, reached at ``end``."""
    t = np.clip(axes(n)[1] / end, 0, 1)[..., None]
    return np.broadcast_to(rgb(*top) + (rgb(*bottom) - rgb(*top)) * t, (n, n, 3)).astype(np.float32)


def clouds(image: Array, seed: int, amount: float, colour: Colour = (1.0, 1.0, 1.0)) -> Array:
    """Clouds over the whole image."""
    n = len(image)
    cover = fractal(seed, n, n, 4, 5, 1.8)
    return blend(image, colour, np.clip((cover - 0.5) * 5 * amount, 0, 0.92))


def ground_plane(
    n: int, seed: int, horizon: float, near: Colour, far: Colour, rough: float, fine: float
) -> tuple[Array, Array]:
    """A ground plane seen to the horizon, its texture finer with distance; and the sky's mask."""
    _, y = axes(n)
    depth = np.clip((y - horizon) / (1 - horizon), 0, 1)
    base = rgb(*far) + (rgb(*near) - rgb(*far)) * depth[..., None]
    coarse, detail = fractal(seed, n, n, 6, 3, 3.0), fractal(seed + 3, n, n, fine, 3, 1.5)
    shade = 1 + rough * ((coarse - 0.5) * 1.0 + (detail - 0.5) * (0.35 + 0.65 * depth))
    sky = step(horizon - y, 2.5 / n)
    return (base * shade[..., None]).astype(np.float32), sky


def profile(seed: int, n: int, cells: float, octaves: int) -> Array:
    """(1, n) fractal line in [0, 1]."""
    rng = np.random.default_rng(seed)
    x = np.linspace(0, 1, n, dtype=np.float32)
    line = np.zeros(n, np.float32)
    for octave in range(octaves):
        knots = int(cells * 2**octave) + 2
        line += np.interp(x * (knots - 1), np.arange(knots), rng.random(knots)) / 2**octave
    return (line / 2)[None, :].astype(np.float32)


def hills(
    image: Array,
    seed: int,
    base: float,
    height: float,
    colour: Colour,
    cells: float = 3,
    rough: int = 4,
) -> Array:
    """A ridge in front of the image so far."""
    n = len(image)
    ridge = base - height * profile(seed, n, cells, rough)
    _, y = axes(n)
    mask = step(y - ridge, 2.0 / n)
    relief = 0.9 + 0.25 * fractal(seed + 5, n, n, 10, 3)
    lit = (
        rgb(*colour)
        * (relief * (1 + 0.25 * np.clip((ridge + height * 0.7 - y) / height, -1, 1)))[..., None]
    )
    return blend(image, lit, mask)


def disc(
    image: Array,
    x: float,
    y: float,
    r: float,
    colour: Colour,
    opacity: float = 1.0,
    soft: float = 1.5,
) -> None:
    """Paint a disc in place, in its own box."""
    n = len(image)
    reach = r + soft / n
    left, right = max(0, int((x - reach) * n)), min(n, int((x + reach) * n) + 2)
    top, bottom = max(0, int((y - reach) * n)), min(n, int((y + reach) * n) + 2)
    if left >= right or top >= bottom:
        return
    u = (np.arange(left, right, dtype=np.float32) + 0.5) / n - x
    v = (np.arange(top, bottom, dtype=np.float32) + 0.5) / n - y
    d = np.hypot(u[None, :], v[:, None]) - r
    share = step(-d, soft / n) * np.float32(opacity)
    patch = image[top:bottom, left:right]
    patch += (np.asarray(colour, np.float32) - patch) * share[..., None]


def rect(
    image: Array, left: float, top: float, right: float, bottom: float, colour: Colour
) -> None:
    """Paint a rectangle in place."""
    n = len(image)
    image[round(top * n) : round(bottom * n), max(0, round(left * n)) : round(right * n)] = colour


def water_plane(n: int, seed: int, horizon: float, near: Colour, far: Colour) -> Array:
    """Water seen to the horizon."""
    ground, _ = ground_plane(n, seed, horizon, near, far, 0.1, 40)
    _, y = axes(n)
    depth = np.clip((y - horizon) / (1 - horizon), 0, 1)
    wave = fractal(seed + 4, n, n, 26, 3, 5.0)
    glint = np.clip((wave - 0.56) * 6, 0, 1) * (0.25 + 0.5 * (1 - depth))
    return blend(ground * (0.8 + 0.4 * wave)[..., None], (0.92, 0.97, 1.0), glint)


def stars(image: Array, seed: int, number: int, below: float = 1.0) -> None:
    """Paint stars in place, in the upper ``below`` of the image."""
    rng = np.random.default_rng(seed)
    for x, y, r, a in rng.random((number, 4)):
        disc(
            image,
            float(x),
            float(y) * below,
            0.0015 + 0.004 * float(r) ** 3,
            (1, 0.97, 0.9),
            0.35 + 0.65 * float(a),
        )
