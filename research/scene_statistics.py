"""Natural scene statistics, the classical measure without a reference: a baseline."""

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
