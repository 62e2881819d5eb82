"""The endless stream of synthetic pictures: (seed, index, size, split) -> (picture, caption, scene)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffagiqa.synth.captions import caption
from diffagiqa.synth.grammar import Split
from diffagiqa.synth.render import render
from diffagiqa.synth.scene import Scene, sample_scene


class MadeSample(NamedTuple):
    """A synthetic picture, (size, size, 3) uint8, its caption, and the truth."""

    image: NDArray[np.uint8]
    caption: str
    scene: Scene


def made_sample(seed: int, index: int, size: int, split: Split = "train") -> MadeSample:
    """Sample ``index`` of stream ``seed``; depends on nothing else.

    >>> first, again = made_sample(0, 3, 64), made_sample(0, 3, 64)
    >>> bool((first.image == again.image).all()) and first.caption == again.caption
    True
    """
    rng = np.random.default_rng((seed, index))
    scene = sample_scene(rng, split)
    text = caption(scene, rng)
    return MadeSample(render(scene, size, int(rng.integers(2**31))), text, scene)
