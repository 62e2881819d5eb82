"""Rows -> scores: from pictures through the whole model, or from cached features through its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from diffagiqa.backbones.unet import Backbone, Prompts
from diffagiqa.data.images import decode_image, fit_image
from diffagiqa.errors import ImageError, TrainingError
from diffagiqa.model.config import ModelConfig
from diffagiqa.model.scoring import DiffAGIQA, scoring_noise
from diffagiqa.training.data import Rows, may_flip
from diffagiqa.training.determinism import Step

SCORING_SEED = 0  # the Scorer's default: validation sees the noise that users will see
Autocast = Callable[[], AbstractContextManager[None]]


class Source(Protocol):
    """Where the loop gets scores from."""

    def scores(self, model: DiffAGIQA, rows: Sequence[int], step: Step | None) -> dict[str, Tensor]:
        """(len(rows),) scores in [0, 1] by task; ``step`` is None in validation: fixed noise."""

    def prefetch(self, rows: Sequence[int]) -> None:
        """Start reading what the next step needs."""


def autocast(device: torch.device, precision: str) -> Autocast:
    """The arithmetic of the trained parts in a step: "float32", or "bfloat16" over float32 weights.

    Validation and test take float32 always: there a rounded score is a tie.
    """
    enabled = precision == "bfloat16"
    return lambda: torch.autocast(device.type, torch.bfloat16, enabled=enabled)


class ImageSource:
    """Pictures through prompters, frozen backbone and heads, with gradients: the full regime."""

    def __init__(
        self, rows: Rows, config: ModelConfig, backbone: Backbone, arithmetic: Autocast, *,
        flip: bool = True, workers: int = 2,
    ) -> None:  # fmt: skip
        self.rows = rows
        self.damages = rows.damages
        self.config = config
        self.backbone = backbone
        self.arithmetic = arithmetic
        self.noise = scoring_noise(config, backbone, SCORING_SEED)
        self.may_flip = torch.tensor([flip and may_flip(prompt) for prompt in rows.prompts])
        self._encoded = lru_cache(maxsize=4096)(self._encode)  # 4096 prompts are 1 GB for SD 1.5
        self._readers = ThreadPoolExecutor(workers)
        self._coming: dict[int, Future[Tensor]] = {}

    def scores(self, model: DiffAGIQA, rows: Sequence[int], step: Step | None) -> dict[str, Tensor]:
        images = self.images(rows).to(self.backbone.device)  # (B,3,S,S)
        prompts = self.prompts(rows)
        noises = self.noise
        if step is not None:
            mirrored = step.flips() & self.may_flip[list(rows)]
            images = torch.where(
                mirrored.to(images.device)[:, None, None, None], images.flip(3), images
            )
            shape = self.backbone.latent_shape(self.config.image_size)
            noises = [step.noise(shape, self.config.posterior)]
        draws = []
        for levels in model.levels_by_draw(images, prompts, self.backbone, noises):
            with self.arithmetic() if step is not None else nullcontext():
                draws.append(model.score_features(levels))
        return {task: torch.stack([draw[task] for draw in draws]).mean(0) for task in draws[0]}

    def prefetch(self, rows: Sequence[int]) -> None:
        for row in rows:
            if row not in self._coming:
                self._coming[row] = self._readers.submit(self.image, row)

    def images(self, rows: Sequence[int]) -> Tensor:
        """(B, 3, S, S) float32 in [0, 1] on the CPU."""
        self.prefetch(rows)
        waiting = {row: self._coming.pop(row) for row in set(rows)}
        return torch.stack([waiting[row].result() for row in rows])

    def image(self, row: int) -> Tensor:
        sample = self.rows.samples[row]
        try:
            picture = decode_image(sample.source)
            if damage := self.damages.get(row):
                picture = damage(picture)
            return fit_image(picture, self.config.image_size, self.config.fit)
        except ImageError as error:
            raise TrainingError(
                f"row {sample.row} cannot be read: {error} "
                "Repair it, or leave such rows out with --unreadable skip."
            ) from None

    def unreadable(self) -> list[int]:
        """Rows whose picture cannot be decoded: every file is opened once."""

        def fails(row: int) -> bool:
            try:
                self.image(row)
            except TrainingError:
                return True
            return False

        # Rows that nobody rated show pictures of those that somebody did.
        rated = range(len(self.rows) - len(self.rows.origins))
        found = zip(rated, self._readers.map(fails, rated), strict=True)
        faults = [row for row, fault in found if fault]
        known = set(faults)
        return faults + [row for row, o in self.rows.unrated.items() if o.picture in known]

    def prompts(self, rows: Sequence[int]) -> Prompts:
        """Encoded prompts of some rows; each distinct one is encoded once."""
        prompts = [self._encoded(self.rows.prompts[row]) for row in rows]
        if len({len(prompt.words) for prompt in prompts}) > 1:
            raise TrainingError(
                f"a batch has prompts of several lengths, as long_prompts "
                f"{self.config.long_prompts!r} leaves them; train with "
                "--set model.long_prompts=truncate, or --set batch_size=1"
            )
        return Prompts.stack(prompts)

    @torch.no_grad()
    def _encode(self, prompt: str) -> Prompts:
        return self.backbone.encode_prompts([prompt], self.config.long_prompts).single


class FeatureSource:
    """Features computed before, through pyramid and heads: the regime with frozen prompters.

    ``features``: one tensor per level, (N, views, passes, C, h, w), of any float type, in memory or
    mapped from disk. Views are noise draws, and after them the same draws of the mirrored picture.
    """

    def __init__(
        self, features: Sequence[Tensor], arithmetic: Autocast, *, device: torch.device | str = "cpu",
        mirrored: Tensor | None = None, scoring_draws: int = 1,
    ) -> None:  # fmt: skip
        self.features = features
        self.arithmetic = arithmetic
        self.device = device
        self.mirrored = mirrored
        """(N,) bool: which rows may take a mirrored view; None where there are none."""
        self.draws = features[0].shape[1] // (1 if mirrored is None else 2)
        self.scoring_draws = scoring_draws

    def scores(self, model: DiffAGIQA, rows: Sequence[int], step: Step | None) -> dict[str, Tensor]:
        index = torch.as_tensor(rows)
        if step is not None:
            view = step.views(self.draws)
            if self.mirrored is not None:
                view = view + self.draws * (step.flips() & self.mirrored[index])
            with self.arithmetic():
                return self._forward(model, index, view)
        draws = [
            self._forward(model, index, torch.full((len(rows),), draw))
            for draw in range(self.scoring_draws)
        ]
        return {task: torch.stack([draw[task] for draw in draws]).mean(0) for task in draws[0]}

    def prefetch(self, rows: Sequence[int]) -> None:
        """Nothing to do: the features are in memory, or the system reads ahead."""

    def _forward(self, model: DiffAGIQA, index: Tensor, view: Tensor) -> dict[str, Tensor]:
        return model.score_features(
            [
                # (B,passes,C,h,w) -> (passes * B,C,h,w), as the model orders them
                level[index, view].to(self.device).float().transpose(0, 1).flatten(0, 1)
                for level in self.features
            ]
        )
