"""How birds, fish and crawling animals are drawn: each function returns parts, back to front."""

from __future__ import annotations

import numpy as np

from diffagiqa.synth.shapes import (
    Builder,
    Part,
    both,
    box,
    circle,
    common,
    cut,
    ellipse,
    line,
    polygon,
    ring,
    star,
    union,
)


def eye(x: float, y: float, r: float) -> list[Part]:
    """A round eye with a highlight."""
    return [
        Part(circle(x, y, r), "white", 0.02),
        Part(circle(x + 0.15 * r, y + 0.1 * r, 0.62 * r), "ink", 0.02),
        Part(circle(x - 0.1 * r, y - 0.25 * r, 0.22 * r), "white", 0.0),
    ]


def bird(rng: np.random.Generator) -> list[Part]:
    lift = float(rng.uniform(-0.5, 0.2))
    return [
        Part(polygon([(-0.5, 0.1), (-1.0, -0.2), (-0.95, 0.28)], 0.03), "dark", 0.06),
        Part(line(-0.05, 0.5, -0.1, 0.93, 0.035), "beak", 0.03),
        Part(line(0.15, 0.5, 0.15, 0.93, 0.035), "beak", 0.03),
        Part(line(-0.22, 0.94, 0.06, 0.94, 0.03), "beak", 0.03),
        Part(line(0.05, 0.94, 0.3, 0.94, 0.03), "beak", 0.03),
        Part(polygon([(0.72, -0.42), (1.0, -0.28), (0.7, -0.2)], 0.02), "beak", 0.05),
        Part(
            union(ellipse(0, 0.2, 0.62, 0.42), circle(0.48, -0.32, 0.34), smooth=0.3), "main", 0.3
        ),
        Part(ellipse(0.18, 0.36, 0.36, 0.2), "light", 0.12),
        Part(ellipse(-0.18, 0.08, 0.42, 0.22, lift * 0.6), "dark", 0.12),
        *eye(0.56, -0.38, 0.1),
    ]


def butterfly(rng: np.random.Generator) -> list[Part]:
    spread = float(rng.uniform(0.85, 1.0))

    def wing(side: int) -> list[Part]:
        upper = ellipse(side * 0.5 * spread, -0.35, 0.5 * spread, 0.4, side * -0.6)
        lower = ellipse(side * 0.4 * spread, 0.42, 0.36 * spread, 0.4, side * 0.5)
        return [
            Part(lower, "main", 0.12),
            Part(upper, "main", 0.12),
            Part(circle(side * 0.62 * spread, -0.4, 0.15), "light", 0.03),
            Part(circle(side * 0.42 * spread, 0.48, 0.11), "dark", 0.03),
            Part(circle(side * 0.3 * spread, -0.2, 0.07), "dark", 0.02),
            Part(line(side * 0.03, -0.6, side * 0.24, -0.93, 0.022), "ink", 0.02),
            Part(circle(side * 0.25, -0.93, 0.05), "ink", 0.03),
        ]

    return [
        *both(wing),
        Part(ellipse(0, 0.05, 0.09, 0.66), "ink", 0.08),
        Part(circle(0, -0.6, 0.12), "ink", 0.1),
    ]


def duck(rng: np.random.Generator) -> list[Part]:
    wing = float(rng.uniform(-0.3, 0.1))
    body = union(
        ellipse(-0.1, 0.42, 0.72, 0.46),
        polygon([(-0.6, 0.3), (-0.98, -0.02), (-0.75, 0.5)], 0.05),
        circle(0.42, -0.4, 0.36),
        line(0.4, -0.3, 0.3, 0.3, 0.24),
        smooth=0.25,
    )
    return [
        Part(
            polygon([(0.7, -0.46), (1.0, -0.34), (0.98, -0.22), (0.7, -0.24)], 0.03), "beak", 0.06
        ),
        Part(body, "main", 0.34),
        Part(ellipse(-0.2, 0.36, 0.42, 0.24, wing), "dark", 0.14),
        Part(ellipse(-0.26, 0.32, 0.28, 0.14, wing), "main", 0.1),
        *eye(0.52, -0.5, 0.1),
    ]


def fish(rng: np.random.Generator) -> list[Part]:
    bands = int(rng.integers(0, 3))
    body = ellipse(0.12, 0.0, 0.72, 0.46)
    stripes = [
        Part(common(box(0.1 - 0.32 * i, -0.5, 0.24 - 0.32 * i, 0.5), body), "light", 0.1)
        for i in range(bands)
    ]
    return [
        Part(
            polygon([(-0.42, 0.0), (-0.98, -0.5), (-0.82, 0.0), (-0.98, 0.5)], 0.03), "dark", 0.12
        ),
        Part(polygon([(-0.3, -0.3), (0.0, -0.78), (0.42, -0.36)], 0.04), "dark", 0.1),
        Part(polygon([(-0.1, 0.34), (-0.16, 0.7), (0.24, 0.38)], 0.04), "dark", 0.1),
        Part(body, "main", 0.36),
        *stripes,
        Part(common(ring(0.3, 0, 0.28, 0.018), box(0.3, -0.3, 0.6, 0.3)), "dark", 0.0),
        Part(ellipse(0.05, 0.14, 0.18, 0.1, 0.5), "dark", 0.06),
        *eye(0.55, -0.1, 0.12),
        Part(line(0.7, 0.16, 0.8, 0.12, 0.018), "ink", 0.0),
    ]


