"""How made things are drawn: each function returns parts, back to front."""

from __future__ import annotations

import numpy as np

from diffagiqa.synth.kinds_nature import Builder
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


def ball(rng: np.random.Generator) -> list[Part]:
    turn = float(rng.uniform(-0.5, 0.5))
    disc = circle(0, 0.05, 0.9)
    seams = [common(ellipse(s * 0.95, 0.05, 0.62, 0.95, turn), disc) for s in (-1, 1)]
    return [
        Part(disc, "main", 0.9),
        *(
            Part(
                cut(s, ellipse(np.sign(s.box[0] + s.box[2]) * 0.95, 0.05, 0.56, 0.9, turn)),
                "light",
                0.0,
            )
            for s in seams
        ),
    ]


def balloon(rng: np.random.Generator) -> list[Part]:
    sway = float(rng.uniform(-0.2, 0.2))
    return [
        Part(line(0, 0.4, sway, 0.75, 0.014), "ink", 0.0), Part(line(sway, 0.75, 0, 0.97, 0.014), "ink", 0.0),
        Part(polygon([(-0.09, 0.5), (0.09, 0.5), (0, 0.36)], 0.02), "dark", 0.05),
        Part(union(ellipse(0, -0.3, 0.6, 0.65), circle(0, 0.25, 0.12), smooth=0.3), "main", 0.55),
    ]  # fmt: skip


def basket(rng: np.random.Generator) -> list[Part]:
    rows = [
        Part(box(-0.8 + 0.05 * i, y, 0.8 - 0.05 * i, y + 0.035), "dark", 0.0)
        for i, y in enumerate((0.16, 0.36, 0.56, 0.76))
    ]
    columns = [
        Part(line(x, 0.02, x * 0.8, 0.9, 0.016), "dark", 0.0) for x in np.linspace(-0.66, 0.66, 7)
    ]
    handle = common(ring(0, 0.0, 0.68, 0.05), box(-1, -1, 1, 0.0))
    return [
        Part(handle, "dark", 0.05),
        Part(polygon([(-0.84, -0.05), (0.84, -0.05), (0.64, 0.92), (-0.64, 0.92)], 0.04), "main", 0.3),
        *rows, *columns, Part(box(-0.93, -0.12, 0.93, 0.06, 0.08), "main", 0.08),
    ]  # fmt: skip


def bell(rng: np.random.Generator) -> list[Part]:
    swing = float(rng.uniform(-0.15, 0.15))
    return [
        Part(circle(swing, 0.76, 0.17), "slate", 0.15), Part(ring(0, -0.78, 0.13, 0.045), "dark", 0.05),
        Part(union(ellipse(0, -0.2, 0.46, 0.5), polygon([(-0.44, -0.1), (0.44, -0.1), (0.78, 0.62), (-0.78, 0.62)], 0.04), smooth=0.15), "main", 0.4),
        Part(box(-0.9, 0.5, 0.9, 0.7, 0.1), "main", 0.1), Part(box(-0.6, 0.22, 0.6, 0.28, 0.02), "light", 0.02),
    ]  # fmt: skip


def boat(rng: np.random.Generator) -> list[Part]:
    full = float(rng.uniform(0.0, 0.12))
    return [
        Part(line(-0.05, -0.93, -0.05, 0.5, 0.04), "bark", 0.04),
        Part(polygon([(0.03, -0.86), (0.75 + full, 0.28), (0.03, 0.3)], 0.02), "light", 0.14),
        Part(polygon([(-0.14, -0.62), (-0.7, 0.28), (-0.14, 0.3)], 0.02), "white", 0.12),
        Part(polygon([(-0.92, 0.42), (0.95, 0.42), (0.66, 0.92), (-0.62, 0.92)], 0.03), "main", 0.25),
        Part(polygon([(-0.9, 0.46), (0.92, 0.46), (0.88, 0.56), (-0.84, 0.56)]), "white", 0.02),
    ]  # fmt: skip


