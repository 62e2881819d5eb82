"""How plants and food are drawn: each function returns parts, back to front."""

from __future__ import annotations

import numpy as np

from diffagiqa.synth.shapes import (
    Builder,
    Part,
    box,
    circle,
    common,
    cut,
    ellipse,
    line,
    polygon,
    star,
    union,
)


def apple(rng: np.random.Generator) -> list[Part]:
    lean = float(rng.uniform(-0.12, 0.12))
    body = union(ellipse(-0.3, 0.25, 0.5, 0.7), ellipse(0.3, 0.25, 0.5, 0.7), smooth=0.25)
    return [
        Part(line(0, -0.3, lean, -0.85, 0.06, 0.045), "bark", 0.05),
        Part(body, "main", 0.55),
        Part(ellipse(0.02, -0.32, 0.16, 0.05), "dark", 0.02),
        Part(ellipse(0.32 + lean, -0.72, 0.3, 0.13, -0.5), "leaf", 0.1),
    ]


def cactus(rng: np.random.Generator) -> list[Part]:
    left, right = float(rng.uniform(-0.35, 0.0)), float(rng.uniform(-0.2, 0.2))
    body = union(
        line(0, -0.68, 0, 0.6, 0.25),
        line(-0.22, left + 0.35, -0.62, left + 0.3, 0.12),
        line(-0.62, left + 0.3, -0.62, left - 0.15, 0.14),
        line(0.22, right + 0.3, 0.62, right + 0.25, 0.12),
        line(0.62, right + 0.25, 0.62, right - 0.25, 0.14),
        smooth=0.08,
    )
    ribs = [Part(line(x, -0.72, x, 0.5, 0.012), "dark", 0.01) for x in (-0.13, 0.0, 0.13)]
    pot = polygon([(-0.42, 0.5), (0.42, 0.5), (0.32, 0.94), (-0.32, 0.94)], 0.02)
    return [
        Part(body, "main", 0.18),
        *ribs,
        Part(star(0.0, -0.9, 0.14, 0.5, 6), "rose", 0.06),
        Part(pot, "clay", 0.16),
        Part(box(-0.48, 0.44, 0.48, 0.58, 0.04), "clay", 0.06),
    ]


def cake(rng: np.random.Generator) -> list[Part]:
    drips = [
        ellipse(float(x), 0.0 + float(h), 0.1, 0.14)
        for x, h in zip(np.linspace(-0.6, 0.6, 7), rng.uniform(-0.12, 0.06, 7), strict=True)
    ]
    return [
        Part(ellipse(0, 0.86, 0.95, 0.11), "steel", 0.05),
        Part(union(box(-0.72, -0.3, 0.72, 0.86, 0.06), ellipse(0, 0.84, 0.72, 0.1)), "main", 0.3),
        Part(box(-0.72, 0.36, 0.72, 0.46), "cream", 0.02),
        Part(
            union(
                ellipse(0, -0.34, 0.74, 0.14),
                box(-0.73, -0.34, 0.73, -0.1, 0.08),
                *drips,
                smooth=0.08,
            ),
            "light",
            0.08,
        ),
        *(Part(circle(x, -0.4 + 0.1 * abs(x), 0.085), "clay", 0.07) for x in (-0.56, 0.56)),
        Part(box(-0.05, -0.78, 0.05, -0.38), "white", 0.04),
        Part(ellipse(0, -0.86, 0.05, 0.1), "flame", 0.03),
    ]


def flower(rng: np.random.Generator) -> list[Part]:
    petals, turn = int(rng.integers(5, 9)), float(rng.uniform(0, 1))
    width = 0.3 * min(1.0, 6 / petals) + 0.02
    parts = [
        Part(line(0, -0.2, 0.04, 0.95, 0.05), "leaf", 0.05),
        Part(ellipse(-0.3, 0.58, 0.32, 0.13, 0.5), "leaf", 0.1),
        Part(ellipse(0.36, 0.42, 0.32, 0.13, -0.5), "leaf", 0.1),
    ]
    for i in range(petals):
        a = turn + 2 * np.pi * i / petals
        x, y = 0.38 * float(np.cos(a)), -0.36 + 0.38 * float(np.sin(a))
        parts.append(Part(ellipse(x, y, 0.3, width * 0.72, float(a)), "main", 0.14))
    return [
        *parts,
        Part(circle(0, -0.36, 0.19), "gold", 0.15),
        Part(circle(0, -0.36, 0.1), "clay", 0.05),
    ]