def ladybug(rng: np.random.Generator) -> list[Part]:
    shell = common(circle(0, 0.45, 0.85), box(-1, -0.5, 1, 0.62))
    spots = [(-0.45, 0.3), (-0.05, 0.38), (0.32, 0.22), (-0.25, -0.08), (0.15, -0.1), (-0.62, 0.5)]
    legs = [Part(line(x, 0.55, x - 0.06, 0.92, 0.05), "ink", 0.04) for x in (-0.5, -0.05, 0.4)]
    jitter = rng.uniform(-0.03, 0.03, len(spots))
    return [
        *legs,
        Part(line(0.8, 0.1, 0.95, -0.3, 0.025), "ink", 0.02),
        Part(line(0.7, 0.1, 0.72, -0.36, 0.025), "ink", 0.02),
        Part(circle(0.74, 0.34, 0.26), "ink", 0.2),
        Part(shell, "main", 0.5),
        *(
            Part(common(circle(x + float(j), y, 0.11), shell), "ink", 0.02)
            for (x, y), j in zip(spots, jitter, strict=True)
        ),
        Part(line(-0.1, -0.38, -0.12, 0.6, 0.014), "ink", 0.0),
        *eye(0.84, 0.28, 0.08),
    ]


def penguin(rng: np.random.Generator) -> list[Part]:
    wave = float(rng.uniform(0.1, 0.7))
    return [
        Part(ellipse(-0.24, 0.88, 0.22, 0.1), "beak", 0.08),
        Part(ellipse(0.24, 0.88, 0.22, 0.1), "beak", 0.08),
        Part(ellipse(-0.6, 0.1, 0.14, 0.46, wave), "dark", 0.1),
        Part(ellipse(0.6, 0.1, 0.14, 0.46, -wave), "dark", 0.1),
        Part(union(ellipse(0, 0.25, 0.56, 0.66), circle(0, -0.52, 0.4), smooth=0.2), "main", 0.34),
        Part(ellipse(0, 0.34, 0.34, 0.48), "white", 0.16),
        Part(polygon([(-0.12, -0.42), (0.12, -0.42), (0, -0.24)], 0.03), "beak", 0.06),
        *eye(-0.17, -0.58, 0.1),
        *eye(0.17, -0.58, 0.1),
    ]


def snail(rng: np.random.Generator) -> list[Part]:
    turn = float(rng.uniform(-0.2, 0.2))
    body = union(
        line(-0.85, 0.82, 0.6, 0.8, 0.08, 0.14),
        line(0.6, 0.78, 0.74, 0.1, 0.15),
        circle(0.76, 0.02, 0.2),
        smooth=0.15,
    )
    horns = [
        part
        for x in (0.68, 0.88)
        for part in (
            Part(line(x, -0.1, x + 0.04, -0.42, 0.03), "skin", 0.03),
            Part(circle(x + 0.04, -0.44, 0.06), "ink", 0.05),
        )
    ]
    spiral = [
        Part(ring(-0.15 + dx + turn * 0.1, 0.18 + dy, r, 0.03), "dark", 0.0)
        for r, dx, dy in ((0.46, 0.08, 0.06), (0.3, 0.02, 0.0), (0.14, 0.0, 0.04))
    ]
    return [
        *horns,
        Part(body, "skin", 0.14),
        Part(circle(-0.15, 0.18, 0.64), "main", 0.45),
        *spiral,
    ]


def turtle(rng: np.random.Generator) -> list[Part]:
    nod = float(rng.uniform(-0.1, 0.1))
    shell = cut(ellipse(-0.1, 0.5, 0.74, 0.82), box(-2, 0.56, 2, 2))
    plates = [(-0.45, 0.28), (-0.1, 0.02), (-0.1, 0.36), (0.25, 0.28)]
    return [
        Part(polygon([(-0.75, 0.55), (-1.0, 0.7), (-0.7, 0.7)], 0.02), "leaf", 0.05),
        Part(line(-0.5, 0.6, -0.56, 0.86, 0.13), "leaf", 0.1),
        Part(line(0.3, 0.6, 0.36, 0.86, 0.13), "leaf", 0.1),
        Part(
            union(
                line(0.5, 0.5, 0.72, 0.3 + nod, 0.12),
                ellipse(0.78, 0.24 + nod, 0.2, 0.17),
                smooth=0.1,
            ),
            "leaf",
            0.14,
        ),
        Part(shell, "main", 0.45),
        *(Part(star(x, y, 0.15, 0.87, 3), "dark", 0.05) for x, y in plates),
        Part(box(-0.86, 0.5, 0.66, 0.62, 0.06), "light", 0.05),
        *eye(0.84, 0.2 + nod, 0.06),
    ]


def whale(rng: np.random.Generator) -> list[Part]:
    spout = float(rng.uniform(0.2, 0.3))
    body = union(ellipse(0.15, 0.3, 0.74, 0.5), line(-0.4, 0.35, -0.78, 0.0, 0.2, 0.08), smooth=0.2)
    tail = union(
        ellipse(-0.92, -0.14, 0.08, 0.22, -0.7), ellipse(-0.68, -0.2, 0.09, 0.24, 0.6), smooth=0.08
    )
    belly = common(ellipse(0.25, 0.78, 0.66, 0.3), ellipse(0.15, 0.3, 0.72, 0.49))
    jets = [
        Part(line(0.3, -0.3, 0.3 + s * spout, -0.72, 0.03, 0.06), "glass", 0.05) for s in (-1, 1)
    ]
    return [
        *jets,
        Part(tail, "main", 0.1),
        Part(body, "main", 0.4),
        Part(belly, "light", 0.15),
        Part(ellipse(0.05, 0.52, 0.12, 0.25, 0.5), "dark", 0.1),
        *eye(0.6, 0.2, 0.075),
    ]


ANIMALS: dict[str, Builder] = {
    "bird": bird,
    "butterfly": butterfly,
    "duck": duck,
    "fish": fish,
    "ladybug": ladybug,
    "penguin": penguin,
    "snail": snail,
    "turtle": turtle,
    "whale": whale,
}