def book(rng: np.random.Generator) -> list[Part]:
    mark = float(rng.uniform(-0.4, 0.4))
    return [
        Part(polygon([(-0.9, 0.44), (-0.55, 0.12), (0.93, 0.12), (0.62, 0.44)], 0.02), "main", 0.03),
        Part(polygon([(0.6, 0.5), (0.9, 0.17), (0.9, 0.55), (0.6, 0.88)]), "cream", 0.03),
        Part(box(-0.9, 0.48, 0.62, 0.9), "cream", 0.05),
        Part(box(-0.93, 0.42, 0.66, 0.52, 0.03), "main", 0.03), Part(box(-0.93, 0.84, 0.66, 0.95, 0.03), "main", 0.03),
        Part(box(-0.95, 0.42, -0.72, 0.95, 0.06), "main", 0.12),
        *(Part(box(-0.7, y, 0.6, y + 0.012), "cone", 0.0) for y in (0.58, 0.65, 0.72, 0.78)),
        Part(polygon([(-0.4, 0.38), (-0.3, 0.2), (0.6, 0.2), (0.46, 0.38)]), "light", 0.0),
        Part(box(mark, 0.84, mark + 0.09, 0.99), "gold", 0.01),
    ]  # fmt: skip


def bottle(rng: np.random.Generator) -> list[Part]:
    neck = float(rng.uniform(0.13, 0.17))
    return [
        Part(
            union(
                box(-0.42, -0.15, 0.42, 0.94, 0.12), box(-neck, -0.8, neck, 0.2, 0.04), smooth=0.28
            ),
            "main",
            0.3,
        ),
        Part(box(-neck - 0.04, -0.94, neck + 0.04, -0.74, 0.04), "gold", 0.08),
        Part(box(-0.43, 0.22, 0.43, 0.68, 0.02), "cream", 0.2),
        Part(star(0, 0.45, 0.16, 0.45, 5), "clay", 0.02),
    ]


def bowl(rng: np.random.Generator) -> list[Part]:
    band = float(rng.uniform(0.2, 0.32))
    half = cut(ellipse(0, 0.06, 0.92, 0.84), box(-2, -2, 2, 0.06))
    return [
        Part(ellipse(0, 0.06, 0.92, 0.16), "dark", 0.05),
        Part(box(-0.36, 0.8, 0.36, 0.95, 0.05), "dark", 0.08), Part(half, "main", 0.4),
        Part(common(box(-1, band, 1, band + 0.09), half), "light", 0.0),
        Part(cut(ellipse(0, 0.06, 0.93, 0.17), ellipse(0, 0.0, 0.87, 0.16)), "light", 0.03),
    ]  # fmt: skip


def crate(rng: np.random.Generator) -> list[Part]:
    tape = float(rng.uniform(-0.3, 0.0))
    return [
        Part(polygon([(-0.9, -0.3), (-0.45, -0.62), (0.93, -0.62), (0.5, -0.3)], 0.01), "light", 0.02),
        Part(polygon([(0.5, -0.3), (0.93, -0.62), (0.93, 0.58), (0.5, 0.94)], 0.01), "dark", 0.02),
        Part(box(-0.9, -0.3, 0.5, 0.94, 0.02), "main", 0.05),
        Part(box(tape - 0.1, -0.3, tape + 0.1, 0.94), "light", 0.0),
        Part(polygon([(tape - 0.1, -0.3), (tape + 0.34, -0.62), (tape + 0.54, -0.62), (tape + 0.1, -0.3)]), "main", 0.0),
    ]  # fmt: skip


def _wheel(x: float, y: float, r: float) -> list[Part]:
    return [
        Part(circle(x, y, r), "tyre", 0.08),
        Part(circle(x, y, r * 0.55), "steel", 0.06),
        Part(circle(x, y, r * 0.2), "tyre", 0.02),
    ]


def bus(rng: np.random.Generator) -> list[Part]:
    doors = float(rng.choice((0.38, 0.62)))
    windows = [
        Part(box(x, -0.4, x + 0.28, -0.02, 0.04), "glass", 0.03)
        for x in (-0.86, -0.52, -0.18, 0.16)
    ]
    return [
        Part(box(-0.96, -0.62, 0.96, 0.66, 0.14), "main", 0.16), *windows,
        Part(box(0.56, -0.4, 0.92, 0.06, 0.04), "glass", 0.03), Part(box(-0.96, 0.2, 0.96, 0.28), "light", 0.0),
        Part(box(doors - 0.2, 0.06, doors - 0.02, 0.6, 0.02), "glass", 0.02), Part(circle(0.88, 0.42, 0.07), "gold", 0.04),
        *_wheel(-0.52, 0.7, 0.23), *_wheel(0.56, 0.7, 0.23),
    ]  # fmt: skip


