"""How animals that sit and look at us are drawn: each function returns parts, back to front."""

from __future__ import annotations

import numpy as np

from diffagiqa.synth.kinds.animals import eye
from diffagiqa.synth.shapes import Builder, Part, both, box, circle, ellipse, line, polygon, union


def _sitting(tail: float) -> list[Part]:
    """Body, paws and tail of an animal that sits and looks at us."""
    return [
        Part(
            union(
                line(0.35, 0.8, 0.78, 0.72, 0.1),
                line(0.78, 0.72, 0.82, tail, 0.1, 0.07),
                smooth=0.1,
            ),
            "main",
            0.1,
        ),
        Part(ellipse(0, 0.5, 0.48, 0.5), "main", 0.35),
        Part(ellipse(0, 0.55, 0.24, 0.36), "light", 0.15),
        Part(ellipse(-0.2, 0.86, 0.2, 0.11), "main", 0.1),
        Part(ellipse(0.2, 0.86, 0.2, 0.11), "main", 0.1),
    ]


def cat(rng: np.random.Generator) -> list[Part]:
    def ear(s: int) -> list[Part]:
        outer = [(s * 0.1, -0.62), (s * 0.46, -0.4), (s * 0.42, -0.93)]
        inner = [(s * 0.2, -0.64), (s * 0.4, -0.5), (s * 0.38, -0.8)]
        return [Part(polygon(outer, 0.03), "main", 0.1), Part(polygon(inner, 0.01), "rose", 0.05)]

    def slit_eye(s: int) -> list[Part]:
        return [
            Part(ellipse(s * 0.2, -0.34, 0.12, 0.13), "gold", 0.04),
            Part(ellipse(s * 0.2, -0.34, 0.045, 0.11), "ink", 0.02),
            Part(circle(s * 0.2 + 0.03, -0.39, 0.03), "white", 0.0),
        ]

    def whiskers(s: int) -> list[Part]:
        ends = (-0.26, -0.11)
        return [Part(line(s * 0.14, -0.16, s * 0.62, y, 0.012), "ink", 0.0) for y in ends]

    return [
        *_sitting(float(rng.uniform(0.0, 0.4))),
        *both(ear),
        Part(ellipse(0, -0.3, 0.5, 0.42), "main", 0.3),
        Part(ellipse(0, -0.12, 0.2, 0.12), "light", 0.06),
        *both(slit_eye),
        Part(polygon([(-0.06, -0.2), (0.06, -0.2), (0, -0.13)], 0.015), "rose", 0.02),
        Part(line(0, -0.12, 0, -0.05, 0.013), "ink", 0.0),
        *both(whiskers),
    ]


def dog(rng: np.random.Generator) -> list[Part]:
    def ear_and_eye(s: int) -> list[Part]:
        ear = Part(ellipse(s * 0.46, -0.34, 0.15, 0.4, s * 0.25), "dark", 0.12)
        return [ear, *eye(s * 0.17, -0.46, 0.09)]

    return [
        *_sitting(float(rng.uniform(0.2, 0.5))),
        Part(ellipse(0, -0.36, 0.42, 0.46), "main", 0.3),
        *both(ear_and_eye),
        Part(ellipse(0, -0.14, 0.26, 0.2), "light", 0.12),
        Part(ellipse(0, -0.23, 0.11, 0.08), "ink", 0.06),
        Part(ellipse(0, -0.0, 0.07, 0.1), "rose", 0.04),
        Part(box(-0.3, 0.04, 0.3, 0.13, 0.04), "clay", 0.04),
        Part(circle(0, 0.18, 0.07), "gold", 0.05),
    ]


def rabbit(rng: np.random.Generator) -> list[Part]:
    def ear(s: int) -> list[Part]:
        tilt = s * float(rng.uniform(0.1, 0.3))
        return [
            Part(ellipse(s * 0.2, -0.66, 0.13, 0.36, tilt), "main", 0.1),
            Part(ellipse(s * 0.2, -0.64, 0.06, 0.26, tilt), "rose", 0.04),
        ]

    return [
        *both(ear),
        Part(circle(0.48, 0.72, 0.18), "light", 0.14),
        Part(ellipse(0, 0.52, 0.46, 0.46), "main", 0.32),
        Part(ellipse(0, 0.58, 0.24, 0.3), "light", 0.14),
        Part(ellipse(-0.24, 0.88, 0.22, 0.1), "main", 0.08),
        Part(ellipse(0.24, 0.88, 0.22, 0.1), "main", 0.08),
        Part(ellipse(0, -0.16, 0.42, 0.36), "main", 0.28),
        *eye(-0.18, -0.22, 0.1),
        *eye(0.18, -0.22, 0.1),
        Part(ellipse(0, -0.02, 0.18, 0.11), "light", 0.06),
        Part(circle(0, -0.08, 0.05), "rose", 0.03),
        Part(box(-0.06, 0.06, 0.06, 0.16, 0.01), "white", 0.0),
    ]


def teddy_bear(rng: np.random.Generator) -> list[Part]:
    lift = float(rng.uniform(-0.3, 0.3))

    def arm(s: int) -> list[Part]:
        shape = ellipse(s * 0.58, 0.18 - lift * s * 0.4, 0.16, 0.36, s * (0.8 + lift))
        return [Part(shape, "main", 0.14)]

    def foot(s: int) -> list[Part]:
        return [
            Part(circle(s * 0.4, 0.74, 0.22), "main", 0.2),
            Part(circle(s * 0.42, 0.76, 0.12), "light", 0.05),
        ]

    def ear(s: int) -> list[Part]:
        return [
            Part(circle(s * 0.36, -0.74, 0.19), "main", 0.14),
            Part(circle(s * 0.36, -0.74, 0.1), "light", 0.04),
        ]

    return [
        *both(arm),
        Part(ellipse(0, 0.36, 0.46, 0.48), "main", 0.34),
        Part(ellipse(0, 0.38, 0.26, 0.3), "light", 0.12),
        *both(foot),
        *both(ear),
        Part(ellipse(0, -0.42, 0.48, 0.42), "main", 0.32),
        Part(ellipse(0, -0.3, 0.22, 0.17), "light", 0.1),
        Part(ellipse(0, -0.37, 0.08, 0.06), "ink", 0.05),
        Part(circle(-0.19, -0.52, 0.06), "ink", 0.05),
        Part(circle(0.19, -0.52, 0.06), "ink", 0.05),
        Part(line(0, -0.31, 0, -0.24, 0.014), "ink", 0.0),
    ]


PETS: dict[str, Builder] = {
    "cat": cat,
    "dog": dog,
    "rabbit": rabbit,
    "teddy bear": teddy_bear,
}
