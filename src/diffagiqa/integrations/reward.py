"""The score as a reward for fine-tuning a generator: (images, prompts, metadata) -> (rewards, info).

This is the signature that trl's DDPO (policy gradients, no gradient of the reward) and AlignProp
(gradients flow from the reward into the generator) expect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from diffagiqa import checks
from diffagiqa.data.images import check_batch
from diffagiqa.data.prompts import prompt_per_image
from diffagiqa.data.wording import counted
from diffagiqa.errors import ConfigError, ImageError
from diffagiqa.model.config import shares_of
from diffagiqa.scorer import Scorer, check_scorer, weighted_mean


class Reward:
    """Per image, a weighted mean of the model's scores, in [0, 1].

    Args:
        scorer: the model.
        weights: by task, 0 or more; default: equal over the scores that the model stands behind.
        differentiable: keep the gradient of the rewards with respect to the images (AlignProp, DRaFT).
        batch_size: images per forward pass; default: the scorer's.

    Raises:
        ConfigError: a weight is for an unknown task, is negative, or all are zero; or another argument
            is not as expected.
    """

    def __init__(
        self,
        scorer: Scorer,
        weights: Mapping[str, float] | None = None,
        *,
        differentiable: bool = False,
        batch_size: int | None = None,
    ) -> None:
        self.scorer = check_scorer(scorer)
        if weights is None:
            weights = dict.fromkeys(scorer.config.trusted, 1.0)
        self.weights = shares_of(scorer.tasks, weights)
        self.differentiable = checks.flag("differentiable", differentiable)
        if batch_size is None:
            batch_size = scorer.batch_size
        self.batch_size = checks.whole("batch_size", batch_size, 1)

    def __call__(
        self, images: Any, prompts: Sequence[str], metadata: Any = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Rewards, and the scores that they consist of.

        Args:
            images: tensor (B, 3, H, W), uint8, or float that is clamped to [0, 1]; or, without
                ``differentiable``, a list of PIL images, arrays or paths.
            prompts: a list, one per image.
            metadata: ignored; trl passes it.

        Returns:
            (B,) rewards in [0, 1], each over the scores that the image has (``scorer.weighted_mean``),
            and (B,) scores in [0, 1] by task, detached; on the images' device, for a list on the
            scorer's.

        Raises:
            ImageError: an image cannot be read or is far outside [0, 1]; or ``differentiable`` is set and
                ``images`` is no tensor.
            PromptError: a prompt is no text, or too long.
            ConfigError: ``prompts`` is a single text, or there are more or fewer than images.
        """
        tensor = isinstance(images, Tensor)
        if self.differentiable and not tensor:
            kind = type(images).__name__
            raise ImageError(f"a differentiable reward got {kind}; give a tensor (B, 3, H, W)")
        if not tensor:
            images = list(checks.several("images", images, "a tensor (B, 3, H, W) or a list"))
        elif images.ndim != 4:
            check_batch(images)
        if isinstance(prompts, str):
            raise ConfigError(
                f"one text was given for {counted(len(images), 'image')}; expected a list, one each"
            )
        prompts = prompt_per_image(prompts, len(images))
        with nullcontext() if self.differentiable else torch.no_grad():
            scores = self._scores(images, prompts)
            rewards = weighted_mean(scores, self.weights)
        return rewards, {task: value.detach() for task, value in scores.items()}

    def _scores(self, images: Any, prompts: Sequence[str]) -> dict[str, Tensor]:
        if not isinstance(images, Tensor):
            results = self.scorer(images, prompts)
            return {
                task: torch.tensor([score[task] for score in results], device=self.scorer.device)
                for task in self.scorer.tasks
            }
        check_batch(images)
        if images.is_floating_point():
            images = images.float().clamp(0, 1)
        pieces = [
            self.scorer.score_tensor(
                images[start : start + self.batch_size],
                prompts[start : start + self.batch_size],
            )
            for start in range(0, len(images), self.batch_size)
        ]
        return {
            task: torch.cat([piece[task] for piece in pieces]).to(images.device)
            for task in self.scorer.tasks
        }
