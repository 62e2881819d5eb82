"""Scores of a diffusers pipeline's intermediate images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diffagiqa import checks
from diffagiqa.scorer import Scorer, check_scorer


class StepScores(NamedTuple):
    """Scores of the images as they were after one step of the denoising."""

    step: int
    """Number of the step, from 0."""
    timestep: int
    """The scheduler's timestep."""
    scores: dict[str, Tensor]
    """By task, (B,) float32 in [0, 1], on the CPU."""


class ScoreSteps:
    """A ``callback_on_step_end`` for a diffusers pipeline that scores the intermediate images.

    Latents are decoded as they are, noise included, so early steps score low; the last step, which is
    always scored, is the finished image.

    Args:
        scorer: the model.
        prompts: one for all images, or one per image.
        every: score every so many steps, 1 or more.

    Attributes:
        history: a ``StepScores`` for every step that was scored.

    Raises:
        ConfigError: an argument is not as expected.

    >>> watch = ScoreSteps(scorer, [prompt], every=5)                        # doctest: +SKIP
    >>> pipeline(prompt, callback_on_step_end=watch)                         # doctest: +SKIP
    >>> watch.history[-1].scores["alignment"]                                # doctest: +SKIP
    """

    def __init__(
        self,
        scorer: Scorer,
        prompts: str | Sequence[str],
        *,
        every: int = 5,
    ) -> None:
        self.scorer = check_scorer(scorer)
        if not isinstance(prompts, str):
            prompts = list(checks.several("prompts", prompts, "a text, or a list of one text each"))
        self.prompts = prompts
        self.every = checks.whole("every", every, 1)
        self.history: list[StepScores] = []

    @torch.no_grad()
    def __call__(
        self, pipeline: Any, step: int, timestep: int | Tensor, kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        """Called by diffusers after each step; returns ``kwargs`` unchanged."""
        last = step + 1 == pipeline.num_timesteps
        if (step + 1) % self.every and not last:
            return kwargs
        vae = pipeline.vae
        latents = kwargs["latents"].to(vae.dtype) / vae.config.scaling_factor
        shift = getattr(vae.config, "shift_factor", None) or 0.0
        images = (vae.decode(latents + shift).sample.float() / 2 + 0.5).clamp(0, 1)
        scores = self.scorer.score_tensor(images, self.prompts)
        on_cpu = {task: value.float().cpu() for task, value in scores.items()}
        self.history.append(StepScores(step, int(timestep), on_cpu))
        return kwargs
