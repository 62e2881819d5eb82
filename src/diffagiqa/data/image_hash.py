"""Images that look the same, whatever their file: re-uploads, other sizes, other compression."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from diffagiqa.data.images import decode_image
from diffagiqa.errors import ImageError

SIDE = 32  # pixels of the grey image whose lowest 8 x 8 frequencies are kept
NEAR = 4
"""Of 64 bits. Of 400 images of AGIQA-3K, different ones differ by 10 or more, and 99.8 % of their copies
(half the size, brighter by a tenth, JPEG or WebP of quality 50) by at most 4 from their original."""
NO_HASH = np.uint64(0)
"""Of an image that cannot be read or has one colour only, which is near no other."""


def perceptual_hash(image: NDArray[np.uint8]) -> np.uint64:
    """64 bits of an image (H, W, 3) uint8: which of its low frequencies are above their median.

    The cosine transform of the grey image at 32 x 32 pixels (pHash, Zauner 2010, section 3.2.1).
    """
    from PIL import Image
    from scipy.fft import dctn

    grey = Image.fromarray(image).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    frequencies = dctn(np.asarray(grey, np.float64))[:8, :8].ravel()
    if np.abs(frequencies[1:]).max() < 1e-6 * SIDE * SIDE:
        return NO_HASH
    bits = frequencies > np.median(frequencies[1:])
    return np.packbits(bits).view(np.uint64)[0]


def perceptual_hashes(sources: Iterable[str | bytes]) -> NDArray[np.uint64]:
    """(N,) hashes of image files or bytes, ``NO_HASH`` for those that cannot be read."""

    def hashed(source: str | bytes) -> np.uint64:
        try:
            return perceptual_hash(decode_image(source))
        except ImageError:
            return NO_HASH

    return np.array([hashed(source) for source in sources], np.uint64)


def near_others(hashes: NDArray[np.uint64], others: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """(N,) of each hash, whether one of the others differs in at most ``NEAR`` bits."""
    others = np.unique(others[others != NO_HASH])
    theirs, near = _bits(others), np.zeros(len(hashes), bool)
    step = max(1, (1 << 24) // max(1, len(others)))  # 16 million pairs, 64 MB, at once
    for start in range(0, len(hashes) if len(others) else 0, step):
        ours = _bits(hashes[start : start + step])
        differing = ours.sum(1)[:, None] + theirs.sum(1) - 2 * ours @ theirs.T
        near[start : start + step] = (differing <= NEAR).any(1)
    return near & (hashes != NO_HASH)


def _bits(hashes: NDArray[np.uint64]) -> NDArray[np.float32]:
    """(N,) hashes -> their (N, 64) bits."""
    return np.unpackbits(hashes.view(np.uint8).reshape(-1, 8), axis=1).astype(np.float32)
