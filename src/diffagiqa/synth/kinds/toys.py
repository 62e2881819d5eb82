"""How toys, clothes and signs are drawn: each function returns parts, back to front."""

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
        Part(line(0, 0.4, sway, 0.75, 0.014), "ink", 0.0),
        Part(line(sway, 0.75, 0, 0.97, 0.014), "ink", 0.0),
        Part(polygon([(-0.09, 0.5), (0.09, 0.5), (0, 0.36)], 0.02), "dark", 0.05),
        Part(union(ellipse(0, -0.3, 0.6, 0.65), circle(0, 0.25, 0.12), smooth=0.3), "main", 0.55),
    ]


def bell(rng: np.random.Generator) -> list[Part]:
    swing = float(rng.uniform(-0.15, 0.15))
    return [
        Part(circle(swing, 0.76, 0.17), "slate", 0.15),
        Part(ring(0, -0.78, 0.13, 0.045), "dark", 0.05),
        Part(
            union(
                ellipse(0, -0.2, 0.46, 0.5),
                polygon([(-0.44, -0.1), (0.44, -0.1), (0.78, 0.62), (-0.78, 0.62)], 0.04),
                smooth=0.15,
            ),
            "main",
            0.4,
        ),
        Part(box(-0.9, 0.5, 0.9, 0.7, 0.1), "main", 0.1),
        Part(box(-0.6, 0.22, 0.6, 0.28, 0.02), "light", 0.02),
    ]


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


def guitar(rng: np.random.Generator) -> list[Part]:
    turn = float(rng.uniform(0.02, 0.06))
    frets = [Part(box(-0.07, y, 0.07, y + 0.014), "steel", 0.0) for y in (-0.6, -0.45, -0.3, -0.15)]
    return [
        Part(
            union(ellipse(0, 0.56, 0.54, 0.39), ellipse(0, 0.06, 0.4, 0.32), smooth=0.14),
            "main",
            0.16,
        ),
        Part(box(-0.075, -0.8, 0.075, 0.16), "bark", 0.05),
        *frets,
        Part(box(-0.13, -0.97, 0.13, -0.72, 0.04), "dark", 0.05),
        Part(circle(0, 0.28, 0.17), "ink", 0.04),
        Part(box(-0.24, 0.62, 0.24, 0.7, 0.02), "bark", 0.03),
        *(
            Part(line(x, -0.85, x + turn * x, 0.66, 0.008), "cream", 0.0)
            for x in (-0.045, -0.015, 0.015, 0.045)
        ),
    ]


def hat(rng: np.random.Generator) -> list[Part]:
    high = float(rng.uniform(-0.7, -0.5))
    crown_ = union(
        polygon([(-0.5, 0.5), (-0.44, high), (0.44, high), (0.5, 0.5)], 0.06),
        ellipse(0, high, 0.48, 0.14),
        smooth=0.05,
    )
    return [
        Part(ellipse(0, 0.58, 0.96, 0.28), "main", 0.12),
        Part(crown_, "main", 0.3),
        Part(polygon([(-0.52, 0.2), (0.52, 0.2), (0.55, 0.45), (-0.55, 0.45)], 0.02), "clay", 0.1),
        Part(circle(0.4, 0.32, 0.1), "gold", 0.06),
    ]


def heart(rng: np.random.Generator) -> list[Part]:
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    x = 16 * np.sin(t) ** 3 / 18
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) / 18 - 0.02
    shine = float(rng.uniform(-0.6, -0.4))
    return [
        Part(polygon([(float(a), float(b)) for a, b in zip(x, y, strict=True)]), "main", 0.45),
        Part(ellipse(shine, -0.36, 0.14, 0.08, -0.7), "light", 0.05),
    ]


def key(rng: np.random.Generator) -> list[Part]:
    deep = float(rng.uniform(0.14, 0.24))
    return [
        Part(
            union(
                ring(-0.54, 0, 0.3, 0.11),
                box(-0.2, -0.09, 0.95, 0.09, 0.03),
                box(0.5, 0.0, 0.62, deep + 0.1, 0.02),
                box(0.74, 0.0, 0.9, deep + 0.18, 0.02),
                smooth=0.03,
            ),
            "main",
            0.1,
        )
    ]


def robot(rng: np.random.Generator) -> list[Part]:
    wave = float(rng.uniform(-0.4, 0.3))

    def lens(s: int) -> list[Part]:
        return [
            Part(circle(s * 0.17, -0.5, 0.11), "glass", 0.04),
            Part(circle(s * 0.17, -0.5, 0.05), "ink", 0.02),
        ]

    return [
        Part(line(0, -0.75, 0, -0.9, 0.03), "steel", 0.03),
        Part(circle(0, -0.92, 0.07), "clay", 0.06),
        Part(line(-0.5, 0.05, -0.78, 0.4, 0.1), "steel", 0.08),
        Part(line(0.5, 0.05, 0.78, 0.1 + wave, 0.1), "steel", 0.08),
        Part(circle(-0.8, 0.44, 0.13), "main", 0.1),
        Part(circle(0.8, 0.12 + wave, 0.13), "main", 0.1),
        Part(box(-0.34, 0.5, -0.1, 0.9, 0.04), "steel", 0.08),
        Part(box(0.1, 0.5, 0.34, 0.9, 0.04), "steel", 0.08),
        Part(box(-0.42, 0.8, -0.06, 0.95, 0.05), "main", 0.06),
        Part(box(0.06, 0.8, 0.42, 0.95, 0.05), "main", 0.06),
        Part(box(-0.5, -0.12, 0.5, 0.6, 0.08), "main", 0.14),
        Part(box(-0.42, -0.78, 0.42, -0.2, 0.1), "main", 0.14),
        *both(lens),
        Part(box(-0.2, -0.34, 0.2, -0.27, 0.02), "ink", 0.02),
        Part(box(-0.28, 0.04, 0.28, 0.36, 0.04), "light", 0.03),
        Part(circle(-0.14, 0.2, 0.07), "clay", 0.05),
        Part(circle(0.1, 0.2, 0.07), "gold", 0.05),
    ]


def star_(rng: np.random.Generator) -> list[Part]:
    return [Part(star(0, 0.06, 0.95, float(rng.uniform(0.42, 0.52)), 5), "main", 0.38)]


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
        Part(line(0, -0.8, 0, 0.8, 0.035), "bark", 0.03),
        Part(common(ring(hook, 0.8, hook, 0.04), box(-0.1, 0.8, 0.5, 1.0)), "bark", 0.03),
        Part(cover, "main", 0.45),
        *gores,
        Part(circle(0, -0.87, 0.06), "bark", 0.05),
    ]


TOYS: dict[str, Builder] = {
    "ball": ball,
    "balloon": balloon,
    "bell": bell,
    "crown": crown,
    "guitar": guitar,
    "hat": hat,
    "heart": heart,
    "key": key,
    "robot": robot,
    "star": star_,
    "umbrella": umbrella,
}
