"""One thing -> its colours and its coverage: parts drawn over each other, shaded by a light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from diffagiqa.synth.grammar import COLOURS
from diffagiqa.synth.kinds import BUILDERS
from diffagiqa.synth.layout import Placement
from diffagiqa.synth.scene import Entity
from diffagiqa.synth.shapes import PAINTS, Part
from diffagiqa.synth.textures import SURFACES, Surface, smooth_noise, step

Array = NDArray[np.floating]
_MARGIN = 0.12  # room around a thing for shadows of parts and frayed borders, in its units


@dataclass(frozen=True, slots=True)
class Look:
    """How a style draws things.

    Attributes:
        shading: "soft" rounds, "cel" knows lit and unlit, "wash" only hints.
        outline: width of the ink line, in units of the thing; 0 is none.
        ink: sRGB (0..1) of the line.
        wobble: how far a hand strays, in units of the thing.
        detail: strength of textures, 0 to 1.
    """

    shading: Literal["soft", "cel", "wash"] = "soft"
    outline: float = 0.0
    ink: tuple[float, float, float] = (0.08, 0.07, 0.1)
    wobble: float = 0.0
    detail: float = 1.0


@dataclass(frozen=True, slots=True)
class Drawn:
    """A drawn thing: ``rgb`` (h, w, 3) premultiplied by ``alpha`` (h, w), to lie at (left, top)."""

    left: int
    top: int
    rgb: Array
    alpha: Array


def light_vector(side: float) -> Array:
    """(3,) unit vector to the light; x right, y down, z to the viewer."""
    vector = np.array((side, -0.75, 0.8), np.float32)
    return vector / np.linalg.norm(vector)


def draw_thing(entity: Entity, place: Placement, canvas: int, light: Array, look: Look) -> Drawn:
    """Draw one thing for a square canvas of ``canvas`` pixels."""
    half = place.scale * canvas
    px = 1.0 / half
    reach = (1 + _MARGIN) * half
    left, top = int(np.floor(place.x * canvas - reach)), int(np.floor(place.y * canvas - reach))
    span = int(np.ceil(2 * reach)) + 1
    x = ((np.arange(left, left + span, dtype=np.float32) + 0.5) - place.x * canvas) * px
    y = ((np.arange(top, top + span, dtype=np.float32) + 0.5) - place.y * canvas) * px
    mirror = -1.0 if place.flip else 1.0
    c, s = np.cos(place.tilt), np.sin(place.tilt)
    u = (mirror * (c * x[None, :] + s * y[:, None])).astype(np.float32)
    v = (-s * x[None, :] + c * y[:, None]).astype(np.float32)
    surface = SURFACES[entity.material](u, v, px, place.variant)
    if look.wobble:
        u = u + look.wobble * (smooth_noise(place.variant + 1, span, span, 9) - 0.5)
        v = v + look.wobble * (smooth_noise(place.variant + 2, span, span, 9) - 0.5)

    rgb, alpha = np.zeros((span, span, 3), np.float32), np.zeros((span, span), np.float32)
    local_light = light * np.array((mirror, 1, 1), np.float32)
    for part in BUILDERS[entity.kind](np.random.default_rng(place.variant)):
        area = _area(part, x, y, mirror, abs(place.tilt) + look.wobble)
        if area is not None:
            _paint(part, entity, surface, u, v, px, area, rgb, alpha, local_light, look)
    return Drawn(left, top, rgb, alpha)


def _area(
    part: Part, x: Array, y: Array, mirror: float, slack: float
) -> tuple[slice, slice] | None:
    """Rows and columns of the crop that a part can touch."""
    x0, y0, x1, y1 = part.shape.box
    if mirror < 0:
        x0, x1 = -x1, -x0
    margin = 0.08 + slack
    columns = np.searchsorted(x, (x0 - margin, x1 + margin))
    rows = np.searchsorted(y, (y0 - margin, y1 + margin))
    if columns[1] - columns[0] < 2 or rows[1] - rows[0] < 2:
        return None
    return slice(int(rows[0]), int(rows[1])), slice(int(columns[0]), int(columns[1]))


def _paint(
    part: Part, entity: Entity, surface: Surface, u: Array, v: Array, px: float,
    area: tuple[slice, slice], rgb: Array, alpha: Array, light: Array, look: Look,
) -> None:  # fmt: skip
    own = part.paint in ("main", "light", "dark")
    d = part.shape.distance(u[area], v[area])
    if own and surface.fray is not None and part.bulge > 0:
        d = d + surface.fray[area] * look.detail
    cover = np.clip(0.5 - d / px, 0, 1)
    colour = _albedo(part, entity, surface, area, look.detail) if own else _fixed(part)
    if part.bulge > 0:
        colour = _shade(colour, d, px, part, surface if own else None, area, light, look)
    if look.outline and part.bulge > 0.015:
        line = step(d + look.outline * (1.0 if part.bulge > 0.08 else 0.6), px * 1.5)
        colour = colour + (np.array(look.ink, np.float32) - colour) * line[..., None]
    if own and surface.opacity < 1:
        rim = np.clip(1 + d / 0.14, 0, 1)
        cover = cover * (surface.opacity + (0.96 - surface.opacity) * rim * rim)
    under, above = rgb[area], alpha[area]
    if look.shading != "cel" and part.bulge > 0.03:  # a part darkens what it lies on
        shadow = 1 - 0.3 * np.exp(-np.square(np.maximum(d, 0) / 0.05))
        under *= shadow[..., None]
    under += (colour - under) * cover[..., None]
    above += (1 - above) * cover


def _fixed(part: Part) -> Array:
    return np.array(PAINTS[part.paint], np.float32) / 255


def main_colour(colour: str) -> Array:
    """(3,) sRGB in 0..1 of a colour word."""
    return np.array(COLOURS[colour], np.float32) / 255


def _albedo(
    part: Part, entity: Entity, surface: Surface, area: tuple[slice, slice], detail: float
) -> Array:
    base = main_colour(entity.colour)
    if part.paint == "light":
        base = base + (1 - base) * 0.36
    elif part.paint == "dark":
        base = base * 0.66
    if surface.tint is not None:
        tint, share = surface.tint
        base = base + (np.array(tint, np.float32) - base) * np.float32(share)
    colour = np.broadcast_to(base, (1, 1, 3))
    if isinstance(surface.mix, np.ndarray):
        contrast = (
            0.12
            if float(base.mean()) > 0.66 and entity.colour in ("white", "yellow", "pink")
            else 0.97
        )
        colour = colour + (contrast - colour) * surface.mix[area][..., None]
    if isinstance(surface.shade, np.ndarray):
        colour = colour * (1 + detail * (surface.shade[area] - 1))[..., None]
    return colour.astype(np.float32)


def _shade(
    colour: Array, d: Array, px: float, part: Part, surface: Surface | None,
    area: tuple[slice, slice], light: Array, look: Look,
) -> Array:  # fmt: skip
    t = np.clip(1 + d / part.bulge, 0, 1)  # 1 at the border, 0 where the surface faces us
    # Distances have creases along their ridges; a box mean rounds them off.
    round_off = round(0.55 * part.bulge / px) if part.bulge >= 0.14 else 0
    gy, gx = np.gradient(ndimage.uniform_filter(d, round_off) if round_off > 1 else d, px)
    slope = 0.92 * t * t if part.bulge < 0.12 else 0.92 * t
    nx, ny = gx * slope, gy * slope
    if surface is not None and surface.bump is not None and look.shading == "soft":
        by, bx = np.gradient(surface.bump[area], px)
        nx, ny = nx - bx * look.detail, ny - by * look.detail
    norm = np.minimum(1.0, 0.97 / np.maximum(np.sqrt(nx * nx + ny * ny), 1e-6))
    nx, ny = nx * norm, ny * norm
    nz = np.sqrt(np.maximum(1 - nx * nx - ny * ny, 0.02))
    diffuse = np.maximum(nx * light[0] + ny * light[1] + nz * light[2], 0)
    if look.shading == "wash":
        return colour * (0.62 + 0.46 * diffuse)[..., None]
    gloss = 0.2 if surface is None else surface.gloss
    if look.shading == "cel":
        lit = 0.74 + 0.28 * step(diffuse - 0.5, 0.06)
        spark = 0.35 * gloss * step(diffuse - 0.965, 0.02) * (part.bulge > 0.2)
        return colour * lit[..., None] + spark[..., None]
    lit = 0.4 - 0.1 * ny + 0.72 * diffuse
    hx, hy, hz = (light + np.array((0, 0, 1), np.float32)) / np.linalg.norm(
        light + np.array((0, 0, 1))
    )
    facing = np.maximum(nx * hx + ny * hy + nz * hz, 0)
    square = facing * facing
    shine = square**16 if gloss > 0.5 else square**8
    out = colour * lit[..., None]
    if surface is not None and surface.mirror:
        ry = 2 * nz * ny + 0.12 * nx
        world = 0.3 + 0.95 * step(0.02 - ry, 0.5) + 0.5 * np.exp(-np.square((ry + 0.25) / 0.12))
        out = out + (colour * world[..., None] - out) * np.float32(surface.mirror)
    out = out + (0.75 * gloss * shine)[..., None]
    if surface is not None and surface.sparkle is not None:
        out = out + (surface.sparkle[area] * look.detail)[..., None]
    return np.minimum(out, 1.0).astype(np.float32)
