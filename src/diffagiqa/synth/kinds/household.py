"""How furniture and vessels are drawn: each function returns parts, back to front."""

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
    ring,
    star,
    union,
)


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
        Part(
            polygon([(-0.84, -0.05), (0.84, -0.05), (0.64, 0.92), (-0.64, 0.92)], 0.04), "main", 0.3
        ),
        *rows,
        *columns,
        Part(box(-0.93, -0.12, 0.93, 0.06, 0.08), "main", 0.08),
    ]


def book(rng: np.random.Generator) -> list[Part]:
    mark = float(rng.uniform(-0.4, 0.4))
    return [
        Part(
            polygon([(-0.9, 0.44), (-0.55, 0.12), (0.93, 0.12), (0.62, 0.44)], 0.02), "main", 0.03
        ),
        Part(polygon([(0.6, 0.5), (0.9, 0.17), (0.9, 0.55), (0.6, 0.88)]), "cream", 0.03),
        Part(box(-0.9, 0.48, 0.62, 0.9), "cream", 0.05),
        Part(box(-0.93, 0.42, 0.66, 0.52, 0.03), "main", 0.03),
        Part(box(-0.93, 0.84, 0.66, 0.95, 0.03), "main", 0.03),
        Part(box(-0.95, 0.42, -0.72, 0.95, 0.06), "main", 0.12),
        *(Part(box(-0.7, y, 0.6, y + 0.012), "cone", 0.0) for y in (0.58, 0.65, 0.72, 0.78)),
        Part(polygon([(-0.4, 0.38), (-0.3, 0.2), (0.6, 0.2), (0.46, 0.38)]), "light", 0.0),
        Part(box(mark, 0.84, mark + 0.09, 0.99), "gold", 0.01),
    ]


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
        Part(box(-0.36, 0.8, 0.36, 0.95, 0.05), "dark", 0.08),
        Part(half, "main", 0.4),
        Part(common(box(-1, band, 1, band + 0.09), half), "light", 0.0),
        Part(cut(ellipse(0, 0.06, 0.93, 0.17), ellipse(0, 0.0, 0.87, 0.16)), "light", 0.03),
    ]


def crate(rng: np.random.Generator) -> list[Part]:
    tape = float(rng.uniform(-0.3, 0.0))
    return [
        Part(
            polygon([(-0.9, -0.3), (-0.45, -0.62), (0.93, -0.62), (0.5, -0.3)], 0.01), "light", 0.02
        ),
        Part(polygon([(0.5, -0.3), (0.93, -0.62), (0.93, 0.58), (0.5, 0.94)], 0.01), "dark", 0.02),
        Part(box(-0.9, -0.3, 0.5, 0.94, 0.02), "main", 0.05),
        Part(box(tape - 0.1, -0.3, tape + 0.1, 0.94), "light", 0.0),
        Part(
            polygon(
                [(tape - 0.1, -0.3), (tape + 0.34, -0.62), (tape + 0.54, -0.62), (tape + 0.1, -0.3)]
            ),
            "main",
            0.0,
        ),
    ]


def chair(rng: np.random.Generator) -> list[Part]:
    slats = int(rng.integers(2, 5))
    bars = [
        Part(box(float(x) - 0.05, -0.75, float(x) + 0.05, 0.1), "main", 0.05)
        for x in np.linspace(-0.3, 0.3, slats)
    ]
    return [
        Part(box(-0.4, 0.2, -0.3, 0.75), "dark", 0.05),
        Part(box(0.34, 0.2, 0.44, 0.75), "dark", 0.05),
        *bars,
        Part(box(-0.54, -0.9, -0.42, 0.2, 0.03), "main", 0.06),
        Part(box(0.42, -0.9, 0.54, 0.2, 0.03), "main", 0.06),
        Part(box(-0.56, -0.93, 0.56, -0.7, 0.06), "main", 0.08),
        Part(polygon([(-0.5, 0.08), (0.5, 0.08), (0.66, 0.3), (-0.66, 0.3)], 0.04), "light", 0.08),
        Part(box(-0.69, 0.28, 0.69, 0.4, 0.03), "main", 0.05),
        Part(box(-0.66, 0.36, -0.54, 0.95, 0.02), "main", 0.06),
        Part(box(0.54, 0.36, 0.66, 0.95, 0.02), "main", 0.06),
    ]


