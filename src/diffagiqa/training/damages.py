"""The defects of generated images, by name, each with a continuous severity.

``DEFECTS[name](image, severity, rng, region)`` works on any RGB picture. Severity 0 is the identity,
to the byte; the error against the original grows with severity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from diffagiqa.errors import ConfigError, ImageError
from diffagiqa.training import distortions, local_damages

Array = NDArray[np.floating]
Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class Damaged:
    """A damaged picture.

    Attributes:
        image: (H, W, 3) uint8.
        mask: (H, W) float32 in [0, 1], where the defect acts; all ones for a global defect, all
            zeros at severity 0.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Defect:
    """One entry of ``DEFECTS``.

    Attributes:
        function: the global one takes (image, severity, rng), the local one a region too.
        kind: whether it acts on the whole picture or in a region.
    """

    function: Callable[..., Array | tuple[Array, Array]]
    kind: Literal["global", "local"]

    def __call__(
        self,
        image: NDArray[np.uint8],
        severity: float,
        rng: Rng,
        region: NDArray[np.floating] | None = None,
    ) -> Damaged:
        """Damage a picture.

        Args:
            image: (H, W, 3) uint8, at least 16 pixels a side.
            severity: 0 (identity) to 1.
            rng: decides the pattern, not how strong it is.
            region: (H, W) in [0, 1], where a local defect acts; default: a random blob.

        Raises:
            ConfigError: the severity is out of range.
            ImageError: the array is no such picture.
        """
        if not 0 <= severity <= 1:
            raise ConfigError(f"the severity is {severity}; expected 0 to 1")
        if (
            image.ndim != 3
            or image.shape[2] != 3
            or image.dtype != np.uint8
            or min(image.shape[:2]) < 16
        ):
            raise ImageError(
                f"the picture is {image.shape} {image.dtype}; "
                "expected (H, W, 3) uint8 of 16 pixels or more"
            )
        height, width = image.shape[:2]
        if severity == 0:
            return Damaged(image.copy(), np.zeros((height, width), np.float32))
        floats = image.astype(np.float32)
        if self.kind == "global":
            out = self.function(floats, float(severity), rng)
            return Damaged(_to_bytes(out), np.ones((height, width), np.float32))
        if region is None or float(np.max(region)) < 0.3:
            region = local_damages.random_region(rng, height, width)
        out, mask = self.function(floats, float(severity), rng, np.asarray(region, np.float32))
        return Damaged(_to_bytes(out), mask.astype(np.float32))


def _to_bytes(image: Array | tuple[Array, Array]) -> NDArray[np.uint8]:
    return np.rint(np.clip(image, 0, 255)).astype(np.uint8)


DEFECTS: Mapping[str, Defect] = {
    "blur": Defect(distortions.blur, "global"),
    "oversmoothing": Defect(distortions.oversmoothing, "global"),
    "sensor noise": Defect(distortions.sensor_noise, "global"),
    "latent noise": Defect(distortions.latent_noise, "global"),
    "checkerboard": Defect(distortions.checkerboard, "global"),
    "patch seams": Defect(distortions.patch_seams, "global"),
    "colour drift": Defect(distortions.colour_drift, "global"),
    "oversaturation": Defect(distortions.oversaturation, "global"),
    "warped geometry": Defect(distortions.warped_geometry, "global"),
    "ghosting": Defect(distortions.ghosting, "global"),
    "low detail": Defect(distortions.low_detail, "global"),
    "jpeg": Defect(distortions.jpeg, "global"),
    "ringing": Defect(distortions.ringing, "global"),
    "melted part": Defect(local_damages.melted_part, "local"),
    "duplicated part": Defect(local_damages.duplicated_part, "local"),
    "missing part": Defect(local_damages.missing_part, "local"),
}
# Kept from training by every split but "all" and "test-defects": two global, one local.
HELD_OUT_DEFECTS = ("ghosting", "checkerboard", "duplicated part")
TRAIN_DEFECTS = tuple(name for name in DEFECTS if name not in HELD_OUT_DEFECTS)


def damage(
    image: NDArray[np.uint8],
    severities: Mapping[str, float],
    seed: int | Sequence[int],
    region: NDArray[np.floating] | None = None,
) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.float32]]]:
    """Several defects one after the other, local ones first, each with its own random stream.

    Args:
        severities: severity by name of ``DEFECTS``.
        seed: decides the patterns; a pattern does not depend on the other defects present.

    Returns:
        The picture, and the mask of every defect of severity above 0.

    Raises:
        ConfigError: a defect is unknown.
    """
    unknown = [name for name in severities if name not in DEFECTS]
    if unknown:
        raise ConfigError(f"the defect is {unknown[0]!r}; expected one of {', '.join(DEFECTS)}")
    key = [seed] if isinstance(seed, int) else list(seed)
    masks = {}
    order = sorted(
        severities, key=lambda name: (DEFECTS[name].kind == "global", list(DEFECTS).index(name))
    )
    for name in order:
        if severities[name] > 0:
            rng = np.random.default_rng([*key, list(DEFECTS).index(name)])
            damaged = DEFECTS[name](image, severities[name], rng, region)
            image, masks[name] = damaged.image, damaged.mask
    return image, masks
