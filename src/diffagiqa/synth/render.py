"""Scene -> picture. Rendering is a function of (scene, size, seed)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from diffagiqa.errors import ConfigError
from diffagiqa.synth.backgrounds import paint_background
from diffagiqa.synth.grammar import BACKGROUNDS, KINDS
from diffagiqa.synth.layout import Placement, placements
from diffagiqa.synth.scene import Scene
from diffagiqa.synth.styles import RENDERERS, Style
from diffagiqa.synth.things import Drawn, draw_thing, light_vector

Array = NDArray[np.floating]
SIZES = (64, 512)
LIGHT_COLOURS = {
    "neutral": (1.0, 1.0, 1.0),
    "warm": (1.08, 0.97, 0.76),
    "cold": (0.8, 0.95, 1.12),
    "dusk": (0.7, 0.66, 0.82),
}


@dataclass(frozen=True, slots=True)
class Rendering:
    """A picture and where its things are.

    Attributes:
        image: (size, size, 3) uint8.
        places: the things, in drawing order.
        masks: (things, size, size) uint8 coverage, 0 to 255, of what can be seen of each.
    """

    image: NDArray[np.uint8]
    places: tuple[Placement, ...]
    masks: NDArray[np.uint8]


def render(scene: Scene, size: int, seed: int = 0) -> NDArray[np.uint8]:
    """(size, size, 3) uint8; ``size`` from 64 to 512, ``seed`` decides noise and background.

    Raises:
        ConfigError: the size is out of range.
    """
    return render_layers(scene, size, seed, masks=False).image


def render_layers(scene: Scene, size: int, seed: int = 0, masks: bool = True) -> Rendering:
    """The picture with the mask of every thing."""
    if not SIZES[0] <= size <= SIZES[1]:
        raise ConfigError(f"the size is {size}; expected {SIZES[0]} to {SIZES[1]} pixels")
    style = RENDERERS[scene.style]
    raster = style.grid(size) if style.grid else size
    supersampling = 4 if style.grid else (2 if size <= 192 else 1)
    canvas = raster * supersampling

    places = tuple(placements(scene))
    light = light_vector(scene.light_side)
    image = style.prepare(paint_background(scene.background, seed, canvas), seed)
    image = np.array(image, np.float32)
    covers = np.zeros((len(places) if masks else 0, canvas, canvas), np.float32)
    for index, place in enumerate(places):
        drawn = draw_thing(scene.entities[place.entity], place, canvas, light, style.look)
        _cast_shadow(image, drawn, scene, place, canvas)
        _compose(image, drawn)
        if masks:
            _cover(covers, index, drawn)
    image *= np.array(LIGHT_COLOURS[scene.light], np.float32)
    return Rendering(_finish(image, style, raster, size, seed), places, _shrink_masks(covers, size))


def _window(drawn: Drawn, canvas: int) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """Where a drawn thing lies on the canvas, and the part of it that does."""
    h, w = drawn.alpha.shape
    top, left = max(0, drawn.top), max(0, drawn.left)
    bottom, right = min(canvas, drawn.top + h), min(canvas, drawn.left + w)
    if top >= bottom or left >= right:
        return None
    own = (slice(top - drawn.top, bottom - drawn.top), slice(left - drawn.left, right - drawn.left))
    return (slice(top, bottom), slice(left, right)), own


def _compose(image: Array, drawn: Drawn) -> None:
    found = _window(drawn, len(image))
    if found:
        there, own = found
        patch = image[there]
        patch *= 1 - drawn.alpha[own][..., None]
        patch += drawn.rgb[own]


def _cover(covers: Array, index: int, drawn: Drawn) -> None:
    found = _window(drawn, covers.shape[1])
    if found:
        there, own = found
        covers[:index, there[0], there[1]] *= 1 - drawn.alpha[own]
        covers[index][there] = drawn.alpha[own]


def _cast_shadow(image: Array, drawn: Drawn, scene: Scene, place: Placement, canvas: int) -> None:
    """A soft shadow on the ground: the outline laid down, away from the light; darkest at the foot."""
    words = BACKGROUNDS[scene.background]
    stands = place.y + place.scale > words.horizon + 0.08
    if not words.grounded or not stands or KINDS[scene.entities[place.entity].kind].place == "air":
        return
    h, w = drawn.alpha.shape
    flat = max(3, round(0.26 * h))
    small = Image.fromarray(drawn.alpha, mode="F").resize(
        (max(3, w // 4), max(3, flat // 4)), Image.Resampling.BOX
    )
    pad = np.pad(np.asarray(small, np.float32), 4)
    soft = ndimage.gaussian_filter(pad, (0.9, 1.3))
    wide, high = w + 32, flat + 32
    shade = np.asarray(
        Image.fromarray(soft, mode="F").resize((wide, high), Image.Resampling.BILINEAR)
    )
    left = drawn.left - 16 - round(0.16 * scene.light_side * w)
    foot = round((place.y + 0.95 * place.scale) * canvas)
    top = foot - high + 16 + round(0.03 * h)
    found = _window(Drawn(left, top, np.empty((0,), np.float32), shade.astype(np.float32)), canvas)
    if found:
        there, own = found
        image[there] *= 1 - 0.46 * np.clip(shade[own], 0, 1)[..., None]


def _finish(image: Array, style: Style, raster: int, size: int, seed: int) -> NDArray[np.uint8]:
    if style.grid:
        cells = _to_bytes(style.finish(_reduce(image, len(image) // raster), seed))
        return np.asarray(Image.fromarray(cells).resize((size, size), Image.Resampling.NEAREST))
    done = style.finish(np.clip(image, 0, 1), seed)
    return _to_bytes(_reduce(done, len(image) // size))


def _reduce(image: Array, factor: int) -> Array:
    if factor == 1:
        return image
    n = len(image) // factor
    return image.reshape(n, factor, n, factor, 3).mean((1, 3), dtype=np.float32)


def _to_bytes(image: Array) -> NDArray[np.uint8]:
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def _shrink_masks(covers: Array, size: int) -> NDArray[np.uint8]:
    out = np.zeros((len(covers), size, size), np.uint8)
    for i, cover in enumerate(covers):
        picture = Image.fromarray((cover * 255 + 0.5).astype(np.uint8))
        out[i] = np.asarray(picture.resize((size, size), Image.Resampling.BOX))
    return out