def cake(rng: np.random.Generator) -> list[Part]:
    drips = [
        ellipse(float(x), 0.0 + float(h), 0.1, 0.14)
        for x, h in zip(np.linspace(-0.6, 0.6, 7), rng.uniform(-0.12, 0.06, 7), strict=True)
    ]
    return [
        Part(ellipse(0, 0.86, 0.95, 0.11), "steel", 0.05),
        Part(union(box(-0.72, -0.3, 0.72, 0.86, 0.06), ellipse(0, 0.84, 0.72, 0.1)), "main", 0.3),
        Part(box(-0.72, 0.36, 0.72, 0.46), "cream", 0.02),
        Part(union(ellipse(0, -0.34, 0.74, 0.14), box(-0.73, -0.34, 0.73, -0.1, 0.08), *drips, smooth=0.08), "light", 0.08),
        *(Part(circle(x, -0.4 + 0.1 * abs(x), 0.085), "clay", 0.07) for x in (-0.56, 0.56)),
        Part(box(-0.05, -0.78, 0.05, -0.38), "white", 0.04), Part(ellipse(0, -0.86, 0.05, 0.1), "flame", 0.03),
    ]  # fmt: skip


def car(rng: np.random.Generator) -> list[Part]:
    roof = float(rng.uniform(-0.46, -0.36))
    cabin = polygon([(-0.55, 0.08), (-0.36, roof), (0.26, roof), (0.56, 0.08)], 0.06)
    return [
        Part(cabin, "main", 0.14),
        Part(polygon([(-0.44, 0.04), (-0.3, roof + 0.06), (-0.08, roof + 0.06), (-0.08, 0.04)], 0.02), "glass", 0.03),
        Part(polygon([(0.0, 0.04), (0.0, roof + 0.06), (0.21, roof + 0.06), (0.44, 0.04)], 0.02), "glass", 0.03),
        Part(union(box(-0.96, 0.04, 0.96, 0.58, 0.16), box(-0.6, 0.0, 0.6, 0.4, 0.1), smooth=0.12), "main", 0.24),
        Part(box(-0.03, 0.1, -0.01, 0.5), "dark", 0.0), Part(box(0.05, 0.18, 0.2, 0.22, 0.02), "steel", 0.02),
        Part(ellipse(0.88, 0.24, 0.07, 0.09), "gold", 0.04), Part(box(-0.96, 0.18, -0.86, 0.3, 0.03), "clay", 0.02),
        *_wheel(-0.52, 0.62, 0.26), *_wheel(0.54, 0.62, 0.26),
    ]  # fmt: skip


def castle(rng: np.random.Generator) -> list[Part]:
    def tower(x: float, top: float, half: float) -> list[Part]:
        teeth = [
            Part(
                box(
                    x - half + k * half * 0.74,
                    top - 0.14,
                    x - half + k * half * 0.74 + half * 0.5,
                    top + 0.05,
                ),
                "main",
                0.04,
            )
            for k in range(3)
        ]
        return [
            *teeth,
            Part(box(x - half, top, x + half, 0.95), "main", 0.1),
            Part(box(x - 0.04, top + 0.18, x + 0.04, top + 0.38, 0.04), "ink", 0.02),
        ]

    tall = float(rng.uniform(-0.62, -0.5))
    wall = [
        Part(box(-0.66 + k * 0.24, 0.0, -0.54 + k * 0.24, 0.14), "dark", 0.04) for k in range(6)
    ]
    return [
        Part(line(0, tall, 0, tall - 0.36, 0.02), "slate", 0.02), Part(polygon([(0.02, tall - 0.36), (0.3, tall - 0.27), (0.02, tall - 0.18)]), "clay", 0.02),
        *tower(0, tall, 0.26), *wall, Part(box(-0.66, 0.1, 0.66, 0.95), "dark", 0.06),
        *tower(-0.7, -0.25, 0.22), *tower(0.7, -0.25, 0.22),
        Part(union(box(-0.18, 0.5, 0.18, 0.95), circle(0, 0.5, 0.18)), "bark", 0.06), Part(line(0, 0.34, 0, 0.95, 0.012), "ink", 0.0),
    ]  # fmt: skip


def chair(rng: np.random.Generator) -> list[Part]:
    slats = int(rng.integers(2, 5))
    bars = [
        Part(box(float(x) - 0.05, -0.75, float(x) + 0.05, 0.1), "main", 0.05)
        for x in np.linspace(-0.3, 0.3, slats)
    ]
    return [
        Part(box(-0.4, 0.2, -0.3, 0.75), "dark", 0.05), Part(box(0.34, 0.2, 0.44, 0.75), "dark", 0.05), *bars,
        Part(box(-0.54, -0.9, -0.42, 0.2, 0.03), "main", 0.06), Part(box(0.42, -0.9, 0.54, 0.2, 0.03), "main", 0.06),
        Part(box(-0.56, -0.93, 0.56, -0.7, 0.06), "main", 0.08),
        Part(polygon([(-0.5, 0.08), (0.5, 0.08), (0.66, 0.3), (-0.66, 0.3)], 0.04), "light", 0.08),
        Part(box(-0.69, 0.28, 0.69, 0.4, 0.03), "main", 0.05),
        Part(box(-0.66, 0.36, -0.54, 0.95, 0.02), "main", 0.06), Part(box(0.54, 0.36, 0.66, 0.95, 0.02), "main", 0.06),
    ]  # fmt: skip


