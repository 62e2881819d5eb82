"""Global defects: functions of (image, severity, rng) that touch the whole image.

``image`` is (H, W, 3) float32 in [0, 255], ``severity`` in (0, 1]; the result is float. Lengths are
shares of the image's side, so that a severity looks the same at any resolution. Random fields are
drawn before the severity is used: one rng state gives one pattern, which severity only strengthens.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Array = NDArray[np.floating]
Rng = np.random.Generator


def side(image: Array) -> float:
    """The geometric mean of height and width, in pixels."""
    return float(np.sqrt(image.shape[0] * image.shape[1]))


def blurred(image: Array, sigma: float) -> Array:
    """Gaussian blur of the two leading axes, ``sigma`` in pixels."""
    if sigma <= 0:
        return image
    return ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="nearest", truncate=3)


def random_field(rng: Rng, height: int, width: int, cells: float, channels: int = 1) -> Array:
    """(height, width, channels) smooth field, mean 0, deviation 1, ``cells`` per side."""
    rows = max(2, round(cells * height / np.sqrt(height * width)))
    columns = max(2, round(cells * width / np.sqrt(height * width)))
    grid = rng.standard_normal((rows, columns, channels)).astype(np.float32)
    planes = [
        np.asarray(
            Image.fromarray(grid[..., c], mode="F").resize(
                (width, height), Image.Resampling.BICUBIC
            )
        )
        for c in range(channels)
    ]
    field = np.stack(planes, -1)
    return (field - field.mean()) / max(float(field.std()), 1e-6)


def sampled(image: Array, x: Array, y: Array) -> Array:
    """The image at (x, y), in pixels, bilinear, borders repeated."""
    h, w = image.shape[:2]
    x, y = np.clip(x, 0, w - 1), np.clip(y, 0, h - 1)
    x0, y0 = np.minimum(x.astype(np.intp), w - 2), np.minimum(y.astype(np.intp), h - 2)
    fx, fy = (x - x0)[..., None].astype(np.float32), (y - y0)[..., None].astype(np.float32)
    top = image[y0, x0] * (1 - fx) + image[y0, x0 + 1] * fx
    bottom = image[y0 + 1, x0] * (1 - fx) + image[y0 + 1, x0 + 1] * fx
    return top * (1 - fy) + bottom * fy


def grid_of(height: int, width: int) -> tuple[Array, Array]:
    """Pixel coordinates x (1, width) and y (height, 1)."""
    return np.arange(width, dtype=np.float32)[None, :], np.arange(height, dtype=np.float32)[:, None]


def blur(image: Array, severity: float, rng: Rng) -> Array:
    """Gaussian, sigma up to 2.2 % of the side."""
    return blurred(image, 0.022 * severity * side(image))


def oversmoothing(image: Array, severity: float, rng: Rng) -> Array:
    """Texture gone and edges kept: a guided filter (He et al. 2010) by the image's own luma."""
    radius = 0.02 * side(image)
    guide = image @ np.array((0.299, 0.587, 0.114), np.float32)

    def mean(a: Array) -> Array:
        return ndimage.gaussian_filter(a, radius, mode="nearest", truncate=2)

    centre = mean(guide)
    variance = np.maximum(mean(guide * guide) - centre * centre, 0)
    out = np.empty_like(image)
    for c in range(3):
        plane = image[..., c]
        local = mean(plane)
        slope = (mean(plane * guide) - local * centre) / (variance + 900.0)
        out[..., c] = mean(slope) * guide + mean(local - slope * centre)
    return image + (out - image) * severity


def sensor_noise(image: Array, severity: float, rng: Rng) -> Array:
    """Per pixel, stronger in the light (shot noise) and correlated between the channels."""
    h, w = image.shape[:2]
    noise = rng.standard_normal((h, w, 3), np.float32) + 0.6 * rng.standard_normal(
        (h, w, 1), np.float32
    )
    return image + 46 * severity * noise * np.sqrt(0.25 + image / 255)


def latent_noise(image: Array, severity: float, rng: Rng) -> Array:
    """Coloured blotches a few pixels wide, as a latent that was not fully denoised decodes to."""
    h, w = image.shape[:2]
    noise = random_field(rng, h, w, 64, 3) + 0.6 * random_field(rng, h, w, 24, 3)
    return image + 40 * severity * noise


def checkerboard(image: Array, severity: float, rng: Rng) -> Array:
    """The pattern of strided transposed convolutions (Odena et al. 2016), stronger on texture."""
    period = max(2, 2 * round(side(image) / 128))
    x, y = grid_of(*image.shape[:2])
    pattern = np.sign(
        np.sin(2 * np.pi * (x + 0.5) / period) * np.sin(2 * np.pi * (y + 0.5) / period)
    )
    luma = image.mean(-1)
    busy = np.abs(luma - ndimage.gaussian_filter(luma, 0.01 * side(image)))
    strength = 0.6 + np.clip(ndimage.gaussian_filter(busy, 0.01 * side(image)) / 12, 0, 1)
    return image + (30 * severity * pattern * strength)[..., None]


