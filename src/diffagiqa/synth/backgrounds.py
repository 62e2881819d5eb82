"""Backgrounds: functions of (seed, side) giving (side, side, 3) sRGB in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from diffagiqa.synth.brushes import (
    axes,
    blend,
    clouds,
    disc,
    ground_plane,
    hills,
    profile,
    rect,
    rgb,
    stars,
    vertical,
    water_plane,
)
from diffagiqa.synth.textures import fractal, smooth_noise, step

Array = NDArray[np.floating]


def meadow(seed: int, n: int) -> Array:
    sky = clouds(vertical(n, (0.36, 0.62, 0.92), (0.8, 0.9, 0.97), 0.55), seed, 0.8)
    sky = hills(sky, seed + 1, 0.53, 0.12, (0.34, 0.52, 0.34))
    ground, mask = ground_plane(n, seed + 2, 0.5, (0.3, 0.52, 0.14), (0.52, 0.68, 0.3), 0.5, 70)
    blades = fractal(seed + 9, n, n, 60, 3, 0.4) * step(axes(n)[1] - 0.5, 0.3)
    return blend(ground * (0.85 + 0.3 * blades)[..., None], sky, np.broadcast_to(mask, (n, n)))


def desert(seed: int, n: int) -> Array:
    sky = vertical(n, (0.42, 0.66, 0.9), (0.96, 0.9, 0.76), 0.5)
    sky = hills(sky, seed, 0.52, 0.14, (0.8, 0.58, 0.36), 2, 3)
    ground, mask = ground_plane(n, seed + 1, 0.5, (0.86, 0.66, 0.36), (0.95, 0.82, 0.56), 0.2, 90)
    x, y = axes(n)
    wave = np.sin(y**2 * 70 + 3 * smooth_noise(seed + 2, n, n, 4) * 4 + x * 2) * 0.05
    return blend(ground * (1 + wave)[..., None], sky, np.broadcast_to(mask, (n, n)))


def snow(seed: int, n: int) -> Array:
    sky = vertical(n, (0.6, 0.72, 0.84), (0.88, 0.92, 0.96), 0.55)
    sky = hills(sky, seed, 0.52, 0.16, (0.62, 0.7, 0.8), 3, 4)
    ground, mask = ground_plane(n, seed + 1, 0.5, (0.93, 0.95, 0.99), (0.82, 0.87, 0.95), 0.12, 60)
    image = blend(ground, sky, np.broadcast_to(mask, (n, n)))
    rng = np.random.default_rng(seed)
    for fx, fy, r in zip(rng.random(26), rng.random(26), rng.uniform(0.004, 0.01, 26), strict=True):
        disc(image, float(fx), float(fy), float(r), (1, 1, 1), 0.9)
    return image


def beach(seed: int, n: int) -> Array:
    sky = clouds(vertical(n, (0.34, 0.64, 0.93), (0.82, 0.92, 0.98), 0.4), seed, 0.6)
    water = water_plane(n, seed + 1, 0.36, (0.1, 0.5, 0.66), (0.3, 0.68, 0.78))
    _, y = axes(n)
    image = blend(water, sky, np.broadcast_to(step(0.36 - y, 2 / n), (n, n)))
    shore = 0.56 + 0.03 * profile(seed + 2, n, 4, 2)
    sand, _ = ground_plane(n, seed + 3, 0.5, (0.9, 0.78, 0.54), (0.8, 0.68, 0.46), 0.16, 110)
    image = blend(image, sand, step(y - shore, 3 / n))
    foam = np.exp(-(((y - shore) / 0.012) ** 2)) * (0.6 + 0.4 * smooth_noise(seed + 4, n, n, 50))
    return blend(image, (1, 1, 1), foam.astype(np.float32))


def sea(seed: int, n: int) -> Array:
    sky = clouds(vertical(n, (0.4, 0.66, 0.92), (0.86, 0.93, 0.97), 0.45), seed, 0.9)
    water = water_plane(n, seed + 1, 0.45, (0.04, 0.24, 0.48), (0.2, 0.5, 0.7))
    _, y = axes(n)
    return blend(water, sky, np.broadcast_to(step(0.45 - y, 2 / n), (n, n)))


def underwater(seed: int, n: int) -> Array:
    image = vertical(n, (0.2, 0.62, 0.78), (0.03, 0.16, 0.34))
    x, y = axes(n)
    rays = profile(seed, n, 10, 2)
    slanted = np.take_along_axis(
        np.repeat(rays, n, 0), np.clip(((x + 0.25 * y) * n * 0.8).astype(int), 0, n - 1), 1
    )
    image = image * (0.85 + 0.5 * slanted * (1 - y) ** 1.5)[..., None]
    image = hills(image.astype(np.float32), seed + 1, 0.99, 0.14, (0.5, 0.48, 0.34), 3, 3)
    rng = np.random.default_rng(seed)
    for fx, fy, r in zip(
        rng.random(18), rng.random(18), rng.uniform(0.004, 0.014, 18), strict=True
    ):
        disc(image, float(fx), float(fy), float(r), (0.8, 0.95, 1.0), 0.55)
        disc(image, float(fx), float(fy), float(r) * 0.7, (0.3, 0.62, 0.75), 0.5)
    return image


def sky(seed: int, n: int) -> Array:
    return clouds(vertical(n, (0.22, 0.5, 0.9), (0.68, 0.85, 0.98)), seed, 1.0)


def space(seed: int, n: int) -> Array:
    image = vertical(n, (0.02, 0.02, 0.07), (0.05, 0.03, 0.12))
    nebula = fractal(seed, n, n, 3, 5)
    image = blend(image, (0.4, 0.14, 0.5), np.clip((nebula - 0.48) * 2.4, 0, 0.6))
    image = blend(
        image, (0.08, 0.34, 0.5), np.clip((fractal(seed + 1, n, n, 4, 4) - 0.54) * 3, 0, 0.6)
    )
    stars(image, seed + 2, 90)
    rng = np.random.default_rng(seed + 3)
    x, y, r = rng.uniform(0.06, 0.94), rng.uniform(0.06, 0.25), rng.uniform(0.04, 0.1)
    disc(image, x, y, r, (0.8, 0.62, 0.46))
    disc(image, x + 0.3 * r, y + 0.15 * r, r * 0.8, (0.56, 0.4, 0.34), 0.5, 6)
    return image


def night(seed: int, n: int) -> Array:
    image = vertical(n, (0.03, 0.05, 0.16), (0.16, 0.2, 0.38), 0.6)
    stars(image, seed, 70, 0.55)
    rng = np.random.default_rng(seed)
    x, y = float(rng.uniform(0.1, 0.9)), float(rng.uniform(0.08, 0.2))
    u, v = axes(n)
    halo = np.exp(-((u - x) ** 2 + (v - y) ** 2) / 0.02) * 0.35
    image = blend(image, (0.8, 0.82, 0.9), halo.astype(np.float32))
    disc(image, x, y, 0.06, (0.97, 0.95, 0.84))
    disc(image, x + 0.02, y - 0.012, 0.013, (0.85, 0.83, 0.74))
    image = hills(image, seed + 1, 0.62, 0.12, (0.08, 0.1, 0.2))
    ground, mask = ground_plane(n, seed + 2, 0.6, (0.14, 0.2, 0.26), (0.18, 0.24, 0.34), 0.4, 60)
    return blend(ground, image, np.broadcast_to(mask, (n, n)))


def sunset(seed: int, n: int) -> Array:
    image = vertical(n, (0.3, 0.2, 0.46), (0.98, 0.6, 0.28), 0.58)
    image = clouds(image, seed, 0.6, (0.96, 0.5, 0.44))
    x = float(np.random.default_rng(seed).uniform(0.2, 0.8))
    u, v = axes(n)
    glow = np.exp(-((u - x) ** 2 + (v - 0.52) ** 2) / 0.03) * 0.8
    image = blend(image, (1.0, 0.86, 0.5), glow.astype(np.float32))
    disc(image, x, 0.52, 0.07, (1.0, 0.95, 0.74))
    image = hills(image, seed + 1, 0.6, 0.07, (0.34, 0.18, 0.28))
    ground, mask = ground_plane(n, seed + 2, 0.58, (0.34, 0.24, 0.28), (0.6, 0.38, 0.32), 0.3, 60)
    return blend(ground, image, np.broadcast_to(mask, (n, n)))


def room(seed: int, n: int) -> Array:
    rng = np.random.default_rng(seed)
    walls = (
        (0.86, 0.78, 0.66),
        (0.7, 0.8, 0.78),
        (0.84, 0.72, 0.72),
        (0.74, 0.76, 0.86),
        (0.8, 0.84, 0.7),
    )
    wall = rgb(*walls[int(rng.integers(len(walls)))])
    x, y = axes(n)
    paper = (
        1 + 0.05 * step(np.sin(x * 2 * np.pi * 11), 0.6) + 0.04 * (fractal(seed, n, n, 8, 4) - 0.5)
    )
    image = (wall * (paper * (1.05 - 0.18 * y))[..., None]).astype(np.float32)
    left = float(rng.uniform(0.08, 0.62))
    rect(image, left, 0.06, left + 0.28, 0.38, (0.96, 0.95, 0.92))
    rect(image, left + 0.02, 0.08, left + 0.26, 0.36, (0.6, 0.8, 0.95))
    rect(image, left + 0.02, 0.27, left + 0.26, 0.36, (0.5, 0.7, 0.45))
    rect(image, left + 0.133, 0.08, left + 0.147, 0.36, (0.96, 0.95, 0.92))
    rect(image, 0, 0.59, 1, 0.62, (0.95, 0.94, 0.9))
    depth = np.clip((y - 0.62) / 0.38, 0, 1)
    plank = np.mod((x - 0.5) / (0.35 + 0.65 * depth) * 7, 1.0)
    gap = step(np.abs(plank - 0.5) - 0.47, 0.05)
    grain = smooth_noise(seed + 4, n, n, 70).T * 0.5 + fractal(seed + 5, n, n, 5, 3) * 0.5
    floor = rgb(0.62, 0.42, 0.26) * ((0.75 + 0.5 * grain) * (1 - 0.5 * gap))[..., None]
    return blend(image, floor, np.broadcast_to(step(y - 0.62, 2 / n), (n, n)))


def kitchen(seed: int, n: int) -> Array:
    rng = np.random.default_rng(seed)
    x, y = axes(n)
    hues = ((0.84, 0.92, 0.92), (0.94, 0.9, 0.8), (0.8, 0.9, 0.96))
    tile = rgb(*hues[int(rng.integers(len(hues)))])
    tone = rng.uniform(0.9, 1.06, (9, 9)).astype(np.float32)
    cell = tone[(y * 8.999).astype(int), (x * 8.999).astype(int)]
    a, b = np.abs(np.mod(x * 9, 1) - 0.5), np.abs(np.mod(y * 9, 1) - 0.5)
    grout = step(np.maximum(a, b) - 0.47, 0.04)
    image = blend(tile * cell[..., None], (0.72, 0.72, 0.7), grout)
    top = rgb(0.5, 0.4, 0.34) * (0.7 + 0.6 * fractal(seed, n, n, 16, 4))[..., None]
    image = blend(image, top, np.broadcast_to(step(y - 0.6, 2 / n), (n, n)))
    edge = np.exp(-(((y - 0.6) / 0.01) ** 2)) * 0.4
    return blend(image, (0.25, 0.2, 0.18), np.broadcast_to(edge, (n, n)).astype(np.float32))


def city(seed: int, n: int) -> Array:
    rng = np.random.default_rng(seed)
    image = clouds(vertical(n, (0.5, 0.68, 0.88), (0.9, 0.9, 0.88), 0.6), seed, 0.5)
    left = -0.05
    while left < 1.0:
        wide, top = float(rng.uniform(0.11, 0.2)), float(rng.uniform(0.08, 0.4))
        tone = float(rng.uniform(0.42, 0.74))
        hue = rng.uniform(-0.06, 0.06, 3)
        wall = tuple(float(np.clip(tone + h, 0, 1)) for h in hue)
        rect(image, left, top, left + wide, 0.63, (wall[0], wall[1], wall[2]))
        columns = max(2, int(wide / 0.04))
        for row in np.arange(top + 0.025, 0.58, 0.045):
            for k in range(columns):
                lit = (0.98, 0.9, 0.6) if rng.random() < 0.3 else (0.24, 0.32, 0.42)
                at = left + (k + 0.25) * wide / columns
                rect(image, at, float(row), at + 0.5 * wide / columns, float(row) + 0.024, lit)
        left += wide
    ground, mask = ground_plane(
        n, seed + 2, 0.62, (0.34, 0.34, 0.36), (0.46, 0.46, 0.47), 0.25, 120
    )
    x, y = axes(n)
    depth = np.clip((y - 0.62) / 0.38, 0.01, 1)
    lane = step(0.03 * depth - np.abs(x - 0.5), 2 / n) * (np.mod(3.5 / (depth + 0.35), 1) > 0.5)
    kerb = step(0.66 - y, 2 / n)
    ground = blend(ground, (0.9, 0.88, 0.8), (lane * 0.8).astype(np.float32))
    ground = blend(ground, (0.66, 0.65, 0.62), np.broadcast_to(kerb, (n, n)))
    return blend(ground, image, np.broadcast_to(mask, (n, n)))


def forest(seed: int, n: int) -> Array:
    rng = np.random.default_rng(seed)
    image = vertical(n, (0.42, 0.6, 0.4), (0.72, 0.82, 0.56), 0.6)
    image = image * (0.7 + 0.6 * fractal(seed, n, n, 12, 4))[..., None]
    x, y = axes(n)
    for layer in range(3):
        shade = 0.62 - 0.16 * layer
        bark = rgb(0.62 * shade + 0.08, 0.5 * shade + 0.06, 0.4 * shade)
        ridges = 0.8 + 0.4 * smooth_noise(seed + 20 + layer, n, n, 60).T
        for at in rng.random(4 + layer):
            half = (0.012 + 0.011 * layer) * (1 + 0.5 * float(rng.random()))
            bend = float(at) + 0.02 * np.sin(y * 5 + float(at) * 40)
            trunk = step(half - np.abs(x - bend), 2 / n) * step(0.57 + 0.03 * layer - y, 2 / n)
            image = blend(image, bark * ridges[..., None], trunk)
        leaves = fractal(seed + 10 + layer, n, n, 14, 4)
        cover = np.clip((leaves - 0.42 - 0.6 * (y - 0.08 * (2 - layer))) * 9, 0, 1)
        image = blend(
            image,
            rgb(0.16, 0.4, 0.14) * (0.6 + 0.9 * leaves * (1 - 0.2 * layer))[..., None],
            cover,
        )
    ground, mask = ground_plane(n, seed + 2, 0.55, (0.32, 0.3, 0.14), (0.36, 0.42, 0.2), 0.9, 60)
    return blend(ground, image, np.broadcast_to(mask, (n, n))).astype(np.float32)


def mountains(seed: int, n: int) -> Array:
    image = clouds(vertical(n, (0.4, 0.62, 0.9), (0.86, 0.91, 0.95), 0.55), seed, 0.5)
    _, y = axes(n)
    for i, (base, height, tone) in enumerate(
        ((0.5, 0.42, (0.5, 0.56, 0.66)), (0.57, 0.3, (0.36, 0.42, 0.48)))
    ):
        ridge = base + 0.06 - height * profile(seed + i, n, 3, 7)
        rock = fractal(seed + 5 + i, n, n, 14, 4)
        slope = 0.7 + 0.6 * rock
        snowline = step(ridge + 0.09 + 0.14 * (rock - 0.5) - y, 0.02)
        face = blend(rgb(*tone) * slope[..., None], (0.94, 0.96, 1.0), snowline * 0.95)
        image = blend(image, face, step(y - ridge, 2 / n))
    ground, mask = ground_plane(n, seed + 3, 0.58, (0.4, 0.5, 0.24), (0.48, 0.56, 0.36), 0.6, 60)
    return blend(ground, image, np.broadcast_to(mask, (n, n))).astype(np.float32)


def studio(seed: int, n: int) -> Array:
    rng = np.random.default_rng(seed)
    tints = (
        (0.84, 0.82, 0.78),
        (0.76, 0.82, 0.86),
        (0.86, 0.78, 0.76),
        (0.78, 0.84, 0.76),
        (0.9, 0.88, 0.8),
    )
    tint = rgb(*tints[int(rng.integers(len(tints)))])
    x, y = axes(n)
    light = 1.1 - 0.35 * np.hypot(x - float(rng.uniform(0.3, 0.7)), (y - 0.4) * 0.9)
    sweep = 1 - 0.1 * np.exp(-(((y - 0.68) / 0.07) ** 2))
    weave = 1 + 0.05 * (fractal(seed, n, n, 40, 2) - 0.5)
    return np.clip(tint * (light * sweep * weave)[..., None], 0, 1).astype(np.float32)


PAINTERS: dict[str, Callable[[int, int], Array]] = {
    "meadow": meadow,
    "desert": desert,
    "snow": snow,
    "beach": beach,
    "sea": sea,
    "underwater": underwater,
    "sky": sky,
    "space": space,
    "night": night,
    "sunset": sunset,
    "room": room,
    "kitchen": kitchen,
    "city": city,
    "forest": forest,
    "mountains": mountains,
    "studio": studio,
}


def paint_background(name: str, seed: int, side: int) -> Array:
    """(side, side, 3) in [0, 1]."""
    return np.clip(PAINTERS[name](seed, side), 0, 1).astype(np.float32, copy=False)