def clock(rng: np.random.Generator) -> list[Part]:
    a, b = rng.uniform(0, 2 * np.pi, 2)
    ticks = [
        Part(circle(0.52 * float(np.sin(t)), 0.05 - 0.52 * float(np.cos(t)), 0.045), "ink", 0.0)
        for t in np.arange(12) * np.pi / 6
    ]
    return [
        Part(line(-0.5, 0.7, -0.62, 0.92, 0.07), "dark", 0.06), Part(line(0.5, 0.7, 0.62, 0.92, 0.07), "dark", 0.06),
        Part(circle(-0.5, -0.68, 0.22), "dark", 0.2), Part(circle(0.5, -0.68, 0.22), "dark", 0.2),
        Part(circle(0, 0.05, 0.86), "main", 0.2), Part(circle(0, 0.05, 0.62), "white", 0.04), *ticks,
        Part(line(0, 0.05, 0.28 * float(np.sin(a)), 0.05 - 0.28 * float(np.cos(a)), 0.045), "ink", 0.02),
        Part(line(0, 0.05, 0.44 * float(np.sin(b)), 0.05 - 0.44 * float(np.cos(b)), 0.028), "ink", 0.02),
        Part(circle(0, 0.05, 0.06), "clay", 0.04),
    ]  # fmt: skip


def crown(rng: np.random.Generator) -> list[Part]:
    dip = float(rng.uniform(0.05, 0.25))
    points = [
        (-0.8, 0.75),
        (-0.92, -0.35),
        (-0.48, dip),
        (0, -0.68),
        (0.48, dip),
        (0.92, -0.35),
        (0.8, 0.75),
    ]
    tips = [
        Part(circle(x, y, 0.1), "rose", 0.09)
        for x, y in ((-0.92, -0.42), (0, -0.76), (0.92, -0.42))
    ]
    gems = [
        Part(ellipse(x, 0.66, 0.1, 0.08), paint, 0.06)
        for x, paint in ((-0.5, "clay"), (0, "glass"), (0.5, "clay"))
    ]
    return [
        Part(polygon(points, 0.03), "main", 0.2),
        Part(box(-0.86, 0.5, 0.86, 0.84, 0.06), "dark", 0.08),
        *tips,
        *gems,
    ]


def cup(rng: np.random.Generator) -> list[Part]:
    r = float(rng.uniform(0.28, 0.36))
    return [
        Part(ring(0.58, 0.12, r, 0.085), "main", 0.09),
        Part(
            polygon([(-0.68, -0.62), (0.6, -0.62), (0.46, 0.88), (-0.54, 0.88)], 0.06), "main", 0.34
        ),
        Part(ellipse(-0.04, -0.62, 0.69, 0.16), "light", 0.05),
        Part(ellipse(-0.04, -0.59, 0.6, 0.11), "bark", 0.03),
    ]


def guitar(rng: np.random.Generator) -> list[Part]:
    turn = float(rng.uniform(0.02, 0.06))
    frets = [Part(box(-0.07, y, 0.07, y + 0.014), "steel", 0.0) for y in (-0.6, -0.45, -0.3, -0.15)]
    return [
        Part(union(ellipse(0, 0.56, 0.54, 0.39), ellipse(0, 0.06, 0.4, 0.32), smooth=0.14), "main", 0.16),
        Part(box(-0.075, -0.8, 0.075, 0.16), "bark", 0.05), *frets,
        Part(box(-0.13, -0.97, 0.13, -0.72, 0.04), "dark", 0.05), Part(circle(0, 0.28, 0.17), "ink", 0.04),
        Part(box(-0.24, 0.62, 0.24, 0.7, 0.02), "bark", 0.03),
        *(Part(line(x, -0.85, x + turn * x, 0.66, 0.008), "cream", 0.0) for x in (-0.045, -0.015, 0.015, 0.045)),
    ]  # fmt: skip


