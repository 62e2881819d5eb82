"""The method on one screen: prompter, latents, features, pyramid, score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffagiqa.backbones.noise import Noise, draw_noise
from diffagiqa.backbones.unet import Backbone, Prompts
from diffagiqa.backbones.unet_walk import unet_features
from diffagiqa.model.config import ModelConfig
from diffagiqa.model.evidence import WORD_STATISTICS, unet_evidence, word_statistics
from diffagiqa.model.head import ScoreHead
from diffagiqa.model.prompter import NoPrompter, VisualPrompter
from diffagiqa.model.pyramid import PlainPooling, Pyramid, StatisticsPooling

SHARED = "shared"


@dataclass(frozen=True)
class Pass:
    """What one pass through the U-Net is given: which prompter's latents, and whether the prompt."""

    prompter: int
    use_text: bool


@dataclass(frozen=True)
class Judgement:
    """Scores in [0, 1] by task, (B,) each, and the distance to the training pictures, (B,) or None."""

    scores: dict[str, Tensor]
    distance: Tensor | None


class DiffAGIQA(nn.Module):
    """The trained parts: visual prompters, pyramid, and one head per task."""

    def __init__(
        self,
        config: ModelConfig,
        prompters: nn.ModuleDict,
        pyramid: nn.Module,
        heads: nn.ModuleDict,
    ) -> None:
        super().__init__()
        self.config = config
        self.prompters = prompters
        self.pyramid = pyramid
        self.heads = heads
        several = len(prompters) > 1
        needed = {
            task.name: Pass(i if several else 0, config.use_text and task.use_text)
            for i, task in enumerate(config.tasks)
        }
        self.passes = tuple(dict.fromkeys(needed.values()))
        """What pyramid and heads are given per picture and draw; tasks that agree share one."""
        self.pass_of = {task: self.passes.index(own) for task, own in needed.items()}
        # With ``words`` the prompt enters there alone, so several of these are the same to the U-Net.
        computed = [Pass(one.prompter, one.use_text and not config.words) for one in self.passes]
        self.unet_passes = tuple(dict.fromkeys(computed))
        self.unet_pass_of = [self.unet_passes.index(one) for one in computed]

    def forward(
        self, images: Tensor, prompts: Prompts, backbone: Backbone, noises: Sequence[Noise]
    ) -> dict[str, Tensor]:
        """Score a batch, averaged over the given draws of noise.

        ``images`` (B, 3, S, S) in [0, 1]; ``prompts`` from ``backbone.encode_prompts``.
        Returns (B,) scores in [0, 1] by task. The image is encoded once; only the U-Net, the pyramid
        and the heads see every draw.
        """
        return self.judge(images, prompts, backbone, noises).scores

    def judge(
        self, images: Tensor, prompts: Prompts, backbone: Backbone, noises: Sequence[Noise]
    ) -> Judgement:
        """``forward``, and how unlike the training pictures each image is, where those were measured."""
        draws, distances = [], []
        for levels in self.levels_by_draw(images, prompts, backbone, noises):
            draws.append(self.score_features(levels))
            if self.config.unfamiliar_above and isinstance(self.pyramid, StatisticsPooling):
                distances.append(self.pyramid.distance([level[: len(images)] for level in levels]))
        return Judgement(
            {task: torch.stack([draw[task] for draw in draws]).mean(0) for task in draws[0]},
            torch.stack(distances).mean(0) if distances else None,
        )

    def levels_by_draw(
        self, images: Tensor, prompts: Prompts, backbone: Backbone, noises: Sequence[Noise]
    ) -> Iterator[list[Tensor]]:
        """What pyramid and heads are given of a batch, for every draw: (passes * B, ...) per level."""
        mean, std = backbone.encode_image(self.prompt(images))
        words = self.word_features(images, prompts, backbone)
        for noise in noises:
            features = self.features(mean, std, prompts.text, backbone, noise)
            yield self.levels(features) + words

    def prompt(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1] -> one prompted copy per prompter, (prompters * B, 3, S, S)."""
        prompted = [prompter(images) for prompter in self.prompters.values()]
        return prompted[0] if len(prompted) == 1 else torch.cat(prompted)

    def features(
        self, mean: Tensor, std: Tensor, text: Tensor, backbone: Backbone, noise: Noise
    ) -> list[Tensor]:
        """Posterior of all prompters -> the U-Net's features, (unet_passes * B, C_i, h_i, w_i) each."""
        config, passes = self.config, self.unet_passes
        prompters = mean.shape[0] // text.shape[0]
        latents = backbone.noisy_latents(
            mean, std, _per_prompter(noise, prompters), config.timestep
        ).chunk(prompters)
        no_text = text
        if not all(own.use_text for own in passes):
            # Beside a prompt the empty one is as long; repeated, attention takes no more from it.
            beside = any(own.use_text for own in passes)
            no_text = backbone.no_text(text.shape[1] if beside else None)
            no_text = no_text.expand(len(text), -1, -1)
        found = unet_features(
            backbone.unet,
            torch.cat([latents[own.prompter] for own in passes]),
            config.timestep,
            torch.cat([text if own.use_text else no_text for own in passes]),
            config.features,
            backbone.checkpoint_activations,
        )
        dtype = next(self.pyramid.parameters()).dtype
        return [feature.to(dtype) for feature in found.values()]

    def levels(self, features: Sequence[Tensor]) -> list[Tensor]:
        """``features`` -> what the pyramid is given of them, (passes * B, ...) per level.

        Statistics are computed before passes that the U-Net shares are told apart.
        """
        if isinstance(self.pyramid, StatisticsPooling):
            features = self.pyramid.statistics(features)
        if len(self.unet_passes) == len(self.passes):
            return list(features)
        parts = [level.chunk(len(self.unet_passes)) for level in features]
        return [torch.cat([part[i] for i in self.unet_pass_of]) for part in parts]

    def word_features(self, images: Tensor, prompts: Prompts, backbone: Backbone) -> list[Tensor]:
        """How strongly the words of the prompts are shown, (passes * B, F, 1, 1) per layer of ``words``.

        By another pass through the U-Net, of the small picture without visual prompt and noise; zeros
        for passes that the prompt is not to move. Empty where the configuration names no layers.
        """
        if not self.config.words:
            return []
        dtype = next(self.pyramid.parameters()).dtype
        levels = []
        for evidence in self.evidence(images, prompts.text, backbone):
            known = word_statistics(evidence, prompts.words).to(dtype)[:, :, None, None]
            nothing = torch.zeros_like(known)
            levels.append(torch.cat([known if own.use_text else nothing for own in self.passes]))
        return levels

    def evidence(self, images: Tensor, text: Tensor, backbone: Backbone) -> list[Tensor]:
        """Evidence of every token, (B, L) per layer of ``words``; its sigmoid: the chance it is shown."""
        latents = self.small_latents(images, backbone)
        return unet_evidence(backbone.unet, latents, self.config.timestep, text, self.config.words)

    def small_latents(self, images: Tensor, backbone: Backbone) -> Tensor:
        """(B, 3, S, S) in [0, 1] -> clean latents of the picture at ``words_size``."""
        size = self.config.words_size
        small = F.interpolate(images, (size, size), mode="bilinear", antialias=True)
        mean, _ = backbone.encode_image(2 * small - 1)
        return backbone.clean_latents(mean)

    def score_features(self, levels: list[Tensor]) -> dict[str, Tensor]:
        """Levels of one draw, (passes * B, ...) each -> scores by task, (B,) in [0, 1]."""
        maps = self.pyramid(levels).chunk(len(self.passes))
        return {task: head(maps[self.pass_of[task]]) for task, head in self.heads.items()}