def clock(rng: np.random.Generator) -> list[Part]:
    a, b = rng.uniform(0, 2 * np.pi, 2)
    ticks = [
        Part(circle(0.52 * float(np.sin(t)), 0.05 - 0.52 * float(np.cos(t)), 0.045), "ink", 0.0)
        for t in np.arange(12) * np.pi / 6
    ]
    return [
        Part(line(-0.5, 0.7, -0.62, 0.92, 0.07), "dark", 0.06),
        Part(line(0.5, 0.7, 0.62, 0.92, 0.07), "dark", 0.06),
        Part(circle(-0.5, -0.68, 0.22), "dark", 0.2),
        Part(circle(0.5, -0.68, 0.22), "dark", 0.2),
        Part(circle(0, 0.05, 0.86), "main", 0.2),
        Part(circle(0, 0.05, 0.62), "white", 0.04),
        *ticks,
        Part(
            line(0, 0.05, 0.28 * float(np.sin(a)), 0.05 - 0.28 * float(np.cos(a)), 0.045),
            "ink",
            0.02,
        ),
        Part(
            line(0, 0.05, 0.44 * float(np.sin(b)), 0.05 - 0.44 * float(np.cos(b)), 0.028),
            "ink",
            0.02,
        ),
        Part(circle(0, 0.05, 0.06), "clay", 0.04),
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


def lamp(rng: np.random.Generator) -> list[Part]:
    flare = float(rng.uniform(0.3, 0.42))
    return [
        Part(box(-0.05, -0.1, 0.05, 0.85), "gold", 0.05),
        Part(ellipse(0, 0.86, 0.42, 0.1), "gold", 0.08),
        Part(ellipse(0, 0.5, 0.16, 0.18), "main", 0.14),
        Part(ellipse(0, 0.04, 0.12, 0.12), "cream", 0.05),
        Part(
            polygon([(-flare, -0.9), (flare, -0.9), (0.76, 0.0), (-0.76, 0.0)], 0.03), "main", 0.34
        ),
        Part(
            polygon([(-0.76, -0.05), (0.76, -0.05), (0.79, 0.03), (-0.79, 0.03)], 0.01),
            "light",
            0.03,
        ),
    ]


def table(rng: np.random.Generator) -> list[Part]:
    inset = float(rng.uniform(0.0, 0.08))
    legs = [
        Part(polygon([(x, 0.0), (x + 0.15, 0.0), (x + 0.12, 0.95), (x + 0.03, 0.95)]), "main", 0.06)
        for x in (-0.84 + inset, 0.69 - inset)
    ]
    back = [Part(box(x, 0.0, x + 0.09, 0.78), "dark", 0.04) for x in (-0.6, 0.5)]
    return [
        *back,
        Part(box(-0.78, -0.1, 0.78, 0.14), "dark", 0.04),
        *legs,
        Part(
            polygon([(-0.78, -0.32), (0.78, -0.32), (0.98, -0.1), (-0.98, -0.1)], 0.01),
            "light",
            0.02,
        ),
        Part(box(-0.99, -0.12, 0.99, 0.0, 0.02), "main", 0.04),
    ]


def teapot(rng: np.random.Generator) -> list[Part]:
    up = float(rng.uniform(-0.3, -0.2))
    return [
        Part(ring(-0.62, 0.2, 0.28, 0.07), "dark", 0.07),
        Part(
            union(
                line(0.4, 0.4, 0.72, 0.1, 0.16, 0.09),
                line(0.72, 0.1, 0.9, up, 0.09, 0.07),
                smooth=0.1,
            ),
            "main",
            0.12,
        ),
        Part(box(-0.34, 0.78, 0.34, 0.93, 0.05), "dark", 0.06),
        Part(ellipse(0, 0.28, 0.64, 0.58), "main", 0.5),
        Part(ellipse(0, -0.24, 0.36, 0.13), "dark", 0.08),
        Part(circle(0, -0.44, 0.11), "gold", 0.1),
        *(
            Part(circle(x, 0.34 + 0.1 * abs(x), 0.08), "light", 0.02)
            for x in (-0.4, -0.14, 0.14, 0.4)
        ),
    ]


def vase(rng: np.random.Generator) -> list[Part]:
    fat = float(rng.uniform(0.5, 0.62))
    body = union(
        ellipse(0, 0.3, fat, 0.55),
        box(-0.2, -0.7, 0.2, 0.0, 0.05),
        box(-0.3, 0.72, 0.3, 0.93, 0.03),
        smooth=0.3,
    )
    return [
        Part(body, "main", 0.42),
        Part(ellipse(0, -0.74, 0.36, 0.11), "main", 0.06),
        Part(ellipse(0, -0.75, 0.26, 0.06), "dark", 0.02),
        Part(common(box(-1, 0.12, 1, 0.19), body), "light", 0.0),
        Part(common(box(-1, 0.42, 1, 0.49), body), "light", 0.0),
    ]


HOUSEHOLD: dict[str, Builder] = {
    "basket": basket,
    "book": book,
    "bottle": bottle,
    "bowl": bowl,
    "box": crate,
    "chair": chair,
    "clock": clock,
    "cup": cup,
    "lamp": lamp,
    "table": table,
    "teapot": teapot,
    "vase": vase,
}