def hat(rng: np.random.Generator) -> list[Part]:
    high = float(rng.uniform(-0.7, -0.5))
    crown_ = union(
        polygon([(-0.5, 0.5), (-0.44, high), (0.44, high), (0.5, 0.5)], 0.06),
        ellipse(0, high, 0.48, 0.14),
        smooth=0.05,
    )
    return [Part(ellipse(0, 0.58, 0.96, 0.28), "main", 0.12), Part(crown_, "main", 0.3),
            Part(polygon([(-0.52, 0.2), (0.52, 0.2), (0.55, 0.45), (-0.55, 0.45)], 0.02), "clay", 0.1),
            Part(circle(0.4, 0.32, 0.1), "gold", 0.06)]  # fmt: skip


def heart(rng: np.random.Generator) -> list[Part]:
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    x = 16 * np.sin(t) ** 3 / 18
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) / 18 - 0.02
    shine = float(rng.uniform(-0.6, -0.4))
    return [Part(polygon([(float(a), float(b)) for a, b in zip(x, y, strict=True)]), "main", 0.45),
            Part(ellipse(shine, -0.36, 0.14, 0.08, -0.7), "light", 0.05)]  # fmt: skip


def hot_air_balloon(rng: np.random.Generator) -> list[Part]:
    envelope = union(
        circle(0, -0.32, 0.62),
        polygon([(-0.5, 0.02), (0.5, 0.02), (0.16, 0.48), (-0.16, 0.48)], 0.02),
        smooth=0.1,
    )
    gores = [
        Part(common(ellipse(0, -0.3, w, 0.8), envelope), paint, 0.25)
        for w, paint in ((0.44, "light"), (0.24, "main"))
    ]
    wide = float(rng.uniform(0.18, 0.22))
    ropes = [Part(line(s * 0.15, 0.48, s * wide, 0.72, 0.014), "bark", 0.0) for s in (-1, 1)]
    return [*ropes, Part(envelope, "main", 0.4), *gores, Part(box(-0.18, 0.44, 0.18, 0.5), "dark", 0.03),
            Part(box(-wide, 0.7, wide, 0.95, 0.04), "cone", 0.1), Part(box(-wide - 0.03, 0.68, wide + 0.03, 0.75, 0.03), "bark", 0.03)]  # fmt: skip


def house(rng: np.random.Generator) -> list[Part]:
    door = float(rng.choice((-0.4, 0.0, 0.36)))
    places = [x for x in (-0.44, 0.0, 0.42) if abs(x - door) > 0.3]
    windows = [
        part for x in places
        for part in (Part(box(x - 0.17, 0.18, x + 0.17, 0.52), "white", 0.03), Part(box(x - 0.13, 0.22, x + 0.13, 0.48), "glass", 0.03),
                     Part(box(x - 0.015, 0.22, x + 0.015, 0.48), "white", 0.0), Part(box(x - 0.13, 0.335, x + 0.13, 0.365), "white", 0.0))
    ]  # fmt: skip
    tiles = [
        Part(
            line(-0.2 - 0.22 * i, -0.62 + 0.2 * i, 0.2 + 0.22 * i, -0.62 + 0.2 * i, 0.012),
            "ink",
            0.0,
        )
        for i in range(3)
    ]
    return [
        Part(box(0.38, -0.85, 0.58, -0.3), "clay", 0.06), Part(box(-0.74, -0.1, 0.74, 0.95), "main", 0.06),
        Part(polygon([(-0.95, -0.04), (0, -0.9), (0.95, -0.04)], 0.04), "slate", 0.12), *tiles, *windows,
        Part(box(door - 0.15, 0.42, door + 0.15, 0.95, 0.02), "bark", 0.05), Part(circle(door + 0.09, 0.7, 0.03), "gold", 0.03),
    ]  # fmt: skip


def ice_cream(rng: np.random.Generator) -> list[Part]:
    lean = float(rng.uniform(-0.06, 0.06))
    cone = polygon([(-0.4, 0.02), (0.4, 0.02), (0.02, 0.95)], 0.02)
    waffle = [
        Part(common(line(x, -0.1, x + s * 0.7, 1.0, 0.014), cone), "bark", 0.0)
        for s in (-1, 1)
        for x in (-0.3 * s - 0.2, -0.3 * s, -0.3 * s + 0.2)
    ]
    return [
        Part(cone, "cone", 0.2), *waffle,
        Part(union(circle(lean, -0.62, 0.3), smooth=0.0), "main", 0.3),
        Part(union(circle(-0.22, -0.18, 0.32), circle(0.22, -0.18, 0.32), ellipse(0, 0.04, 0.5, 0.1), smooth=0.06), "main", 0.26),
        Part(circle(lean + 0.05, -0.87, 0.09), "clay", 0.08),
    ]  # fmt: skip


