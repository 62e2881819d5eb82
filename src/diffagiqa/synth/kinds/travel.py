"""How vehicles and buildings are drawn: each function returns parts, back to front."""

from __future__ import annotations

import numpy as np

from diffagiqa.synth.shapes import (
    Builder,
    Part,
    Shape,
    box,
    circle,
    common,
    ellipse,
    line,
    polygon,
    union,
)


def _wheel(x: float, y: float, r: float) -> list[Part]:
    return [
        Part(circle(x, y, r), "tyre", 0.08),
        Part(circle(x, y, r * 0.55), "steel", 0.06),
        Part(circle(x, y, r * 0.2), "tyre", 0.02),
    ]


def airplane(rng: np.random.Generator) -> list[Part]:
    sweep = float(rng.uniform(0.0, 0.12))
    windows = [Part(circle(x, -0.04, 0.05), "glass", 0.02) for x in np.linspace(-0.4, 0.4, 6)]
    return [
        Part(
            polygon([(-0.7, -0.1), (-0.98, -0.62), (-0.78, -0.62), (-0.42, -0.14)], 0.02),
            "dark",
            0.06,
        ),
        Part(
            polygon([(0.0, -0.1), (-0.22 - sweep, -0.5), (-0.06 - sweep, -0.5), (0.3, -0.1)], 0.02),
            "dark",
            0.04,
        ),
        Part(
            union(
                ellipse(0.1, 0.02, 0.86, 0.2), line(-0.4, 0.0, -0.88, -0.1, 0.15, 0.06), smooth=0.1
            ),
            "main",
            0.2,
        ),
        *windows,
        Part(
            polygon([(0.62, -0.08), (0.78, -0.1), (0.84, 0.0), (0.64, 0.02)], 0.01), "glass", 0.02
        ),
        Part(
            polygon([(0.16, 0.1), (-0.42 - sweep, 0.62), (-0.2 - sweep, 0.62), (0.5, 0.12)], 0.02),
            "light",
            0.08,
        ),
        Part(ellipse(0.02, 0.42, 0.17, 0.08), "steel", 0.06),
        Part(
            polygon([(-0.68, 0.02), (-0.96, 0.22), (-0.82, 0.22), (-0.5, 0.04)], 0.01),
            "light",
            0.04,
        ),
    ]


def boat(rng: np.random.Generator) -> list[Part]:
    full = float(rng.uniform(0.0, 0.12))
    return [
        Part(line(-0.05, -0.93, -0.05, 0.5, 0.04), "bark", 0.04),
        Part(polygon([(0.03, -0.86), (0.75 + full, 0.28), (0.03, 0.3)], 0.02), "light", 0.14),
        Part(polygon([(-0.14, -0.62), (-0.7, 0.28), (-0.14, 0.3)], 0.02), "white", 0.12),
        Part(
            polygon([(-0.92, 0.42), (0.95, 0.42), (0.66, 0.92), (-0.62, 0.92)], 0.03), "main", 0.25
        ),
        Part(polygon([(-0.9, 0.46), (0.92, 0.46), (0.88, 0.56), (-0.84, 0.56)]), "white", 0.02),
    ]


def bus(rng: np.random.Generator) -> list[Part]:
    doors = float(rng.choice((0.38, 0.62)))
    windows = [
        Part(box(x, -0.4, x + 0.28, -0.02, 0.04), "glass", 0.03)
        for x in (-0.86, -0.52, -0.18, 0.16)
    ]
    return [
        Part(box(-0.96, -0.62, 0.96, 0.66, 0.14), "main", 0.16),
        *windows,
        Part(box(0.56, -0.4, 0.92, 0.06, 0.04), "glass", 0.03),
        Part(box(-0.96, 0.2, 0.96, 0.28), "light", 0.0),
        Part(box(doors - 0.2, 0.06, doors - 0.02, 0.6, 0.02), "glass", 0.02),
        Part(circle(0.88, 0.42, 0.07), "gold", 0.04),
        *_wheel(-0.52, 0.7, 0.23),
        *_wheel(0.56, 0.7, 0.23),
    ]


