"""Signed distance functions, and what a thing is made of: parts with a shape, a paint and a bulge.

A thing lives in its own units: x from -1 (left) to 1 (right), y from -1 (top) to 1 (bottom). Distances
are negative inside. Formulas after Inigo Quilez, "2D distance functions" (iquilezles.org).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Distance = Callable[[Array, Array], Array]


@dataclass(frozen=True, slots=True)
class Shape:
    """A distance function and the box (left, top, right, bottom) outside which it is positive."""

    distance: Distance
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Part:
    """A painted shape.

    Attributes:
        shape: where it is.
        paint: "main", "light" or "dark" (of the thing's colour), or a key of ``PAINTS``.
        bulge: width of the rounded border, in the thing's units; 0 is a flat decal.
    """

    shape: Shape
    paint: str = "main"
    bulge: float = 0.25


# A kind: its variations are drawn from the generator.
Builder = Callable[[np.random.Generator], list[Part]]


def both(side: Callable[[int], Sequence[Part]]) -> list[Part]:
    """The parts of the left side, ``side(-1)``, and of the right one, ``side(1)``."""
    return [*side(-1), *side(1)]


PAINTS: dict[str, tuple[int, int, int]] = {  # sRGB; paints that do not follow the thing's colour
    "ink": (28, 26, 30),
    "white": (246, 246, 242),
    "cream": (242, 226, 190),
    "glass": (150, 198, 224),
    "steel": (160, 166, 174),
    "tyre": (44, 44, 48),
    "bark": (104, 70, 42),
    "leaf": (58, 132, 48),
    "gold": (236, 186, 58),
    "flame": (250, 150, 30),
    "beak": (244, 150, 34),
    "skin": (228, 178, 140),
    "slate": (92, 84, 92),
    "clay": (184, 98, 62),
    "rose": (230, 130, 140),
    "cone": (212, 158, 92),
}


def circle(x: float, y: float, r: float) -> Shape:
    """A disc."""
    return Shape(lambda u, v: np.hypot(u - x, v - y) - r, (x - r, y - r, x + r, y + r))


def ellipse(x: float, y: float, rx: float, ry: float, angle: float = 0.0) -> Shape:
    """An ellipse turned by ``angle`` radians; the distance is first order, exact at the border."""
    c, s = float(np.cos(angle)), float(np.sin(angle))

    def distance(u: Array, v: Array) -> Array:
        du, dv = u - x, v - y
        p, q = (du * c + dv * s) / rx, (dv * c - du * s) / ry
        k0 = np.sqrt(p * p + q * q)
        k1 = np.sqrt((p / rx) ** 2 + (q / ry) ** 2) + 1e-6
        return np.maximum(k0 * (k0 - 1) / k1, -min(rx, ry)) + np.where(
            k0 < 0.05, -min(rx, ry) * (1 - k0 * 20), 0
        ).astype(np.float32)

    hx, hy = float(np.hypot(rx * c, ry * s)), float(np.hypot(rx * s, ry * c))
    return Shape(distance, (x - hx, y - hy, x + hx, y + hy))


def box(left: float, top: float, right: float, bottom: float, r: float = 0.0) -> Shape:
    """A rectangle with corners of radius ``r``."""
    cx, cy = (left + right) / 2, (top + bottom) / 2
    hx, hy = (right - left) / 2 - r, (bottom - top) / 2 - r

    def distance(u: Array, v: Array) -> Array:
        qx, qy = np.abs(u - cx) - hx, np.abs(v - cy) - hy
        outside = np.hypot(np.maximum(qx, 0), np.maximum(qy, 0))
        return outside + np.minimum(np.maximum(qx, qy), 0) - r

    return Shape(distance, (left, top, right, bottom))


def line(x0: float, y0: float, x1: float, y1: float, r0: float, r1: float | None = None) -> Shape:
    """A stroke with round ends, its radius going from ``r0`` to ``r1``."""
    end = r0 if r1 is None else r1
    dx, dy = x1 - x0, y1 - y0
    norm = dx * dx + dy * dy + 1e-9

    def distance(u: Array, v: Array) -> Array:
        t = np.clip(((u - x0) * dx + (v - y0) * dy) / norm, 0, 1)
        return np.hypot(u - x0 - t * dx, v - y0 - t * dy) - (r0 + (end - r0) * t)

    r = max(r0, end)
    return Shape(distance, (min(x0, x1) - r, min(y0, y1) - r, max(x0, x1) + r, max(y0, y1) + r))


def polygon(points: Sequence[tuple[float, float]], r: float = 0.0) -> Shape:
    """A polygon, grown and rounded by ``r``."""
    p = np.asarray(points, np.float32)
    following = np.roll(p, -1, axis=0)

    def distance(u: Array, v: Array) -> Array:
        best = np.full(np.broadcast(u, v).shape, 1e9, np.float32)
        inside = np.zeros(best.shape, bool)
        for (ax, ay), (bx, by) in zip(p, following, strict=True):
            ex, ey = bx - ax, by - ay
            wx, wy = u - ax, v - ay
            t = np.clip((wx * ex + wy * ey) / (ex * ex + ey * ey + 1e-9), 0, 1)
            best = np.minimum(best, (wx - t * ex) ** 2 + (wy - t * ey) ** 2)
            if ey != 0:
                crosses = (ay > v) != (by > v)
                inside ^= crosses & (wx < ex * wy / ey)
        return np.where(inside, -1, 1).astype(np.float32) * np.sqrt(best) - r

    (left, top), (right, bottom) = p.min(0), p.max(0)
    return Shape(distance, (float(left) - r, float(top) - r, float(right) + r, float(bottom) + r))


def ring(x: float, y: float, r: float, width: float) -> Shape:
    """A circular band of half width ``width``."""
    edge = r + width
    return Shape(
        lambda u, v: np.abs(np.hypot(u - x, v - y) - r) - width,
        (x - edge, y - edge, x + edge, y + edge),
    )


def star(x: float, y: float, r: float, inner: float, arms: int) -> Shape:
    """A star polygon with ``arms`` tips at radius ``r`` and notches at ``inner * r``."""
    angles = -np.pi / 2 + np.arange(2 * arms) * np.pi / arms
    radii = np.where(np.arange(2 * arms) % 2 == 0, r, inner * r)
    corners = zip(x + radii * np.cos(angles), y + radii * np.sin(angles), strict=True)
    return polygon([(float(a), float(b)) for a, b in corners], 0.03 * r)


def union(*shapes: Shape, smooth: float = 0.0) -> Shape:
    """All of them; ``smooth`` rounds the joints (polynomial smooth minimum)."""

    def distance(u: Array, v: Array) -> Array:
        d = shapes[0].distance(u, v)
        for shape in shapes[1:]:
            e = shape.distance(u, v)
            if smooth:
                h = np.maximum(smooth - np.abs(d - e), 0) / smooth
                d = np.minimum(d, e) - h * h * (smooth / 4)
            else:
                d = np.minimum(d, e)
        return d

    boxes = np.array([shape.box for shape in shapes])
    left, top = boxes[:, :2].min(0) - smooth / 4
    right, bottom = boxes[:, 2:].max(0) + smooth / 4
    return Shape(distance, (float(left), float(top), float(right), float(bottom)))


def cut(shape: Shape, *others: Shape) -> Shape:
    """The first without the others."""

    def distance(u: Array, v: Array) -> Array:
        d = shape.distance(u, v)
        for other in others:
            d = np.maximum(d, -other.distance(u, v))
        return d

    return Shape(distance, shape.box)


def common(shape: Shape, *others: Shape) -> Shape:
    """What lies in all of them; the box is the first's."""

    def distance(u: Array, v: Array) -> Array:
        d = shape.distance(u, v)
        for other in others:
            d = np.maximum(d, other.distance(u, v))
        return d

    return Shape(distance, shape.box)