def key(rng: np.random.Generator) -> list[Part]:
    deep = float(rng.uniform(0.14, 0.24))
    return [Part(union(ring(-0.54, 0, 0.3, 0.11), box(-0.2, -0.09, 0.95, 0.09, 0.03), box(0.5, 0.0, 0.62, deep + 0.1, 0.02),
                       box(0.74, 0.0, 0.9, deep + 0.18, 0.02), smooth=0.03), "main", 0.1)]  # fmt: skip


def lamp(rng: np.random.Generator) -> list[Part]:
    flare = float(rng.uniform(0.3, 0.42))
    return [
        Part(box(-0.05, -0.1, 0.05, 0.85), "gold", 0.05), Part(ellipse(0, 0.86, 0.42, 0.1), "gold", 0.08),
        Part(ellipse(0, 0.5, 0.16, 0.18), "main", 0.14), Part(ellipse(0, 0.04, 0.12, 0.12), "cream", 0.05),
        Part(polygon([(-flare, -0.9), (flare, -0.9), (0.76, 0.0), (-0.76, 0.0)], 0.03), "main", 0.34),
        Part(polygon([(-0.76, -0.05), (0.76, -0.05), (0.79, 0.03), (-0.79, 0.03)], 0.01), "light", 0.03),
    ]  # fmt: skip


def lighthouse(rng: np.random.Generator) -> list[Part]:
    bands = int(rng.integers(2, 4))
    tower = polygon([(-0.24, -0.42), (0.24, -0.42), (0.42, 0.92), (-0.42, 0.92)], 0.02)
    stripes = [
        Part(
            common(
                box(-0.6, -0.22 + 1.1 * i / bands, 0.6, -0.22 + 1.1 * (i + 0.42) / bands), tower
            ),
            "white",
            0.2,
        )
        for i in range(bands)
    ]
    return [
        Part(ellipse(0, 0.92, 0.7, 0.08), "slate", 0.06), Part(tower, "main", 0.3), *stripes,
        Part(box(-0.15, -0.7, 0.15, -0.44), "gold", 0.05), Part(box(-0.34, -0.48, 0.34, -0.4, 0.02), "slate", 0.03),
        *(Part(box(x, -0.72, x + 0.025, -0.46), "slate", 0.0) for x in (-0.17, -0.01, 0.145)),
        Part(polygon([(-0.24, -0.7), (0, -0.95), (0.24, -0.7)], 0.02), "main", 0.08), Part(box(-0.09, 0.68, 0.09, 0.93, 0.05), "bark", 0.04),
    ]  # fmt: skip


def airplane(rng: np.random.Generator) -> list[Part]:
    sweep = float(rng.uniform(0.0, 0.12))
    windows = [Part(circle(x, -0.04, 0.05), "glass", 0.02) for x in np.linspace(-0.4, 0.4, 6)]
    return [
        Part(polygon([(-0.7, -0.1), (-0.98, -0.62), (-0.78, -0.62), (-0.42, -0.14)], 0.02), "dark", 0.06),
        Part(polygon([(0.0, -0.1), (-0.22 - sweep, -0.5), (-0.06 - sweep, -0.5), (0.3, -0.1)], 0.02), "dark", 0.04),
        Part(union(ellipse(0.1, 0.02, 0.86, 0.2), line(-0.4, 0.0, -0.88, -0.1, 0.15, 0.06), smooth=0.1), "main", 0.2),
        *windows, Part(polygon([(0.62, -0.08), (0.78, -0.1), (0.84, 0.0), (0.64, 0.02)], 0.01), "glass", 0.02),
        Part(polygon([(0.16, 0.1), (-0.42 - sweep, 0.62), (-0.2 - sweep, 0.62), (0.5, 0.12)], 0.02), "light", 0.08),
        Part(ellipse(0.02, 0.42, 0.17, 0.08), "steel", 0.06), Part(polygon([(-0.68, 0.02), (-0.96, 0.22), (-0.82, 0.22), (-0.5, 0.04)], 0.01), "light", 0.04),
    ]  # fmt: skip


