"""The method on one screen: prompter, latents, features, pyramid, score."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from diffagiqa.model.backbone import Backbone
from diffagiqa.model.config import ModelConfig
from diffagiqa.model.features import unet_features
from diffagiqa.model.head import ScoreHead
from diffagiqa.model.noise import Noise, draw_noise
from diffagiqa.model.prompter import NoPrompter, VisualPrompter
from diffagiqa.model.pyramid import PlainPooling, Pyramid

SHARED = "shared"


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

    def forward(
        self, images: Tensor, text: Tensor, backbone: Backbone, noises: Sequence[Noise]
    ) -> dict[str, Tensor]:
        """Score a batch, averaged over the given draws of noise.

        ``images`` (B, 3, S, S) in [0, 1]; ``text`` (B, L, D) from ``backbone.encode_text``.
        Returns (B,) scores in [0, 1] by task. The image is encoded once; only the U-Net, the pyramid
        and the heads see every draw.
        """
        prompted = self.prompt(images)
        mean, std = backbone.encode_image(prompted)
        draws = []
        for noise in noises:
            features = self.features(mean, std, text, backbone, noise)
            draws.append(self.score_features(features))
        return {task: torch.stack([draw[task] for draw in draws]).mean(0) for task in draws[0]}

    def prompt(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1] -> one prompted copy per branch, (branches * B, 3, S, S)."""
        return torch.cat([prompter(images) for prompter in self.prompters.values()])

    def features(
        self, mean: Tensor, std: Tensor, text: Tensor, backbone: Backbone, noise: Noise
    ) -> list[Tensor]:
        """Posterior of all branches -> features of the noisy latents, (branches * B, C_i, h_i, w_i)."""
        config = self.config
        branches = mean.shape[0] // text.shape[0]
        noise = _for_branches(noise, branches)
        latents = backbone.noisy_latents(mean, std, noise, config.timestep)
        features = unet_features(
            backbone.unet,
            latents,
            config.timestep,
            text.repeat(branches, 1, 1),
            config.features,
            backbone.checkpoint_activations,
        )
        dtype = next(self.heads.parameters()).dtype
        return [feature.to(dtype) for feature in features.values()]

    def score_features(self, features: list[Tensor]) -> dict[str, Tensor]:
        """Features of all branches -> scores by task, (B,) in [0, 1]."""
        maps = self.pyramid(features).chunk(len(self.prompters))
        branch_of = {name: i for i, name in enumerate(self.prompters)}
        return {task: head(maps[branch_of.get(task, 0)]) for task, head in self.heads.items()}


def scoring_noise(config: ModelConfig, backbone: Backbone, seed: int) -> list[Noise]:
    """The configured draws of ``seed``, the same for every image."""
    shape = backbone.latent_shape(config.image_size)
    return [draw_noise(seed, draw, shape, config.posterior) for draw in range(config.noise_draws)]


def build_model(config: ModelConfig) -> DiffAGIQA:
    """Wire the trained parts as ``config`` says, randomly initialised."""
    branches = config.task_names if config.prompting == "per_task" else (SHARED,)
    prompters = nn.ModuleDict(
        {
            name: NoPrompter()
            if config.prompting == "none"
            else VisualPrompter(config.prompter_channels, config.prompter_kernel)
            for name in branches
        }
    )
    pyramid: nn.Module
    if config.pooling == "pyramid":
        pyramid = Pyramid(
            config.feature_channels,
            size=config.pyramid_size,
            channels=config.pyramid_channels,
            kernels=config.pyramid_kernels,
            attention_channels=config.attention_channels,
        )
    else:
        pyramid = PlainPooling(
            config.feature_channels, size=config.pyramid_size, channels=config.pyramid_channels
        )
    heads = nn.ModuleDict(
        {
            name: ScoreHead(
                config.pyramid_channels * len(config.feature_channels),
                fusion_channels=config.fusion_channels,
                fusion_groups=config.fusion_groups,
                head_channels=config.head_channels,
                dropout=config.head_dropout,
            )
            for name in config.task_names
        }
    )
    return DiffAGIQA(config, prompters, pyramid, heads)


def _for_branches(noise: Noise, branches: int) -> Noise:
    """Noise that differs per image is repeated per branch; noise shared by all images stays (1, ...)."""
    if branches == 1 or noise.diffusion.shape[0] == 1:
        return noise
    posterior = noise.posterior
    return Noise(
        None if posterior is None else posterior.repeat(branches, 1, 1, 1),
        noise.diffusion.repeat(branches, 1, 1, 1),
    )
