"""One training step as a function of (seed, step): noise, mirroring and dropout.

Nothing is taken from the global random stream, so a resumed run needs no generator states, and several
processes that share a batch draw what one process would have drawn for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from diffagiqa.backbones.noise import Noise, draw_noise

SCORING_DRAWS = 64  # noise draws 0..63 of a seed belong to scoring (ModelConfig.noise_draws <= 64)
_FLIP, _VIEW, _DROPOUT = 1, 2, 16  # streams of one step; dropout layer i uses _DROPOUT + i


@dataclass(frozen=True)
class Step:
    """One micro-batch, and which of its rows this process computes.

    Attributes:
        seed: of the run.
        number: micro-batches before this one in the run.
        total: rows of the micro-batch over all processes.
        start, stop: this process's rows.
    """

    seed: int
    number: int
    total: int
    start: int
    stop: int

    def noise(self, shape: tuple[int, ...], posterior: str) -> Noise:
        """Fresh noise for every image; ``shape`` (C, h, w) -> (stop - start, C, h, w)."""
        draw = SCORING_DRAWS + self.number
        noise = draw_noise(self.seed, draw, shape, posterior, batch=self.total)
        first = None if noise.posterior is None else noise.posterior[self._rows]
        return Noise(first, noise.diffusion[self._rows])

    def flips(self) -> Tensor:
        """(stop - start,) bool: which images to mirror, half of them."""
        return torch.from_numpy(self._random(_FLIP).random(self.total) < 0.5)[self._rows]

    def views(self, count: int) -> Tensor:
        """(stop - start,) which of ``count`` cached noise draws each image takes."""
        return torch.from_numpy(self._random(_VIEW).integers(0, count, self.total))[self._rows]

    def dropout_mask(self, layer: int, width: int, rate: float) -> Tensor:
        """(stop - start, width) of 0 and 1 / (1 - rate)."""
        survives = self._random(_DROPOUT + layer).random((self.total, width), np.float32) >= rate
        return torch.from_numpy(survives[self._rows]) / (1 - rate)

    @property
    def _rows(self) -> slice:
        return slice(self.start, self.stop)

    def _random(self, stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.number, stream])


class StepDropout(nn.Module):
    """Dropout whose mask is a function of (seed, step, layer); without weights, like ``nn.Dropout``."""

    def __init__(self, rate: float, layer: int) -> None:
        super().__init__()
        self.rate = rate
        self.layer = layer
        self.step: Step | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        """(passes * B, width, ...) -> the same; the identity in evaluation mode.

        Whole channels are kept or dropped, the same ones in every pass over an image.
        """
        if not self.training or self.rate == 0:
            return inputs
        if self.step is None:
            raise RuntimeError("StepDropout is in training mode and was given no step")
        mask = self.step.dropout_mask(self.layer, inputs.shape[1], self.rate)
        mask = mask.repeat(len(inputs) // len(mask), 1).to(inputs)
        return inputs * mask.reshape(mask.shape + (1,) * (inputs.ndim - 2))


def seed_dropout(model: nn.Module) -> None:
    """Replace every ``nn.Dropout`` of the model by a ``StepDropout``; names of weights stay."""
    modules = [*model.named_modules()]
    dropouts = [(name, part) for name, part in modules if isinstance(part, nn.Dropout)]
    for layer, (name, part) in enumerate(dropouts):
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, StepDropout(part.p, layer))


def set_step(model: nn.Module, step: Step) -> None:
    """Tell the dropout layers which step the next forward pass belongs to."""
    for part in model.modules():
        if isinstance(part, StepDropout):
            part.step = step
