"""How animals and plants are drawn: each function returns parts, back to front."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from diffagiqa.synth.shapes import (
    Part,
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

Builder = Callable[[np.random.Generator], list[Part]]


def _eye(x: float, y: float, r: float) -> list[Part]:
    return [
        Part(circle(x, y, r), "white", 0.02),
        Part(circle(x + 0.15 * r, y + 0.1 * r, 0.62 * r), "ink", 0.02),
        Part(circle(x - 0.1 * r, y - 0.25 * r, 0.22 * r), "white", 0.0),
    ]


def apple(rng: np.random.Generator) -> list[Part]:
    lean = float(rng.uniform(-0.12, 0.12))
    body = union(ellipse(-0.3, 0.25, 0.5, 0.7), ellipse(0.3, 0.25, 0.5, 0.7), smooth=0.25)
    return [
        Part(line(0, -0.3, lean, -0.85, 0.06, 0.045), "bark", 0.05),
        Part(body, "main", 0.55),
        Part(ellipse(0.02, -0.32, 0.16, 0.05), "dark", 0.02),
        Part(ellipse(0.32 + lean, -0.72, 0.3, 0.13, -0.5), "leaf", 0.1),
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
        *_eye(0.56, -0.38, 0.1),
    ]


def butterfly(rng: np.random.Generator) -> list[Part]:
    spread = float(rng.uniform(0.85, 1.0))
    parts = []
    for side in (-1, 1):
        upper = ellipse(side * 0.5 * spread, -0.35, 0.5 * spread, 0.4, side * -0.6)
        lower = ellipse(side * 0.4 * spread, 0.42, 0.36 * spread, 0.4, side * 0.5)
        parts += [Part(lower, "main", 0.12), Part(upper, "main", 0.12)]
        parts += [
            Part(circle(side * 0.62 * spread, -0.4, 0.15), "light", 0.03),
            Part(circle(side * 0.42 * spread, 0.48, 0.11), "dark", 0.03),
            Part(circle(side * 0.3 * spread, -0.2, 0.07), "dark", 0.02),
            Part(line(side * 0.03, -0.6, side * 0.24, -0.93, 0.022), "ink", 0.02),
            Part(circle(side * 0.25, -0.93, 0.05), "ink", 0.03),
        ]
    return [
        *parts,
        Part(ellipse(0, 0.05, 0.09, 0.66), "ink", 0.08),
        Part(circle(0, -0.6, 0.12), "ink", 0.1),
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
        Part(body, "main", 0.18), *ribs,
        Part(star(0.0, -0.9, 0.14, 0.5, 6), "rose", 0.06),
        Part(pot, "clay", 0.16), Part(box(-0.48, 0.44, 0.48, 0.58, 0.04), "clay", 0.06),
    ]  # fmt: skip


def _sitting(tail: float) -> list[Part]:
    """Body, paws and tail of an animal that sits and looks at us."""
    return [
        Part(union(line(0.35, 0.8, 0.78, 0.72, 0.1), line(0.78, 0.72, 0.82, tail, 0.1, 0.07), smooth=0.1),
             "main", 0.1),
        Part(ellipse(0, 0.5, 0.48, 0.5), "main", 0.35),
        Part(ellipse(0, 0.55, 0.24, 0.36), "light", 0.15),
        Part(ellipse(-0.2, 0.86, 0.2, 0.11), "main", 0.1),
        Part(ellipse(0.2, 0.86, 0.2, 0.11), "main", 0.1),
    ]  # fmt: skip


def cat(rng: np.random.Generator) -> list[Part]:
    whiskers = [
        Part(line(s * 0.14, -0.16, s * 0.62, -0.16 + dy, 0.012), "ink", 0.0)
        for s in (-1, 1)
        for dy in (-0.1, 0.05)
    ]
    ears = []
    for s in (-1, 1):
        ears.append(
            Part(
                polygon([(s * 0.1, -0.62), (s * 0.46, -0.4), (s * 0.42, -0.93)], 0.03), "main", 0.1
            )
        )
        ears.append(
            Part(polygon([(s * 0.2, -0.64), (s * 0.4, -0.5), (s * 0.38, -0.8)], 0.01), "rose", 0.05)
        )
    eyes = [
        part
        for s in (-1, 1)
        for part in (
            Part(ellipse(s * 0.2, -0.34, 0.12, 0.13), "gold", 0.04),
            Part(ellipse(s * 0.2, -0.34, 0.045, 0.11), "ink", 0.02),
            Part(circle(s * 0.2 + 0.03, -0.39, 0.03), "white", 0.0),
        )
    ]
    return [
        *_sitting(float(rng.uniform(0.0, 0.4))), *ears, Part(ellipse(0, -0.3, 0.5, 0.42), "main", 0.3),
        Part(ellipse(0, -0.12, 0.2, 0.12), "light", 0.06), *eyes,
        Part(polygon([(-0.06, -0.2), (0.06, -0.2), (0, -0.13)], 0.015), "rose", 0.02),
        Part(line(0, -0.12, 0, -0.05, 0.013), "ink", 0.0), *whiskers,
    ]  # fmt: skip


def dog(rng: np.random.Generator) -> list[Part]:
    parts = [
        *_sitting(float(rng.uniform(0.2, 0.5))),
        Part(ellipse(0, -0.36, 0.42, 0.46), "main", 0.3),
    ]
    for s in (-1, 1):
        parts.append(Part(ellipse(s * 0.46, -0.34, 0.15, 0.4, s * 0.25), "dark", 0.12))
        parts += _eye(s * 0.17, -0.46, 0.09)
    return [
        *parts, Part(ellipse(0, -0.14, 0.26, 0.2), "light", 0.12),
        Part(ellipse(0, -0.23, 0.11, 0.08), "ink", 0.06), Part(ellipse(0, -0.0, 0.07, 0.1), "rose", 0.04),
        Part(box(-0.3, 0.04, 0.3, 0.13, 0.04), "clay", 0.04), Part(circle(0, 0.18, 0.07), "gold", 0.05),
    ]  # fmt: skip


def duck(rng: np.random.Generator) -> list[Part]:
    wing = float(rng.uniform(-0.3, 0.1))
    body = union(
        ellipse(-0.1, 0.42, 0.72, 0.46), polygon([(-0.6, 0.3), (-0.98, -0.02), (-0.75, 0.5)], 0.05),
        circle(0.42, -0.4, 0.36), line(0.4, -0.3, 0.3, 0.3, 0.24), smooth=0.25,
    )  # fmt: skip
    return [
        Part(
            polygon([(0.7, -0.46), (1.0, -0.34), (0.98, -0.22), (0.7, -0.24)], 0.03), "beak", 0.06
        ),
        Part(body, "main", 0.34),
        Part(ellipse(-0.2, 0.36, 0.42, 0.24, wing), "dark", 0.14),
        Part(ellipse(-0.26, 0.32, 0.28, 0.14, wing), "main", 0.1),
        *_eye(0.52, -0.5, 0.1),
    ]


def fish(rng: np.random.Generator) -> list[Part]:
    bands = int(rng.integers(0, 3))
    body = ellipse(0.12, 0.0, 0.72, 0.46)
    stripes = [
        Part(common(box(0.1 - 0.32 * i, -0.5, 0.24 - 0.32 * i, 0.5), body), "light", 0.1)
        for i in range(bands)
    ]
    return [
        Part(polygon([(-0.42, 0.0), (-0.98, -0.5), (-0.82, 0.0), (-0.98, 0.5)], 0.03), "dark", 0.12),
        Part(polygon([(-0.3, -0.3), (0.0, -0.78), (0.42, -0.36)], 0.04), "dark", 0.1),
        Part(polygon([(-0.1, 0.34), (-0.16, 0.7), (0.24, 0.38)], 0.04), "dark", 0.1),
        Part(body, "main", 0.36), *stripes,
        Part(common(ring(0.3, 0, 0.28, 0.018), box(0.3, -0.3, 0.6, 0.3)), "dark", 0.0),
        Part(ellipse(0.05, 0.14, 0.18, 0.1, 0.5), "dark", 0.06),
        *_eye(0.55, -0.1, 0.12),
        Part(line(0.7, 0.16, 0.8, 0.12, 0.018), "ink", 0.0),
    ]  # fmt: skip


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
        parts.append(
            Part(ellipse(x, y, 0.3, width * 0.72, float(a)), "main" if i % 2 else "main", 0.14)
        )
    return [
        *parts,
        Part(circle(0, -0.36, 0.19), "gold", 0.15),
        Part(circle(0, -0.36, 0.1), "clay", 0.05),
    ]


def ladybug(rng: np.random.Generator) -> list[Part]:
    shell = common(circle(0, 0.45, 0.85), box(-1, -0.5, 1, 0.62))
    spots = [(-0.45, 0.3), (-0.05, 0.38), (0.32, 0.22), (-0.25, -0.08), (0.15, -0.1), (-0.62, 0.5)]
    legs = [Part(line(x, 0.55, x - 0.06, 0.92, 0.05), "ink", 0.04) for x in (-0.5, -0.05, 0.4)]
    jitter = rng.uniform(-0.03, 0.03, len(spots))
    return [
        *legs,
        Part(line(0.8, 0.1, 0.95, -0.3, 0.025), "ink", 0.02), Part(line(0.7, 0.1, 0.72, -0.36, 0.025), "ink", 0.02),
        Part(circle(0.74, 0.34, 0.26), "ink", 0.2), Part(shell, "main", 0.5),
        *(Part(common(circle(x + float(j), y, 0.11), shell), "ink", 0.02) for (x, y), j in zip(spots, jitter, strict=True)),
        Part(line(-0.1, -0.38, -0.12, 0.6, 0.014), "ink", 0.0),
        *_eye(0.84, 0.28, 0.08),
    ]  # fmt: skip


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


def penguin(rng: np.random.Generator) -> list[Part]:
    wave = float(rng.uniform(0.1, 0.7))
    return [
        Part(ellipse(-0.24, 0.88, 0.22, 0.1), "beak", 0.08), Part(ellipse(0.24, 0.88, 0.22, 0.1), "beak", 0.08),
        Part(ellipse(-0.6, 0.1, 0.14, 0.46, wave), "dark", 0.1), Part(ellipse(0.6, 0.1, 0.14, 0.46, -wave), "dark", 0.1),
        Part(union(ellipse(0, 0.25, 0.56, 0.66), circle(0, -0.52, 0.4), smooth=0.2), "main", 0.34),
        Part(ellipse(0, 0.34, 0.34, 0.48), "white", 0.16),
        Part(polygon([(-0.12, -0.42), (0.12, -0.42), (0, -0.24)], 0.03), "beak", 0.06),
        *_eye(-0.17, -0.58, 0.1), *_eye(0.17, -0.58, 0.1),
    ]  # fmt: skip


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


def rabbit(rng: np.random.Generator) -> list[Part]:
    parts = []
    for s in (-1, 1):
        tilt = s * float(rng.uniform(0.1, 0.3))
        parts.append(Part(ellipse(s * 0.2, -0.66, 0.13, 0.36, tilt), "main", 0.1))
        parts.append(Part(ellipse(s * 0.2, -0.64, 0.06, 0.26, tilt), "rose", 0.04))
    body = [
        Part(circle(0.48, 0.72, 0.18), "light", 0.14), Part(ellipse(0, 0.52, 0.46, 0.46), "main", 0.32),
        Part(ellipse(0, 0.58, 0.24, 0.3), "light", 0.14),
        Part(ellipse(-0.24, 0.88, 0.22, 0.1), "main", 0.08), Part(ellipse(0.24, 0.88, 0.22, 0.1), "main", 0.08),
    ]  # fmt: skip
    face = [
        Part(ellipse(0, -0.16, 0.42, 0.36), "main", 0.28), *_eye(-0.18, -0.22, 0.1), *_eye(0.18, -0.22, 0.1),
        Part(ellipse(0, -0.02, 0.18, 0.11), "light", 0.06), Part(circle(0, -0.08, 0.05), "rose", 0.03),
        Part(box(-0.06, 0.06, 0.06, 0.16, 0.01), "white", 0.0),
    ]  # fmt: skip
    return [*parts, *body, *face]


def snail(rng: np.random.Generator) -> list[Part]:
    turn = float(rng.uniform(-0.2, 0.2))
    body = union(
        line(-0.85, 0.82, 0.6, 0.8, 0.08, 0.14),
        line(0.6, 0.78, 0.74, 0.1, 0.15),
        circle(0.76, 0.02, 0.2),
        smooth=0.15,
    )
    horns = [
        part for x in (0.68, 0.88)
        for part in (Part(line(x, -0.1, x + 0.04, -0.42, 0.03), "skin", 0.03), Part(circle(x + 0.04, -0.44, 0.06), "ink", 0.05))
    ]  # fmt: skip
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


def teddy_bear(rng: np.random.Generator) -> list[Part]:
    raise_arm = float(rng.uniform(-0.3, 0.3))
    limbs = [
        Part(
            ellipse(s * 0.58, 0.18 - raise_arm * s * 0.4, 0.16, 0.36, s * (0.8 + raise_arm)),
            "main",
            0.14,
        )
        for s in (-1, 1)
    ]
    feet = [
        p
        for s in (-1, 1)
        for p in (
            Part(circle(s * 0.4, 0.74, 0.22), "main", 0.2),
            Part(circle(s * 0.42, 0.76, 0.12), "light", 0.05),
        )
    ]
    ears = [
        p
        for s in (-1, 1)
        for p in (
            Part(circle(s * 0.36, -0.74, 0.19), "main", 0.14),
            Part(circle(s * 0.36, -0.74, 0.1), "light", 0.04),
        )
    ]
    return [
        *limbs, Part(ellipse(0, 0.36, 0.46, 0.48), "main", 0.34), Part(ellipse(0, 0.38, 0.26, 0.3), "light", 0.12),
        *feet, *ears, Part(ellipse(0, -0.42, 0.48, 0.42), "main", 0.32), Part(ellipse(0, -0.3, 0.22, 0.17), "light", 0.1),
        Part(ellipse(0, -0.37, 0.08, 0.06), "ink", 0.05), Part(circle(-0.19, -0.52, 0.06), "ink", 0.05),
        Part(circle(0.19, -0.52, 0.06), "ink", 0.05), Part(line(0, -0.31, 0, -0.24, 0.014), "ink", 0.0),
    ]  # fmt: skip


def tree(rng: np.random.Generator) -> list[Part]:
    leaves = []
    for i in range(8):
        a = 2 * np.pi * i / 8 + float(rng.uniform(-0.2, 0.2))
        r = float(rng.uniform(0.24, 0.33))
        leaves.append(circle(0.46 * float(np.cos(a)), -0.32 + 0.33 * float(np.sin(a)), r))
    crown = union(ellipse(0, -0.32, 0.5, 0.4), *leaves, smooth=0.06)
    tufts = [
        Part(circle(float(x), float(y), float(r)), "main", 0.16)
        for x, y, r in zip(rng.uniform(-0.42, 0.42, 7), rng.uniform(-0.62, 0.0, 7), rng.uniform(0.14, 0.24, 7), strict=True)
    ]  # fmt: skip
    return [
        Part(union(line(0, 0.1, 0, 0.9, 0.13, 0.16), line(0, 0.4, 0.32, 0.0, 0.06), line(0, 0.5, -0.3, 0.1, 0.06),
                   ellipse(0, 0.92, 0.28, 0.05), smooth=0.1), "bark", 0.12),
        Part(crown, "main", 0.3), *tufts,
    ]  # fmt: skip


def turtle(rng: np.random.Generator) -> list[Part]:
    nod = float(rng.uniform(-0.1, 0.1))
    shell = cut(ellipse(-0.1, 0.5, 0.74, 0.82), box(-2, 0.56, 2, 2))
    plates = [(-0.45, 0.28), (-0.1, 0.02), (-0.1, 0.36), (0.25, 0.28)]
    return [
        Part(polygon([(-0.75, 0.55), (-1.0, 0.7), (-0.7, 0.7)], 0.02), "leaf", 0.05),
        Part(line(-0.5, 0.6, -0.56, 0.86, 0.13), "leaf", 0.1), Part(line(0.3, 0.6, 0.36, 0.86, 0.13), "leaf", 0.1),
        Part(union(line(0.5, 0.5, 0.72, 0.3 + nod, 0.12), ellipse(0.78, 0.24 + nod, 0.2, 0.17), smooth=0.1), "leaf", 0.14),
        Part(shell, "main", 0.45), *(Part(star(x, y, 0.15, 0.87, 3), "dark", 0.05) for x, y in plates),
        Part(box(-0.86, 0.5, 0.66, 0.62, 0.06), "light", 0.05), *_eye(0.84, 0.2 + nod, 0.06),
    ]  # fmt: skip


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
    return [*jets, Part(tail, "main", 0.1), Part(body, "main", 0.4), Part(belly, "light", 0.15),
            Part(ellipse(0.05, 0.52, 0.12, 0.25, 0.5), "dark", 0.1), *_eye(0.6, 0.2, 0.075)]  # fmt: skip


NATURE: dict[str, Builder] = {
    "apple": apple, "bird": bird, "butterfly": butterfly, "cactus": cactus, "cat": cat, "dog": dog,
    "duck": duck, "fish": fish, "flower": flower, "ladybug": ladybug, "mushroom": mushroom, "pear": pear,
    "penguin": penguin, "pine tree": pine_tree, "pumpkin": pumpkin, "rabbit": rabbit, "snail": snail,
    "teddy bear": teddy_bear, "tree": tree, "turtle": turtle, "whale": whale,
}  # fmt: skip
