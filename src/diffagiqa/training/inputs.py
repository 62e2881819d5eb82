"""Rows -> scores: from images through the whole model, or from cached features through its end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffagiqa.backbones.base import Backbone, Prompts
from diffagiqa.backbones.noise import Noise
from diffagiqa.data.images import decode_image, fit_image
from diffagiqa.errors import ImageError, TrainingError
from diffagiqa.model.config import ModelConfig
from diffagiqa.model.pyramid import pool_to
from diffagiqa.model.scoring import DiffAGIQA, Features, mean_of, scoring_noise
from diffagiqa.prompt_encoding import PromptEncoder
from diffagiqa.training.data import TrainingData, may_flip
from diffagiqa.training.determinism import Step

SCORING_SEED = 0  # the Scorer's default: validation sees the noise that users will see
Draws = Callable[[tuple[int, int], Sequence[int]], Sequence[Noise | None]]
"""The draws of noise for images of (H, W) at some positions of a batch."""


@dataclass(frozen=True)
class Outputs:
    """Of a batch, by task: scores in [0, 1], (B,), and fused maps of the last draw, (B, C, P, P)."""

    scores: dict[str, Tensor]
    fused: dict[str, Tensor]


class Inputs(ABC):
    """Where the loop gets scores from.

    ``precision`` is that of the trained parts in a step: "float32", or "bfloat16" over float32 weights.
    Validation and test take float32 always: there a rounded score is a tie.
    """

    def __init__(self, precision: str, device: torch.device | str) -> None:
        self.precision = precision
        self.device = torch.device(device)

    @abstractmethod
    def outputs(self, model: DiffAGIQA, rows: Sequence[int], step: Step | None) -> Outputs:
        """Of some rows; ``step`` is None in validation: fixed noise, no mirroring."""

    def scores(self, model: DiffAGIQA, rows: Sequence[int], step: Step | None) -> dict[str, Tensor]:
        """(len(rows),) scores in [0, 1] by task."""
        return self.outputs(model, rows, step).scores

    def prefetch(self, rows: Sequence[int]) -> None:  # noqa: B027
        """Start reading what the next step needs."""

    def autocast(self, step: Step | None) -> AbstractContextManager[None]:
        """Within it, the trained parts compute in the step's precision."""
        low = step is not None and self.precision == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=low)  # type: ignore[return-value]


