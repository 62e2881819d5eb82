"""The method on one screen: prompter, backbone, pyramid, fusion, score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from diffagiqa.backbones.base import Backbone, Encoded, Prompts
from diffagiqa.backbones.noise import Noise, draw_noise
from diffagiqa.model.config import ModelConfig
from diffagiqa.model.familiarity import Familiarity
from diffagiqa.model.head import ScoreHead
from diffagiqa.model.prompter import NoPrompter, VisualPrompter
from diffagiqa.model.pyramid import PlainPooling, Pyramid
from diffagiqa.model.queries import AllTokens, QueryHead

SHARED = "shared"

Features = Mapping[str, Tensor]
"""Feature maps by name, (passes * B, C, h, w) each."""


@dataclass(frozen=True)
class Pass:
    """What one pass through the backbone is given: which prompter's image, and whether the prompt."""

    prompter: int
    use_text: bool


@dataclass(frozen=True)
class ModelOutput:
    """Scores in [0, 1] by task, (B,) each; and how unlike the training images each image is, (B,), where
    the model knows (``model.familiarity``), else None: above 1 it is unfamiliar."""

    scores: dict[str, Tensor]
    distance: Tensor | None = None


class DiffAGIQA(nn.Module):
    """The trained parts: visual prompters, pyramid, and one head per task."""

    def __init__(
        self,
        config: ModelConfig,
        prompters: nn.ModuleDict,
        pyramid: nn.Module,
        heads: nn.ModuleDict,
        familiarity: Familiarity | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.prompters = prompters
        self.pyramid = pyramid
        self.heads = heads
        self.familiarity = familiarity
        self.passes: tuple[Pass, ...] = ()
        """What the backbone is given per image and draw; tasks that agree share one."""
        self.pass_of: dict[str, int] = {}
        self.plan_passes()

    def plan_passes(self) -> None:
        """Set ``passes`` and ``pass_of``: again where the prompters have been changed."""
        several = len(self.prompters) > 1
        needed = {
            task.name: Pass(number if several else 0, self.config.use_text and task.use_text)
            for number, task in enumerate(self.config.tasks)
        }
        self.passes = tuple(dict.fromkeys(needed.values()))
        self.pass_of = {task: self.passes.index(wanted) for task, wanted in needed.items()}

    def forward(
        self, images: Tensor, prompts: Prompts, backbone: Backbone, noises: Sequence[Noise | None]
    ) -> ModelOutput:
        """Score a batch, averaged over the given draws of noise.

        ``images`` (B, 3, H, W) in [0, 1]; ``prompts`` as ``Prompts.stack`` makes them of encoded ones.
        """
        familiarity, draws, distances = self.familiarity, [], []
        names = () if familiarity is None else familiarity.names
        for stage, value in self.stages(images, prompts, backbone, noises, names):
            if stage == "features" and familiarity is not None:
                first = {name: value[name][: len(images)] for name in names}
                distances.append({"distance": familiarity(first)})
            elif stage == "scores":
                draws.append(value)
        return ModelOutput(mean_of(draws), mean_of(distances)["distance"] if distances else None)

    def stages(
        self, images: Tensor, prompts: Prompts, backbone: Backbone, noises: Sequence[Noise | None],
        further: Sequence[str] = (), *, features_only: bool = False,
    ) -> Iterator[tuple[str, Any]]:  # fmt: skip
        """The forward pass step by step, as (stage, value); from "features" on once for every draw.

        Lazy: who stops asking stops the arithmetic. The image is encoded once for all draws. "features"
        holds those that ``further`` names too; ``features_only`` leaves out what follows them.
        """
        prompted = self.prompt(images)  # (prompters*B,3,H,W)
        yield "prompted", prompted
        encoded = backbone.encode_image(prompted)
        yield "encoded", encoded
        for noise in noises:
            features = self.features(encoded, prompts, backbone, noise, further)
            yield "features", features  # (passes*B,C,h,w) each
            if not features_only:
                yield from self.score_stages(features)

    def score_stages(self, features: Features) -> Iterator[tuple[str, Any]]:
        """The trained end of ``stages``: what follows the features of one draw."""
        maps = self.per_pass(features)  # (B,levels*channels,P,P) each
        yield "pyramid", maps
        fused = {task: self.heads[task].fuse(maps[i]) for task, i in self.pass_of.items()}  # type: ignore[operator, union-attr]
        yield "fused", fused  # (B,C,P,P) each
        yield "scores", {task: self.heads[task].regress(fused[task]) for task in fused}  # type: ignore[operator, union-attr]

    def per_pass(self, features: Features) -> Sequence[Any]:
        """What the heads are given of every pass: maps of the pyramid, or with queries the features."""
        levels = {name: features[name] for name in self.config.features}
        if isinstance(self.pyramid, AllTokens):
            return self.pyramid(levels, len(self.passes))  # type: ignore[no-any-return]
        dtype = next(self.pyramid.parameters()).dtype
        maps = self.pyramid([level.to(dtype) for level in levels.values()])
        return maps.chunk(len(self.passes))  # type: ignore[no-any-return]

    def score_features(self, features: Features) -> dict[str, Tensor]:
        """Features of one draw, as ``stages`` gives them, -> scores by task, (B,) in [0, 1]."""
        return dict(self.score_stages(features))["scores"]

    def prompt(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> one prompted copy per prompter, (prompters * B, 3, H, W)."""
        prompted = [prompter(images) for prompter in self.prompters.values()]
        return prompted[0] if len(prompted) == 1 else torch.cat(prompted)

    def features(
        self,
        encoded: Encoded,
        prompts: Prompts,
        backbone: Backbone,
        noise: Noise | None,
        further: Sequence[str] = (),
    ) -> dict[str, Tensor]:
        """Encoded images of all prompters -> the backbone's features, (passes * B, C, h, w) each."""
        config, passes, count = self.config, self.passes, len(prompts.text)
        if len(self.prompters) > 1 or len(passes) > 1:
            rows = torch.cat([torch.arange(count) + step.prompter * count for step in passes])
            if not torch.equal(rows, torch.arange(len(encoded[0]))):  # else they are as they should
                encoded = tuple(part[rows.to(part.device)] for part in encoded)
        if not all(step.use_text for step in passes):
            beside = any(step.use_text for step in passes)
            empty = backbone.no_text(prompts.text.shape[1] if beside else None).expand(count)
            prompts = Prompts.cat([prompts if step.use_text else empty for step in passes])
        elif len(passes) > 1:
            prompts = Prompts.cat([prompts] * len(passes))
        if noise is not None and len(passes) > 1:
            noise = noise.repeat(len(passes))
        names = tuple(dict.fromkeys((*config.features, *further)))
        timestep = config.timestep
        if noise is not None and noise.timestep is not None:
            timestep = noise.timestep
        return backbone.features(encoded, prompts, noise, timestep, names)


def mean_of(draws: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean over draws of noise of tensors by name."""
    if len(draws) == 1:
        return dict(draws[0])
    return {name: torch.stack([draw[name] for draw in draws]).mean(0) for name in draws[0]}


def scoring_noise(
    config: ModelConfig, backbone: Backbone, seed: int, size: tuple[int, int] | None = None
) -> list[Noise | None]:
    """The configured draws of ``seed`` for images of ``size`` (H, W), the same for every image.

    ``size`` None: the square of ``config.image_size``. A backbone without noise has one draw, None.
    """
    shape = backbone.latent_shape(*(size or (config.image_size, config.image_size)))
    if shape is None:
        return [None]
    draws = [draw_noise(seed, draw, shape, config.posterior) for draw in range(config.noise_draws)]
    timesteps = (config.timestep, *config.further_timesteps)
    return [replace(draw, timestep=timestep) for timestep in timesteps for draw in draws]


def build_model(config: ModelConfig) -> DiffAGIQA:
    """Wire the trained parts as ``config`` says, randomly initialised."""
    names = config.task_names if config.prompting == "per_task" else (SHARED,)
    prompters = nn.ModuleDict({name: _build_prompter(config) for name in names})
    pyramid = _build_pyramid(config)
    heads = nn.ModuleDict({name: _build_head(config) for name in config.task_names})
    familiarity = None
    if config.familiar_features:
        familiarity = Familiarity(config.familiar_features, 2 * sum(config.familiar_channels))
    return DiffAGIQA(config, prompters, pyramid, heads, familiarity)


def _build_prompter(config: ModelConfig) -> nn.Module:
    if config.prompting == "none":
        return NoPrompter()
    return VisualPrompter(config.prompter_channels, config.prompter_kernel)


def _build_pyramid(config: ModelConfig) -> nn.Module:
    if config.pooling == "queries":
        return AllTokens()
    if config.pooling == "plain":
        return PlainPooling(
            config.feature_channels, size=config.pyramid_size, channels=config.pyramid_channels
        )
    return Pyramid(
        config.feature_channels,
        size=config.pyramid_size,
        channels=config.pyramid_channels,
        kernels=config.pyramid_kernels,
        attention_channels=config.attention_channels,
    )


def _build_head(config: ModelConfig) -> nn.Module:
    if config.pooling == "queries":
        return QueryHead(
            dict(zip(config.features, config.feature_channels, strict=True)),
            width=config.query_width,
            queries=config.queries,
            heads=config.query_heads,
        )
    return ScoreHead(
        config.pyramid_channels * len(config.features),
        fusion_channels=config.fusion_channels,
        fusion_groups=config.fusion_groups,
        head_channels=config.head_channels,
        dropout=config.head_dropout,
        skip=config.head_skip,
    )
