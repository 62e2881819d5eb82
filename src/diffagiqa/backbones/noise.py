"""Noise as a function of (seed, draw, shape): never the global stream, never the batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Noise:
    """Standard normal noise of one draw: one for the VAE posterior, one for the diffusion step.

    Both have shape (1, C, h, w) or (B, C, h, w); a first dimension of 1 serves every image alike, so
    a score does not depend on its neighbours. ``posterior`` is None where the posterior mean is used.
    """

    posterior: Tensor | None
    diffusion: Tensor
    timestep: int | None = None
    """Where it is added; None: where the model's configuration says."""

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Noise:
        posterior = None if self.posterior is None else self.posterior.to(device, dtype)
        return Noise(posterior, self.diffusion.to(device, dtype), self.timestep)

    def repeat(self, times: int) -> Noise:
        """Noise that differs per image, ``times`` over; noise shared by all images stays (1, ...)."""
        if self.diffusion.shape[0] == 1:
            return self
        each = (times, *[1] * (self.diffusion.ndim - 1))
        posterior = None if self.posterior is None else self.posterior.repeat(each)
        return Noise(posterior, self.diffusion.repeat(each), self.timestep)

    def of(self, rows: Sequence[int]) -> Noise:
        """Of noise that differs per image, that of some images."""
        index = torch.as_tensor(rows)
        posterior = None if self.posterior is None else self.posterior[index]
        return Noise(posterior, self.diffusion[index], self.timestep)


def draw_noise(
    seed: int, draw: int, shape: tuple[int, ...], posterior: str = "sample", batch: int = 1
) -> Noise:
    """Draw the noise number ``draw`` of ``seed`` on the CPU, in float32.

    ``shape`` is that of one image's latents, (C, h, w). ``batch`` > 1 gives every image its own noise
    (a fresh draw for a training step); scoring keeps 1.

    >>> torch.equal(draw_noise(7, 0, (4, 2, 2)).diffusion, draw_noise(7, 0, (4, 2, 2)).diffusion)
    True
    """
    words = np.random.SeedSequence([seed, draw]).generate_state(2, np.uint32)
    generator = torch.Generator("cpu").manual_seed(int(words[0]) << 31 ^ int(words[1]))
    # Both are drawn always, so that the diffusion noise is the same with either posterior.
    both = torch.randn(2, batch, *shape, generator=generator, dtype=torch.float32)
    return Noise(both[0] if posterior == "sample" else None, both[1])
