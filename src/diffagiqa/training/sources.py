"""Rows -> scores: from pictures through the whole model, or from cached features through its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor

from diffagiqa.backbones.base import Backbone, Prompts
from diffagiqa.backbones.noise import Noise
from diffagiqa.data.images import decode_image, fit_image
from diffagiqa.errors import ImageError, TrainingError
from diffagiqa.model.config import ModelConfig
from diffagiqa.model.pyramid import pool_to
from diffagiqa.model.scoring import DiffAGIQA, Features, mean_of, scoring_noise
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
        self.may_flip = torch.tensor([flip and may_flip(prompt) for prompt in rows.prompts])
        self._encoded = lru_cache(maxsize=4096)(self._encode)  # 4096 prompts are 1 GB for SD 1.5
        self._readers = ThreadPoolExecutor(workers)
        self._coming: dict[int, Future[Tensor]] = {}

    def scores(self, model: DiffAGIQA, rows: Sequence[int], step: Step | None) -> dict[str, Tensor]:
        images = self.images(rows)
        if step is not None:
            mirrored = (step.flips() & self.may_flip[list(rows)]).tolist()
            images = [
                image.flip(2) if m else image for image, m in zip(images, mirrored, strict=True)
            ]

        def noises(size: tuple[int, int], members: Sequence[int]) -> list[Noise | None]:
            shape = self.backbone.latent_shape(*size)
            if step is None or shape is None:
                return scoring_noise(self.config, self.backbone, SCORING_SEED, size)
            return [step.noise(shape, self.config.posterior).of(members)]

        scores = []
        for features in self.features(model, images, self.prompts(rows), noises):
            with self.arithmetic() if step is not None else nullcontext():
                scores.append(model.score_features(features))
        return mean_of(scores)

    def features(
        self, model: DiffAGIQA, images: Sequence[Tensor], prompts: Sequence[Prompts],
        noises: Callable[[tuple[int, int], Sequence[int]], Sequence[Noise | None]],
    ) -> Iterator[dict[str, Tensor]]:  # fmt: skip
        """The features of every draw of noise, (passes * B, C, h, w) by name, of images (3, H, W).

        Images of one size and prompts of one length share a pass through the backbone; where there are
        several, maps are pooled to the pyramid's size, its own first step, and joined. ``noises`` gives
        the draws for images of (H, W) and their positions.
        """
        groups: dict[tuple[int, ...], list[int]] = {}
        for i, (image, prompt) in enumerate(zip(images, prompts, strict=True)):
            groups.setdefault((*image.shape[1:], len(prompt.text)), []).append(i)
        passes = [
            model.stages(
                torch.stack([images[i] for i in members]).to(self.backbone.device),
                Prompts.stack([prompts[i] for i in members]), self.backbone,
                noises((height, width), members), features_only=True,
            )
            for (height, width, _), members in groups.items()
        ]  # fmt: skip
        order = torch.tensor([i for members in groups.values() for i in members]).argsort()
        for parts in zip(*(only_features(stages) for stages in passes), strict=True):
            yield (
                parts[0]
                if len(parts) == 1
                else {
                    name: self._joined([part[name] for part in parts], len(model.passes), order)
                    for name in parts[0]
                }
            )

    def _joined(self, maps: Sequence[Tensor], passes: int, order: Tensor) -> Tensor:
        """Maps of several groups, (passes * b, C, h, w) each -> (passes * B, C, P, P), in order."""
        pooled = [
            pool_to(part, self.config.pyramid_size).unflatten(0, (passes, -1)) for part in maps
        ]
        return torch.cat(pooled, 1)[:, order.to(maps[0].device)].flatten(0, 1)

    def prefetch(self, rows: Sequence[int]) -> None:
        for row in rows:
            if row not in self._coming:
                self._coming[row] = self._readers.submit(self.image, row)

    def images(self, rows: Sequence[int]) -> list[Tensor]:
        """(3, H, W) float32 in [0, 1] on the CPU each."""
        self.prefetch(rows)
        waiting = {row: self._coming.pop(row) for row in set(rows)}
        return [waiting[row].result() for row in rows]

    def image(self, row: int) -> Tensor:
        sample = self.rows.samples[row]
        try:
            picture = decode_image(sample.source)
            if damage := self.damages.get(row):
                picture = damage(picture)
            return fit_image(
                picture, self.config.image_size, self.config.fit, self.backbone.side_multiple
            )
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

    def prompts(self, rows: Sequence[int]) -> list[Prompts]:
        """Encoded prompts of some rows; each distinct one is encoded once."""
        return [self._encoded(self.rows.prompts[row]) for row in rows]

    @torch.no_grad()
    def _encode(self, prompt: str) -> Prompts:
        return self.backbone.encode_prompts([prompt], self.config.long_prompts)[0]


def only_features(stages: Iterator[tuple[str, Any]]) -> Iterator[dict[str, Tensor]]:
    """Of ``DiffAGIQA.stages``, the features of every draw."""
    return (value for stage, value in stages if stage == "features")


class FeatureSource:
    """Features computed before, through pyramid and heads: the regime with frozen prompters.

    ``features``: by name, (N, views, passes, C, h, w) each, of any float type, in memory or mapped from
    disk. Views are noise draws, and after them the same draws of the mirrored picture.
    """

    def __init__(
        self, features: Features, arithmetic: Autocast, *, device: torch.device | str = "cpu",
        mirrored: Tensor | None = None, scoring_draws: int = 1,
    ) -> None:  # fmt: skip
        self.features = features
        self.arithmetic = arithmetic
        self.device = device
        self.mirrored = mirrored
        """(N,) bool: which rows may take a mirrored view; None where there are none."""
        views = next(iter(features.values())).shape[1]
        self.draws = views // (1 if mirrored is None else 2)
        self.scoring_draws = scoring_draws

    def scores(self, model: DiffAGIQA, rows: Sequence[int], step: Step | None) -> dict[str, Tensor]:
        index = torch.as_tensor(rows)
        if step is not None:
            view = step.views(self.draws)
            if self.mirrored is not None:
                view = view + self.draws * (step.flips() & self.mirrored[index])
            with self.arithmetic():
                return self._forward(model, index, view)
        draws = range(self.scoring_draws)
        return mean_of([self._forward(model, index, torch.full((len(rows),), d)) for d in draws])

    def prefetch(self, rows: Sequence[int]) -> None:
        """Nothing to do: the features are in memory, or the system reads ahead."""

    def _forward(self, model: DiffAGIQA, index: Tensor, view: Tensor) -> dict[str, Tensor]:
        return model.score_features(
            {
                # (B,passes,C,h,w) -> (passes * B,C,h,w), as the model orders them
                name: maps[index, view].to(self.device).float().transpose(0, 1).flatten(0, 1)
                for name, maps in self.features.items()
            }
        )