def ice_cream(rng: np.random.Generator) -> list[Part]:
    lean = float(rng.uniform(-0.06, 0.06))
    cone = polygon([(-0.4, 0.02), (0.4, 0.02), (0.02, 0.95)], 0.02)
    waffle = [
        Part(common(line(x, -0.1, x + s * 0.7, 1.0, 0.014), cone), "bark", 0.0)
        for s in (-1, 1)
        for x in (-0.3 * s - 0.2, -0.3 * s, -0.3 * s + 0.2)
    ]
    return [
        Part(cone, "cone", 0.2),
        *waffle,
        Part(union(circle(lean, -0.62, 0.3), smooth=0.0), "main", 0.3),
        Part(
            union(
                circle(-0.22, -0.18, 0.32),
                circle(0.22, -0.18, 0.32),
                ellipse(0, 0.04, 0.5, 0.1),
                smooth=0.06,
            ),
            "main",
            0.26,
        ),
        Part(circle(lean + 0.05, -0.87, 0.09), "clay", 0.08),
    ]


def mushroom(rng: np.random.Generator) -> list[Part]:
    wide = float(rng.uniform(0.82, 0.96))
    cap = cut(ellipse(0, 0.08, wide, 0.98), box(-2, 0.12, 2, 2))
    dots = [
        (-0.45, -0.2, 0.12),
        (0.05, -0.5, 0.15),
        (0.5, -0.15, 0.13),
        (-0.05, -0.08, 0.1),
        (-0.4, -0.55, 0.08),
    ]
    return [
        Part(
            union(line(0, 0.1, 0, 0.75, 0.24, 0.28), ellipse(0, 0.78, 0.36, 0.16), smooth=0.1),
            "cream",
            0.22,
        ),
        Part(ellipse(0, 0.12, wide * 0.98, 0.13), "cream", 0.08),
        Part(cap, "main", 0.5),
        *(Part(ellipse(x, y, r, r * 0.85), "white", 0.06) for x, y, r in dots),
    ]


def pear(rng: np.random.Generator) -> list[Part]:
    lean = float(rng.uniform(-0.15, 0.15))
    return [
        Part(line(lean, -0.6, lean * 2, -0.94, 0.05), "bark", 0.05),
        Part(
            union(ellipse(0, 0.4, 0.6, 0.54), ellipse(lean, -0.3, 0.32, 0.4), smooth=0.5),
            "main",
            0.5,
        ),
        Part(ellipse(0.26 + lean, -0.78, 0.26, 0.11, -0.4), "leaf", 0.09),
    ]


def pine_tree(rng: np.random.Generator) -> list[Part]:
    parts = [Part(box(-0.12, 0.5, 0.12, 0.95, 0.02), "bark", 0.12)]
    for i, (top, bottom, half) in enumerate(
        ((0.0, 0.7, 0.78), (-0.45, 0.32, 0.62), (-0.93, -0.12, 0.44))
    ):
        teeth = 7
        xs = np.linspace(half, -half, teeth)
        ys = bottom - 0.1 * (np.arange(teeth) % 2) - rng.uniform(0, 0.03, teeth)
        rim = [(float(x), float(y)) for x, y in zip(xs, ys, strict=True)]
        parts.append(Part(polygon([(0, top), *rim], 0.015), "main", 0.25 - 0.03 * i))
    return parts


def pumpkin(rng: np.random.Generator) -> list[Part]:
    bend = float(rng.uniform(-0.15, 0.15))
    ribs = [(-0.6, 0.3), (0.6, 0.3), (-0.34, 0.34), (0.34, 0.34), (0.0, 0.32)]
    return [
        Part(line(0, -0.3, bend, -0.82, 0.1, 0.07), "leaf", 0.08),
        *(Part(ellipse(x, 0.28, w, 0.66 - 0.12 * abs(x)), "main", 0.26) for x, w in ribs),
    ]


def tree(rng: np.random.Generator) -> list[Part]:
    leaves = []
    for i in range(8):
        a = 2 * np.pi * i / 8 + float(rng.uniform(-0.2, 0.2))
        r = float(rng.uniform(0.24, 0.33))
        leaves.append(circle(0.46 * float(np.cos(a)), -0.32 + 0.33 * float(np.sin(a)), r))
    crown = union(ellipse(0, -0.32, 0.5, 0.4), *leaves, smooth=0.06)
    tufts = [
        Part(circle(float(x), float(y), float(r)), "main", 0.16)
        for x, y, r in zip(
            rng.uniform(-0.42, 0.42, 7),
            rng.uniform(-0.62, 0.0, 7),
            rng.uniform(0.14, 0.24, 7),
            strict=True,
        )
    ]
    return [
        Part(
            union(
                line(0, 0.1, 0, 0.9, 0.13, 0.16),
                line(0, 0.4, 0.32, 0.0, 0.06),
                line(0, 0.5, -0.3, 0.1, 0.06),
                ellipse(0, 0.92, 0.28, 0.05),
                smooth=0.1,
            ),
            "bark",
            0.12,
        ),
        Part(crown, "main", 0.3),
        *tufts,
    ]


PLANTS: dict[str, Builder] = {
    "apple": apple,
    "cactus": cactus,
    "cake": cake,
    "flower": flower,
    "ice cream": ice_cream,
    "mushroom": mushroom,
    "pear": pear,
    "pine tree": pine_tree,
    "pumpkin": pumpkin,
    "tree": tree,
}