def car(rng: np.random.Generator) -> list[Part]:
    roof = float(rng.uniform(-0.46, -0.36))
    cabin = polygon([(-0.55, 0.08), (-0.36, roof), (0.26, roof), (0.56, 0.08)], 0.06)
    return [
        Part(cabin, "main", 0.14),
        Part(
            polygon(
                [(-0.44, 0.04), (-0.3, roof + 0.06), (-0.08, roof + 0.06), (-0.08, 0.04)], 0.02
            ),
            "glass",
            0.03,
        ),
        Part(
            polygon([(0.0, 0.04), (0.0, roof + 0.06), (0.21, roof + 0.06), (0.44, 0.04)], 0.02),
            "glass",
            0.03,
        ),
        Part(
            union(box(-0.96, 0.04, 0.96, 0.58, 0.16), box(-0.6, 0.0, 0.6, 0.4, 0.1), smooth=0.12),
            "main",
            0.24,
        ),
        Part(box(-0.03, 0.1, -0.01, 0.5), "dark", 0.0),
        Part(box(0.05, 0.18, 0.2, 0.22, 0.02), "steel", 0.02),
        Part(ellipse(0.88, 0.24, 0.07, 0.09), "gold", 0.04),
        Part(box(-0.96, 0.18, -0.86, 0.3, 0.03), "clay", 0.02),
        *_wheel(-0.52, 0.62, 0.26),
        *_wheel(0.54, 0.62, 0.26),
    ]


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
        Part(line(0, tall, 0, tall - 0.36, 0.02), "slate", 0.02),
        Part(polygon([(0.02, tall - 0.36), (0.3, tall - 0.27), (0.02, tall - 0.18)]), "clay", 0.02),
        *tower(0, tall, 0.26),
        *wall,
        Part(box(-0.66, 0.1, 0.66, 0.95), "dark", 0.06),
        *tower(-0.7, -0.25, 0.22),
        *tower(0.7, -0.25, 0.22),
        Part(union(box(-0.18, 0.5, 0.18, 0.95), circle(0, 0.5, 0.18)), "bark", 0.06),
        Part(line(0, 0.34, 0, 0.95, 0.012), "ink", 0.0),
    ]


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
    return [
        *ropes,
        Part(envelope, "main", 0.4),
        *gores,
        Part(box(-0.18, 0.44, 0.18, 0.5), "dark", 0.03),
        Part(box(-wide, 0.7, wide, 0.95, 0.04), "cone", 0.1),
        Part(box(-wide - 0.03, 0.68, wide + 0.03, 0.75, 0.03), "bark", 0.03),
    ]


def house(rng: np.random.Generator) -> list[Part]:
    door = float(rng.choice((-0.4, 0.0, 0.36)))
    places = [x for x in (-0.44, 0.0, 0.42) if abs(x - door) > 0.3]
    windows = [
        part
        for x in places
        for part in (
            Part(box(x - 0.17, 0.18, x + 0.17, 0.52), "white", 0.03),
            Part(box(x - 0.13, 0.22, x + 0.13, 0.48), "glass", 0.03),
            Part(box(x - 0.015, 0.22, x + 0.015, 0.48), "white", 0.0),
            Part(box(x - 0.13, 0.335, x + 0.13, 0.365), "white", 0.0),
        )
    ]
    tiles = [
        Part(
            line(-0.2 - 0.22 * i, -0.62 + 0.2 * i, 0.2 + 0.22 * i, -0.62 + 0.2 * i, 0.012),
            "ink",
            0.0,
        )
        for i in range(3)
    ]
    return [
        Part(box(0.38, -0.85, 0.58, -0.3), "clay", 0.06),
        Part(box(-0.74, -0.1, 0.74, 0.95), "main", 0.06),
        Part(polygon([(-0.95, -0.04), (0, -0.9), (0.95, -0.04)], 0.04), "slate", 0.12),
        *tiles,
        *windows,
        Part(box(door - 0.15, 0.42, door + 0.15, 0.95, 0.02), "bark", 0.05),
        Part(circle(door + 0.09, 0.7, 0.03), "gold", 0.03),
    ]


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
        Part(ellipse(0, 0.92, 0.7, 0.08), "slate", 0.06),
        Part(tower, "main", 0.3),
        *stripes,
        Part(box(-0.15, -0.7, 0.15, -0.44), "gold", 0.05),
        Part(box(-0.34, -0.48, 0.34, -0.4, 0.02), "slate", 0.03),
        *(Part(box(x, -0.72, x + 0.025, -0.46), "slate", 0.0) for x in (-0.17, -0.01, 0.145)),
        Part(polygon([(-0.24, -0.7), (0, -0.95), (0.24, -0.7)], 0.02), "main", 0.08),
        Part(box(-0.09, 0.68, 0.09, 0.93, 0.05), "bark", 0.04),
    ]


