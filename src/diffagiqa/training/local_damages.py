"""Local defects: something is melted, doubled or gone. They act where a thing is, if that is known.

Each is a function of (image, severity, rng, region) giving the new image and the (H, W) mask of where
it acted; conventions as in ``distortions``. ``region`` is (H, W) in [0, 1]: the thing's coverage.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from diffagiqa.training.distortions import grid_of, random_field, sampled, side

Array = NDArray[np.floating]
Rng = np.random.Generator
INSIDE = 0.3
"""Coverage above which a position counts as the thing's."""


def random_region(rng: Rng, height: int, width: int) -> Array:
    """(height, width) a soft blob of 15 to 25 % of the side in radius, away from the border."""
    length = float(np.sqrt(height * width))
    rx, ry = rng.uniform(0.15, 0.25, 2) * length
    cx, cy = rng.uniform(0.3, 0.7) * width, rng.uniform(0.3, 0.7) * height
    x, y = grid_of(height, width)
    wobble = 0.12 * random_field(rng, height, width, 5)[..., 0]
    radius = np.hypot((x - cx) / rx, (y - cy) / ry) + wobble
    return np.clip((1 - radius) * 8, 0, 1).astype(np.float32)


def _soft(mask: Array, sigma: float) -> Array:
    """Grown and softened, in [0, 1]."""
    return np.clip(1.6 * ndimage.gaussian_filter(mask, sigma, mode="nearest"), 0, 1)


def _box(region: Array) -> tuple[float, float, float, float]:
    """Centre x, y, width and height of a region, in pixels."""
    ys, xs = np.nonzero(region > INSIDE)
    left, right, top, bottom = xs.min(), xs.max() + 1, ys.min(), ys.max() + 1
    return (left + right) / 2, (top + bottom) / 2, float(right - left), float(bottom - top)


def melted_part(image: Array, severity: float, rng: Rng, region: Array) -> tuple[Array, Array]:
    """The thing runs down and smears: its pixels come from above, by a ragged amount."""
    h, w = image.shape[:2]
    _, cy, wide, high = _box(region)
    drip = np.abs(random_field(rng, h, w, 14)[..., 0]) + 0.4
    sway = random_field(rng, h, w, 7)[..., 0]
    x, y = grid_of(*image.shape[:2])
    down = np.clip((y - cy) / max(high, 1) + 0.6, 0, 1.2)
    near = ndimage.gaussian_filter(region, 0.05 * side(image), mode="nearest")
    grown = np.clip(2.4 * near - 0.02, 0, 1).astype(np.float32)
    run = severity * 0.24 * high * drip * down * grown
    bend = severity * 0.12 * wide * sway * grown
    return sampled(image, x + bend, y - run), grown


def duplicated_part(image: Array, severity: float, rng: Rng, region: Array) -> tuple[Array, Array]:
    """A second copy of half the thing, shifted and turned, fades in beside it."""
    cx, cy, wide, high = _box(region)
    angle, turn = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(-0.5, 0.5))
    dx, dy = 0.55 * wide * np.cos(angle), 0.4 * high * np.sin(angle)
    if cx + dx < 0.1 * image.shape[1] or cx + dx > 0.9 * image.shape[1]:
        dx = -dx
    if cy + dy < 0.1 * image.shape[0] or cy + dy > 0.9 * image.shape[0]:
        dy = -dy
    x, y = grid_of(*image.shape[:2])
    c, s = np.cos(turn), np.sin(turn)
    u, v = x - cx - dx, y - cy - dy
    source_x, source_y = cx + c * u + s * v, cy - s * u + c * v
    inside = (
        (source_x >= 0)
        & (source_x < image.shape[1])
        & (source_y >= 0)
        & (source_y < image.shape[0])
    )
    # the half that lies towards the copy, cut with a soft edge
    along = (u * np.cos(angle) / max(wide, 1) + v * np.sin(angle) / max(high, 1)) * 2
    half = np.clip((along + 0.35) * 6, 0, 1)
    copied = sampled(region[..., None], source_x, source_y)[..., 0] * half * inside
    copy = sampled(image, source_x, source_y)
    share = (copied * severity).astype(np.float32)
    return image + (copy - image) * share[..., None], np.clip(copied, 0, 1).astype(np.float32)


def missing_part(image: Array, severity: float, rng: Rng, region: Array) -> tuple[Array, Array]:
    """A bite out of the thing, filled with what surrounds it: up to 70 % of it."""
    cx, cy, wide, high = _box(region)
    angle = float(rng.uniform(0, 2 * np.pi))
    wobble = 0.14 * random_field(rng, region.shape[0], region.shape[1], 6)[..., 0]
    x, y = grid_of(*image.shape[:2])
    depth = (
        (x - cx) * np.cos(angle) / max(wide, 1) + (y - cy) * np.sin(angle) / max(high, 1)
    ) + wobble
    edge = float(np.quantile(depth[region > INSIDE], 1 - 0.7 * severity))
    bite = np.clip((depth - edge) * 14 + 0.5, 0, 1) * _soft(region, 0.006 * side(image))
    bite = (bite * min(1.0, 6 * severity)).astype(np.float32)
    outside = 1 - _soft(region, 0.012 * side(image)) + 1e-4
    weight = ndimage.gaussian_filter(outside, 0.09 * side(image), mode="nearest") + 1e-5
    around = ndimage.gaussian_filter(
        image * outside[..., None], (0.09 * side(image), 0.09 * side(image), 0), mode="nearest"
    )
    return image + (around / weight[..., None] - image) * bite[..., None], bite
