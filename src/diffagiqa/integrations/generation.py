"""Scoring in a diffusers pipeline: intermediate images, and best of N."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diffagiqa import checks
from diffagiqa.data.prompts import clean_prompt
from diffagiqa.errors import ConfigError
from diffagiqa.integrations.reward import Reward
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
        stop_above: end the denoising once every image's mean score over tasks is above it; None: never.

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
        stop_above: float | None = None,
    ) -> None:
        self.scorer = check_scorer(scorer)
        if not isinstance(prompts, str):
            prompts = list(checks.several("prompts", prompts, "a text, or a list of one text each"))
        self.prompts = prompts
        self.every = checks.whole("every", every, 1)
        self.stop_above = stop_above
        if stop_above is not None:
            checks.number("stop_above", stop_above)
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
        kept = {task: value.float().cpu() for task, value in scores.items()}
        self.history.append(StepScores(step, int(timestep), kept))
        means = torch.stack(list(kept.values())).mean(0)
        if self.stop_above is not None and bool((means > self.stop_above).all()):
            pipeline._interrupt = True  # diffusers' own way to end the loop
        return kwargs


class Best(NamedTuple):
    """The best of several images."""

    image: Any
    """As the pipeline returned it."""
    number: int
    """Its index, from 0."""
    rewards: list[float]
    """The reward of every image, in [0, 1]."""


def best_of(
    pipeline: Any,
    scorer: Scorer,
    prompt: str,
    n: int = 4,
    *,
    seed: int = 0,
    weights: Mapping[str, float] | None = None,
    **options: Any,
) -> Best:
    """Generate ``n`` images of one prompt and keep the one with the best score.

    Args:
        pipeline: a text-to-image pipeline of diffusers.
        scorer: the model.
        prompt: what to generate, and to score against.
        n: images, generated as one batch.
        seed: image i has a random generator seeded ``seed + i``, whatever ``n`` is.
        weights: by task, as in ``Reward``.
        options: passed to the pipeline.

    Raises:
        ConfigError, PromptError: an argument is not as expected; raised before anything is generated.
    """
    if not callable(pipeline):
        raise ConfigError(f"pipeline is {checks.shown(pipeline)}; expected a pipeline of diffusers")
    checks.whole("n", n, 1)
    checks.whole("seed", seed)
    prompt = clean_prompt(prompt)
    reward = Reward(scorer, weights)
    generators = [torch.Generator("cpu").manual_seed(seed + i) for i in range(n)]
    images = pipeline([prompt] * n, generator=generators, **options).images
    rewards, _ = reward(images, [prompt] * n)
    number = int(rewards.argmax())
    return Best(images[number], number, rewards.tolist())