def patch_seams(image: Array, severity: float, rng: Rng) -> Array:
    """Tiles that disagree in brightness, colour and position."""
    h, w = image.shape[:2]
    tile = max(8, round(side(image) / 8))
    rows, columns = -(-h // tile), -(-w // tile)
    tone = (
        rng.standard_normal((rows, columns, 3)).astype(np.float32) * 14
        + rng.standard_normal((rows, columns, 1)).astype(np.float32) * 16
    )
    shift = rng.standard_normal((rows, columns, 2)).astype(np.float32) * 0.012 * side(image)
    x, y = grid_of(*image.shape[:2])
    row, column = (y.astype(np.intp) // tile), (x.astype(np.intp) // tile)
    moved = sampled(
        image, x + severity * shift[row, column, 0], y + severity * shift[row, column, 1]
    )
    return moved + severity * tone[row, column]


def colour_drift(image: Array, severity: float, rng: Rng) -> Array:
    """Hues pulled towards a tint that changes over the image."""
    tint = rng.uniform(-1, 1, 3).astype(np.float32)
    tint = tint - tint.mean()
    tint = tint / max(float(np.abs(tint).max()), 1e-6)
    h, w = image.shape[:2]
    field = 1 + 0.35 * random_field(rng, h, w, 3)
    return image + 56 * severity * field * tint


def oversaturation(image: Array, severity: float, rng: Rng) -> Array:
    """Colour and contrast driven past the range, as by too strong guidance."""
    gray = image.mean(-1, keepdims=True)
    vivid = gray + (image - gray) * (1 + 1.8 * severity)
    return 128 + (vivid - 128) * (1 + 0.6 * severity)


def warped_geometry(image: Array, severity: float, rng: Rng) -> Array:
    """A smooth random displacement of up to a few per cent of the side."""
    h, w = image.shape[:2]
    field = random_field(rng, h, w, 6, 2) * 0.024 * side(image) * severity
    x, y = grid_of(*image.shape[:2])
    return sampled(image, x + field[..., 0], y + field[..., 1])


def ghosting(image: Array, severity: float, rng: Rng) -> Array:
    """A second, shifted exposure."""
    angle = float(rng.uniform(0, 2 * np.pi))
    shift = 0.035 * side(image) * float(rng.uniform(0.8, 1.2))
    x, y = grid_of(*image.shape[:2])
    ghost = sampled(image, x + shift * np.cos(angle), y + shift * np.sin(angle))
    return image + (ghost - image) * (0.5 * severity)


def low_detail(image: Array, severity: float, rng: Rng) -> Array:
    """Down-sampled 2, 4, 8 times and enlarged again (blends between these), with ever fewer tones."""
    level = 3 * severity
    finer = min(int(level), 2)
    fine, coarse = (_resampled(image, 2**k) if k else image for k in (finer, finer + 1))
    out = fine + (coarse - fine) * (level - finer)
    poor = np.round(_resampled(image, 8) / 28) * 28
    return out + (poor - out) * (0.8 * severity**2)


def _resampled(image: Array, factor: float) -> Array:
    """Down by ``factor`` (box) and up again (bicubic)."""
    h, w = image.shape[:2]
    size = (max(4, round(w / factor)), max(4, round(h / factor)))
    planes = [Image.fromarray(np.ascontiguousarray(image[..., c]), mode="F") for c in range(3)]
    small = [plane.resize(size, Image.Resampling.BOX) for plane in planes]
    return np.stack([np.asarray(p.resize((w, h), Image.Resampling.BICUBIC)) for p in small], -1)


def jpeg(image: Array, severity: float, rng: Rng) -> Array:
    """JPEG, quality 50 down to 4 (PIL's scale, 4:2:0), between whole qualities a blend of the two.

    Blended with the image below severity 0.2, as the scale of qualities ends in no identity.
    """
    quality = 50 * (4 / 50) ** severity
    low = int(quality)
    coded = _coded(image, low)
    if quality > low:
        coded = coded + (_coded(image, low + 1) - coded) * (quality - low)
    return image + (coded - image) * min(1.0, 5 * severity)


def _coded(image: Array, quality: int) -> Array:
    data = io.BytesIO()
    Image.fromarray(np.rint(image).astype(np.uint8)).save(data, "JPEG", quality=quality)
    return np.asarray(Image.open(data).convert("RGB"), np.float32)


def ringing(image: Array, severity: float, rng: Rng) -> Array:
    """Over-sharpening: edges overshoot and ring."""
    sigma = 0.007 * side(image)
    fine, wide = image - blurred(image, sigma), image - blurred(image, 2.2 * sigma)
    return image + severity * (3.4 * fine + 1.2 * wide)