class ImageInputs(Inputs):
    """Images through prompters, frozen backbone and heads, with gradients: the full regime."""

    def __init__(
        self, data: TrainingData, config: ModelConfig, backbone: Backbone, precision: str = "float32", *,
        flip: bool = True, workers: int = 2,
    ) -> None:  # fmt: skip
        super().__init__(precision, backbone.device)
        self.data = data
        self.damages = data.damages
        self.config = config
        self.backbone = backbone
        self.may_flip = torch.tensor([flip and may_flip(prompt) for prompt in data.prompts])
        self.encode = PromptEncoder(backbone, config, size=1 << 30)
        """Prompts -> encoded prompts; 1 GB are 4096 of Stable Diffusion 1.5's."""
        self._readers = ThreadPoolExecutor(workers)
        self._coming: dict[int, Future[Tensor]] = {}

    def outputs(self, model: DiffAGIQA, rows: Sequence[int], step: Step | None) -> Outputs:
        images = self.images(rows)
        if step is not None:
            flips = (step.flips() & self.may_flip[list(rows)]).tolist()
            images = [image.flip(2) if f else image for image, f in zip(images, flips, strict=True)]

        def draws(size: tuple[int, int], positions: Sequence[int]) -> Sequence[Noise | None]:
            shape = self.backbone.latent_shape(*size)
            if step is None or shape is None:
                return scoring_noise(self.config, self.backbone, SCORING_SEED, size)
            return [step.noise(shape, self.config.posterior).of(positions)]

        stages = []
        for features in self.features(model, images, self.prompts(rows), draws):
            with self.autocast(step):
                stages.append(dict(model.score_stages(features)))
        return Outputs(mean_of([stage["scores"] for stage in stages]), stages[-1]["fused"])

    def features(
        self, model: DiffAGIQA, images: Sequence[Tensor], prompts: Sequence[Prompts], draws: Draws
    ) -> Iterator[dict[str, Tensor]]:
        """The features of every draw of noise, (passes * B, C, h, w) by name, of images (3, H, W).

        Images of one size and prompts of one length share a pass through the backbone; where there are
        several, maps are pooled to the pyramid's size, its own first step, and joined.
        """
        groups: dict[tuple[int, ...], list[int]] = {}
        for i, (image, prompt) in enumerate(zip(images, prompts, strict=True)):
            groups.setdefault((*image.shape[1:], len(prompt.text)), []).append(i)
        if len(groups) > 1 and self.config.pooling == "queries":
            raise TrainingError(
                'with pooling "queries", images of several sizes or prompts of several lengths share no '
                "batch; set model.fit to resize and model.long_prompts to truncate, or batch_size to 1"
            )
        passes = [
            model.stages(
                torch.stack([images[i] for i in positions]).to(self.device),
                Prompts.stack([prompts[i] for i in positions]), self.backbone,
                draws((height, width), positions), features_only=True,
            )
            for (height, width, _), positions in groups.items()
        ]  # fmt: skip
        order = torch.tensor([i for positions in groups.values() for i in positions]).argsort()
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
        sample = self.data.samples[row]
        try:
            image = decode_image(sample.source)
        except ImageError as error:
            raise TrainingError(
                f"row {sample.row} cannot be read: {error} "
                "Repair it, or leave such rows out with --unreadable skip."
            ) from None
        if damage := self.damages.get(row):
            image = damage(image)
        config = self.config
        backbone = self.backbone
        return fit_image(
            image, config.image_size, config.fit, backbone.side_multiple, backbone.longest_side
        )

    def unreadable(self, skip: bool) -> list[int]:
        """Rows whose image cannot be decoded, before hours are spent: every file is opened once.

        Raises ``TrainingError`` naming the first, unless they are to be left out.
        """

        def fails(row: int) -> bool:
            try:
                self.image(row)
            except TrainingError:
                if skip:
                    return True
                raise
            return False

        rows = range(len(self.data.originals))
        faults = {r for r, f in zip(rows, self._readers.map(fails, rows), strict=True) if f}
        augmented = self.data.augmented.items()  # they show images of the others
        return [*faults, *(row for row, copy in augmented if copy.image in faults)]

    def prompts(self, rows: Sequence[int]) -> list[Prompts]:
        """Encoded prompts of some rows; each distinct one is encoded once."""
        return self.encode([self.data.prompts[row] for row in rows])


def only_features(stages: Iterator[tuple[str, Any]]) -> Iterator[dict[str, Tensor]]:
    """Of ``DiffAGIQA.stages``, the features of every draw."""
    return (value for stage, value in stages if stage == "features")


class FeatureInputs(Inputs):
    """Features computed before, through pyramid and heads: the regime with frozen prompters.

    ``features``: by name, (N, views, passes, C, h, w) each, of any float type, in memory or mapped from
    disk. Views are noise draws, and after them the same draws of the mirrored image.
    """

    def __init__(
        self, features: Features, precision: str = "float32", *, device: torch.device | str = "cpu",
        mirrored: Tensor | None = None, scoring_views: Sequence[int] = (0,),
    ) -> None:  # fmt: skip
        super().__init__(precision, device)
        self.features = features
        self.mirrored = mirrored
        """(N,) bool: which rows may take a mirrored view; None where there are none."""
        views = next(iter(features.values())).shape[1]
        self.draws = views // (1 if mirrored is None else 2)
        self.scoring_views = scoring_views
        """Whose mean is validated: the scorer's draws."""

    def outputs(self, model: DiffAGIQA, rows: Sequence[int], step: Step | None) -> Outputs:
        stages = self.stages(model, rows, step)
        return Outputs(mean_of([stage["scores"] for stage in stages]), stages[-1]["fused"])

    def stages(
        self, model: DiffAGIQA, rows: Sequence[int], step: Step | None
    ) -> list[dict[str, Any]]:
        """Of every view that counts, what ``DiffAGIQA.score_stages`` names."""
        index = torch.as_tensor(rows)
        if step is None:
            views = [torch.full((len(rows),), draw) for draw in self.scoring_views]
        else:
            view = step.views(self.draws)
            if self.mirrored is not None:
                view = view + self.draws * (step.flips() & self.mirrored[index])
            views = [view]
        stages = []
        for view in views:
            features = {
                # (B,passes,C,h,w) -> (passes * B,C,h,w), as the model orders them
                name: maps[index, view].to(self.device).float().transpose(0, 1).flatten(0, 1)
                for name, maps in self.features.items()
            }
            with self.autocast(step):
                stages.append(dict(model.score_stages(features)))
        return stages
