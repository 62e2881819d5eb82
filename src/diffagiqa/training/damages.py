"""The defects of generated images, by name, each with a continuous severity.

Severity 0 is the identity, to the byte; the error against the original grows with severity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffagiqa.errors import ConfigError
from diffagiqa.training import distortions, local_damages

Array = NDArray[np.floating]

GLOBAL: Mapping[str, Callable[[Array, float, np.random.Generator], Array]] = {
    "blur": distortions.blur,
    "oversmoothing": distortions.oversmoothing,
    "sensor noise": distortions.sensor_noise,
    "latent noise": distortions.latent_noise,
    "checkerboard": distortions.checkerboard,
    "patch seams": distortions.patch_seams,
    "colour drift": distortions.colour_drift,
    "oversaturation": distortions.oversaturation,
    "warped geometry": distortions.warped_geometry,
    "ghosting": distortions.ghosting,
    "low detail": distortions.low_detail,
    "jpeg": distortions.jpeg,
    "ringing": distortions.ringing,
}
LOCAL: Mapping[str, Callable[..., tuple[Array, Array]]] = {
    "melted part": local_damages.melted_part,
    "duplicated part": local_damages.duplicated_part,
    "missing part": local_damages.missing_part,
}
DEFECTS = (*GLOBAL, *LOCAL)
HELD_OUT_DEFECTS = ("ghosting", "checkerboard", "duplicated part")
"""Kept from training, to measure with."""
TRAIN_DEFECTS = tuple(name for name in DEFECTS if name not in HELD_OUT_DEFECTS)


def damage(
    image: NDArray[np.uint8], defect: str, severity: float, rng: np.random.Generator,
    region: Array | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:  # fmt: skip
    """Damage an image; also the mask, (H, W) in [0, 1], of where.

    Args:
        image: (H, W, 3) uint8, at least 16 pixels a side.
        defect: one of ``DEFECTS``.
        severity: 0 (identity) to 1.
        rng: decides the pattern, not how strong it is.
        region: (H, W) in [0, 1], where a local defect acts; default: a random blob.

    Raises:
        ConfigError: the severity is out of range.
    """
    if not 0 <= severity <= 1:
        raise ConfigError(f"the severity is {severity}; expected 0 to 1")
    size = image.shape[:2]
    if severity == 0:
        return image.copy(), np.zeros(size, np.float32)
    pixels, mask = image.astype(np.float32), np.ones(size, np.float32)
    if defect in GLOBAL:
        out = GLOBAL[defect](pixels, float(severity), rng)
    else:
        if region is None or float(np.max(region)) <= local_damages.INSIDE:
            region = local_damages.random_region(rng, *size)
        out, where = LOCAL[defect](pixels, float(severity), rng, np.asarray(region, np.float32))
        mask = where.astype(np.float32)
    return np.rint(np.clip(out, 0, 255)).astype(np.uint8), mask


@dataclass(frozen=True)
class Damage:
    """What was done to an image: a defect at a severity in (0, 1], its pattern by ``seed``."""

    defect: str
    severity: float
    seed: int

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) -> the same size; below 16 pixels a side, where no defect has room, unchanged."""
        if min(image.shape[:2]) < 16:
            return image
        rng = np.random.default_rng([self.seed, DEFECTS.index(self.defect)])
        return damage(image, self.defect, self.severity, rng)[0]