def robot(rng: np.random.Generator) -> list[Part]:
    wave = float(rng.uniform(-0.4, 0.3))
    eyes = [
        p
        for s in (-1, 1)
        for p in (
            Part(circle(s * 0.17, -0.5, 0.11), "glass", 0.04),
            Part(circle(s * 0.17, -0.5, 0.05), "ink", 0.02),
        )
    ]
    return [
        Part(line(0, -0.75, 0, -0.9, 0.03), "steel", 0.03), Part(circle(0, -0.92, 0.07), "clay", 0.06),
        Part(line(-0.5, 0.05, -0.78, 0.4, 0.1), "steel", 0.08), Part(line(0.5, 0.05, 0.78, 0.1 + wave, 0.1), "steel", 0.08),
        Part(circle(-0.8, 0.44, 0.13), "main", 0.1), Part(circle(0.8, 0.12 + wave, 0.13), "main", 0.1),
        Part(box(-0.34, 0.5, -0.1, 0.9, 0.04), "steel", 0.08), Part(box(0.1, 0.5, 0.34, 0.9, 0.04), "steel", 0.08),
        Part(box(-0.42, 0.8, -0.06, 0.95, 0.05), "main", 0.06), Part(box(0.06, 0.8, 0.42, 0.95, 0.05), "main", 0.06),
        Part(box(-0.5, -0.12, 0.5, 0.6, 0.08), "main", 0.14), Part(box(-0.42, -0.78, 0.42, -0.2, 0.1), "main", 0.14),
        *eyes, Part(box(-0.2, -0.34, 0.2, -0.27, 0.02), "ink", 0.02), Part(box(-0.28, 0.04, 0.28, 0.36, 0.04), "light", 0.03),
        Part(circle(-0.14, 0.2, 0.07), "clay", 0.05), Part(circle(0.1, 0.2, 0.07), "gold", 0.05),
    ]  # fmt: skip


def rocket(rng: np.random.Generator) -> list[Part]:
    fire = float(rng.uniform(0.0, 0.12))
    body = common(circle(0.62, -0.1, 1.0), circle(-0.62, -0.1, 1.0), box(-0.5, -1, 0.5, 0.55))
    body = type(body)(body.distance, (-0.4, -0.92, 0.4, 0.56))
    return [
        Part(polygon([(-0.2, 0.55), (0.2, 0.55), (0, 0.86 + fire)], 0.03), "flame", 0.1), Part(polygon([(-0.1, 0.55), (0.1, 0.55), (0, 0.72 + fire)], 0.02), "gold", 0.06),
        *(Part(polygon([(s * 0.26, 0.1), (s * 0.66, 0.5), (s * 0.62, 0.78), (s * 0.24, 0.5)], 0.03), "dark", 0.1) for s in (-1, 1)),
        Part(body, "main", 0.32), Part(common(box(-0.5, -1, 0.5, -0.55), body), "light", 0.15),
        Part(circle(0, -0.22, 0.17), "steel", 0.05), Part(circle(0, -0.22, 0.12), "glass", 0.08), Part(box(-0.24, 0.5, 0.24, 0.6, 0.03), "slate", 0.05),
    ]  # fmt: skip


def star_(rng: np.random.Generator) -> list[Part]:
    return [Part(star(0, 0.06, 0.95, float(rng.uniform(0.42, 0.52)), 5), "main", 0.38)]


def table(rng: np.random.Generator) -> list[Part]:
    inset = float(rng.uniform(0.0, 0.08))
    legs = [
        Part(polygon([(x, 0.0), (x + 0.15, 0.0), (x + 0.12, 0.95), (x + 0.03, 0.95)]), "main", 0.06)
        for x in (-0.84 + inset, 0.69 - inset)
    ]
    back = [Part(box(x, 0.0, x + 0.09, 0.78), "dark", 0.04) for x in (-0.6, 0.5)]
    return [*back, Part(box(-0.78, -0.1, 0.78, 0.14), "dark", 0.04), *legs,
            Part(polygon([(-0.78, -0.32), (0.78, -0.32), (0.98, -0.1), (-0.98, -0.1)], 0.01), "light", 0.02),
            Part(box(-0.99, -0.12, 0.99, 0.0, 0.02), "main", 0.04)]  # fmt: skip


def teapot(rng: np.random.Generator) -> list[Part]:
    up = float(rng.uniform(-0.3, -0.2))
    return [
        Part(ring(-0.62, 0.2, 0.28, 0.07), "dark", 0.07), Part(union(line(0.4, 0.4, 0.72, 0.1, 0.16, 0.09), line(0.72, 0.1, 0.9, up, 0.09, 0.07), smooth=0.1), "main", 0.12),
        Part(box(-0.34, 0.78, 0.34, 0.93, 0.05), "dark", 0.06), Part(ellipse(0, 0.28, 0.64, 0.58), "main", 0.5),
        Part(ellipse(0, -0.24, 0.36, 0.13), "dark", 0.08), Part(circle(0, -0.44, 0.11), "gold", 0.1),
        *(Part(circle(x, 0.34 + 0.1 * abs(x), 0.08), "light", 0.02) for x in (-0.4, -0.14, 0.14, 0.4)),
    ]  # fmt: skip


