"""Classical no-reference measures: natural scene statistics and simple image statistics."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.special import gammaln

_SHAPES = np.arange(0.2, 10.0, 0.001)
_GGD_RATIO = np.exp(
    gammaln(1 / _SHAPES) + gammaln(3 / _SHAPES) - 2 * gammaln(2 / _SHAPES)
)  # falls with the shape


def scene_statistics(image: np.ndarray) -> np.ndarray:
    """The 36 natural scene statistics of BRISQUE (Mittal et al. 2012), two scales of 18.

    ``image`` (H, W, 3) uint8. Each scale: shape and variance of the mean-subtracted,
    contrast-normalised luminance, and four numbers for each of the products of four neighbour pairs.
    """
    luminance = luma(image)
    features = []
    for _ in range(2):
        normalised = contrast_normalised(luminance)
        features += list(_ggd(normalised))
        for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
            features += _aggd(normalised * np.roll(normalised, shift, axis=(0, 1)))
        luminance = ndimage.zoom(ndimage.gaussian_filter(luminance, 0.7), 0.5, order=1)
    return np.array(features)


def simple_statistics(image: np.ndarray) -> dict[str, float]:
    """Measures with a closed form, higher = more of what is named.

    sharpness: variance of the Laplacian; contrast: standard deviation of luminance; colourfulness:
    Hasler and Suesstrunk (2003); entropy: of the luminance histogram, in bits; blockiness: horizontal
    gradient across borders of 8-pixel blocks over the mean one; noise: Immerkaer (1996), in grey levels.
    """
    luminance = luma(image)
    red, green, blue = (image[..., i].astype(np.float64) for i in range(3))
    rg, yb = red - green, 0.5 * (red + green) - blue
    histogram = np.bincount(luminance.astype(np.uint8).ravel(), minlength=256) / luminance.size
    steps = np.abs(np.diff(luminance, axis=1))
    border = steps[:, 7::8].mean() if steps.shape[1] > 8 else 0.0
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])
    return {
        "sharpness": float(ndimage.laplace(luminance).var()),
        "contrast": float(luminance.std()),
        "colourfulness": float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())),
        "entropy": float(-(histogram[histogram > 0] * np.log2(histogram[histogram > 0])).sum()),
        "blockiness": float(border / (steps.mean() + 1e-6)),
        "noise": float(np.sqrt(np.pi / 2) / 6 * np.abs(ndimage.convolve(luminance, kernel)).mean()),
    }


def luma(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> (H, W) luminance in [0, 255] (ITU-R BT.601)."""
    return image.astype(np.float64) @ np.array([0.299, 0.587, 0.114])


def contrast_normalised(luminance: np.ndarray) -> np.ndarray:
    """Mean-subtracted, contrast-normalised coefficients (BRISQUE, eq. 1-3): 7x7 Gaussian, C = 1."""
    mean = ndimage.gaussian_filter(luminance, 7 / 6, truncate=2.6)
    spread = ndimage.gaussian_filter(luminance**2, 7 / 6, truncate=2.6) - mean**2
    return (luminance - mean) / (np.sqrt(np.maximum(spread, 0)) + 1)


def _ggd(values: np.ndarray) -> tuple[float, float]:
    """Shape and variance of a generalised Gaussian, by moment matching."""
    variance = float((values**2).mean())
    ratio = variance / (float(np.abs(values).mean()) ** 2 + 1e-12)
    shape = _SHAPES[np.argmin(np.abs(_GGD_RATIO - ratio))]
    return float(shape), variance


def _aggd(values: np.ndarray) -> list[float]:
    """Shape, mean, and left and right variance of an asymmetric generalised Gaussian (eq. 10-15)."""
    left, right = values[values < 0], values[values > 0]
    left_scale = float(np.sqrt((left**2).mean())) if left.size else 1e-6
    right_scale = float(np.sqrt((right**2).mean())) if right.size else 1e-6
    gamma = left_scale / right_scale
    ratio = float(np.abs(values).mean()) ** 2 / (float((values**2).mean()) + 1e-12)
    ratio *= (gamma**3 + 1) * (gamma + 1) / (gamma**2 + 1) ** 2
    shape = float(_SHAPES[np.argmin(np.abs(1 / _GGD_RATIO - ratio))])
    spread = np.exp(0.5 * (gammaln(1 / shape) - gammaln(3 / shape)))
    mean = (right_scale - left_scale) * spread * np.exp(gammaln(2 / shape) - gammaln(1 / shape))
    return [shape, float(mean), left_scale**2, right_scale**2]