def scoring_noise(config: ModelConfig, backbone: Backbone, seed: int) -> list[Noise]:
    """The configured draws of ``seed``, the same for every image."""
    shape = backbone.latent_shape(config.image_size)
    return [draw_noise(seed, draw, shape, config.posterior) for draw in range(config.noise_draws)]


def build_model(config: ModelConfig) -> DiffAGIQA:
    """Wire the trained parts as ``config`` says, randomly initialised."""
    names = config.task_names if config.prompting == "per_task" else (SHARED,)
    prompters = nn.ModuleDict({name: _build_prompter(config) for name in names})
    pyramid = _build_pyramid(config)
    heads = nn.ModuleDict({name: _build_head(config) for name in config.task_names})
    return DiffAGIQA(config, prompters, pyramid, heads)


def _build_prompter(config: ModelConfig) -> nn.Module:
    if config.prompting == "none":
        return NoPrompter()
    return VisualPrompter(config.prompter_channels, config.prompter_kernel)


def _build_pyramid(config: ModelConfig) -> nn.Module:
    channels = config.pyramid_channels
    if config.pooling == "plain":
        return PlainPooling(config.feature_channels, size=config.pyramid_size, channels=channels)
    if config.pooling == "statistics":
        return StatisticsPooling(
            config.feature_channels,
            channels=channels,
            dropout=config.statistics_dropout,
            textures=config.textures,
            words=[WORD_STATISTICS] * len(config.words),
        )
    return Pyramid(
        config.feature_channels,
        size=config.pyramid_size,
        channels=channels,
        kernels=config.pyramid_kernels,
        attention_channels=config.attention_channels,
    )


def _build_head(config: ModelConfig) -> ScoreHead:
    return ScoreHead(
        config.pyramid_channels * len(config.level_names),
        fusion_channels=config.fusion_channels,
        fusion_groups=config.fusion_groups,
        head_channels=config.head_channels,
        dropout=config.head_dropout,
        kernel=1 if config.pooling == "statistics" else 3,
    )


def _per_prompter(noise: Noise, prompters: int) -> Noise:
    """Noise that differs per image, once per prompter; noise shared by all images stays (1, ...)."""
    if prompters == 1 or noise.diffusion.shape[0] == 1:
        return noise
    posterior = noise.posterior
    return Noise(
        None if posterior is None else posterior.repeat(prompters, 1, 1, 1),
        noise.diffusion.repeat(prompters, 1, 1, 1),
    )