def train(rng: np.random.Generator) -> list[Part]:
    puff = float(rng.uniform(-0.1, 0.1))
    return [
        Part(union(circle(0.45 + puff, -0.78, 0.14), circle(0.22 + puff, -0.84, 0.12), smooth=0.05), "white", 0.12),
        Part(polygon([(0.42, -0.52), (0.68, -0.52), (0.62, 0.0), (0.48, 0.0)], 0.02), "slate", 0.1),
        Part(circle(0.1, -0.2, 0.15), "gold", 0.12), Part(box(-0.3, -0.18, 0.86, 0.44, 0.14), "main", 0.3),
        Part(box(0.3, -0.18, 0.36, 0.44), "gold", 0.0), Part(box(0.82, -0.1, 0.92, 0.38, 0.04), "slate", 0.05),
        Part(box(-0.92, -0.62, -0.24, 0.5, 0.03), "main", 0.08), Part(box(-0.99, -0.74, -0.17, -0.6, 0.04), "slate", 0.05),
        Part(box(-0.8, -0.42, -0.38, 0.0, 0.03), "glass", 0.03), Part(box(-0.95, 0.42, 0.92, 0.58, 0.03), "slate", 0.04),
        Part(polygon([(0.88, 0.5), (1.0, 0.9), (0.76, 0.9)], 0.01), "steel", 0.04),
        *_wheel(-0.64, 0.66, 0.28), *_wheel(0.0, 0.74, 0.2), *_wheel(0.5, 0.74, 0.2),
    ]  # fmt: skip


def umbrella(rng: np.random.Generator) -> list[Part]:
    cover = cut(
        ellipse(0, 0.1, 0.96, 0.94),
        *(ellipse(x, 0.16, 0.25, 0.16) for x in (-0.72, -0.24, 0.24, 0.72)),
        box(-2, 0.14, 2, 2),
    )
    gores = [
        Part(
            common(cut(ellipse(0, 0.1, w, 0.93), ellipse(0, 0.1, w - 0.02, 0.93)), cover),
            "dark",
            0.0,
        )
        for w in (0.32, 0.68)
    ]
    hook = float(rng.uniform(0.12, 0.16))
    return [
        Part(line(0, -0.8, 0, 0.8, 0.035), "bark", 0.03), Part(common(ring(hook, 0.8, hook, 0.04), box(-0.1, 0.8, 0.5, 1.0)), "bark", 0.03),
        Part(cover, "main", 0.45), *gores, Part(circle(0, -0.87, 0.06), "bark", 0.05),
    ]  # fmt: skip


def vase(rng: np.random.Generator) -> list[Part]:
    fat = float(rng.uniform(0.5, 0.62))
    body = union(
        ellipse(0, 0.3, fat, 0.55),
        box(-0.2, -0.7, 0.2, 0.0, 0.05),
        box(-0.3, 0.72, 0.3, 0.93, 0.03),
        smooth=0.3,
    )
    return [Part(body, "main", 0.42), Part(ellipse(0, -0.74, 0.36, 0.11), "main", 0.06), Part(ellipse(0, -0.75, 0.26, 0.06), "dark", 0.02),
            Part(common(box(-1, 0.12, 1, 0.19), body), "light", 0.0), Part(common(box(-1, 0.42, 1, 0.49), body), "light", 0.0)]  # fmt: skip


THINGS: dict[str, Builder] = {
    "airplane": airplane, "ball": ball, "balloon": balloon, "basket": basket, "bell": bell, "boat": boat,
    "book": book, "bottle": bottle, "bowl": bowl, "box": crate, "bus": bus, "cake": cake, "car": car,
    "castle": castle, "chair": chair, "clock": clock, "crown": crown, "cup": cup, "guitar": guitar,
    "hat": hat, "heart": heart, "hot air balloon": hot_air_balloon, "house": house,
    "ice cream": ice_cream, "key": key, "lamp": lamp, "lighthouse": lighthouse, "robot": robot,
    "rocket": rocket, "star": star_, "table": table, "teapot": teapot, "train": train,
    "umbrella": umbrella, "vase": vase,
}  # fmt: skip