def rocket(rng: np.random.Generator) -> list[Part]:
    fire = float(rng.uniform(0.0, 0.12))
    body = common(circle(0.62, -0.1, 1.0), circle(-0.62, -0.1, 1.0), box(-0.5, -1, 0.5, 0.55))
    body = Shape(body.distance, (-0.4, -0.92, 0.4, 0.56))
    return [
        Part(polygon([(-0.2, 0.55), (0.2, 0.55), (0, 0.86 + fire)], 0.03), "flame", 0.1),
        Part(polygon([(-0.1, 0.55), (0.1, 0.55), (0, 0.72 + fire)], 0.02), "gold", 0.06),
        *(
            Part(
                polygon(
                    [(s * 0.26, 0.1), (s * 0.66, 0.5), (s * 0.62, 0.78), (s * 0.24, 0.5)], 0.03
                ),
                "dark",
                0.1,
            )
            for s in (-1, 1)
        ),
        Part(body, "main", 0.32),
        Part(common(box(-0.5, -1, 0.5, -0.55), body), "light", 0.15),
        Part(circle(0, -0.22, 0.17), "steel", 0.05),
        Part(circle(0, -0.22, 0.12), "glass", 0.08),
        Part(box(-0.24, 0.5, 0.24, 0.6, 0.03), "slate", 0.05),
    ]


def train(rng: np.random.Generator) -> list[Part]:
    puff = float(rng.uniform(-0.1, 0.1))
    return [
        Part(
            union(circle(0.45 + puff, -0.78, 0.14), circle(0.22 + puff, -0.84, 0.12), smooth=0.05),
            "white",
            0.12,
        ),
        Part(polygon([(0.42, -0.52), (0.68, -0.52), (0.62, 0.0), (0.48, 0.0)], 0.02), "slate", 0.1),
        Part(circle(0.1, -0.2, 0.15), "gold", 0.12),
        Part(box(-0.3, -0.18, 0.86, 0.44, 0.14), "main", 0.3),
        Part(box(0.3, -0.18, 0.36, 0.44), "gold", 0.0),
        Part(box(0.82, -0.1, 0.92, 0.38, 0.04), "slate", 0.05),
        Part(box(-0.92, -0.62, -0.24, 0.5, 0.03), "main", 0.08),
        Part(box(-0.99, -0.74, -0.17, -0.6, 0.04), "slate", 0.05),
        Part(box(-0.8, -0.42, -0.38, 0.0, 0.03), "glass", 0.03),
        Part(box(-0.95, 0.42, 0.92, 0.58, 0.03), "slate", 0.04),
        Part(polygon([(0.88, 0.5), (1.0, 0.9), (0.76, 0.9)], 0.01), "steel", 0.04),
        *_wheel(-0.64, 0.66, 0.28),
        *_wheel(0.0, 0.74, 0.2),
        *_wheel(0.5, 0.74, 0.2),
    ]


TRAVEL: dict[str, Builder] = {
    "airplane": airplane,
    "boat": boat,
    "bus": bus,
    "car": car,
    "castle": castle,
    "hot air balloon": hot_air_balloon,
    "house": house,
    "lighthouse": lighthouse,
    "rocket": rocket,
    "train": train,
}
