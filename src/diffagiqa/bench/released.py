"""The scoring path as the paper's authors released it, and what is changed about it step by step.

Released: one image and one branch at a time in float32, the whole U-Net, the prompt and the empty prompt
encoded for each, every pyramid convolution at 32 x 32 on repeated maps, batch normalisation apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from diffagiqa.accel.fold import for_inference
from diffagiqa.accel.fused import enable_fused
from diffagiqa.accel.products import enable_products
from diffagiqa.accel.winograd import enable_winograd
from diffagiqa.backbones.noise import Noise
from diffagiqa.backbones.unet import Backbone, Prompts
from diffagiqa.backbones.unet_walk import LATENTS, unet_features
from diffagiqa.device import cpu_is_zen5
from diffagiqa.model.pyramid import Pyramid, PyramidLevel, StatisticsPooling, pool_to
from diffagiqa.model.scoring import DiffAGIQA, Pass


@dataclass(frozen=True)
class Steps:
    """Which optimisations are on."""

    lean_encoder: bool = False
    stop_early: bool = False
    text_once: bool = False
    true_resolution: bool = False
    folded: bool = False
    channels_last: bool = False
    winograd: bool = False
    products: bool = False
    in_place: bool = False
    kernels: bool = False
    one_batch: bool = False


LADDER: tuple[tuple[str, str], ...] = (
    ("lean_encoder", "VAE encoder without what its weights make needless"),
    ("stop_early", "U-Net stops inside its last wanted block"),
    ("text_once", "each prompt encoded once, the empty one never"),
    ("true_resolution", "pyramid convolutions at the maps' own resolution"),
    ("folded", "batch normalisation folded, dropout gone"),
    ("channels_last", "convolutions' weights laid out channels last"),
    ("winograd", "wide convolutions with a third to a sixth of the multiplications"),
    ("products", "linear layers by the library that is faster on this CPU"),
    ("in_place", "residual blocks in place, freed memory kept"),
    ("kernels", "norms, activations and sums of residual blocks fused"),
    ("one_batch", "branches of an image in one batch"),
)
ELSEWHERE = {"cpu": {"kernels"}, "cuda": {"winograd", "products", "in_place"}}
"""Steps that are not taken on a kind of device."""


def ladder(device: str = "cpu") -> list[tuple[str, Steps]]:
    """The released path, then each optimisation of this kind of device on top of those before."""
    steps = Steps()
    found = [("released path, float32", steps)]
    left_out = ELSEWHERE.get(device, set()) | (set() if cpu_is_zen5() else {"products"})
    for name, title in LADDER:
        if name not in left_out:
            steps = replace(steps, **{name: True})
            found.append((f"+ {title}", steps))
    return found


@dataclass
class ReleasedPath:
    """Scores one picture after the other.

    ``encoder`` is the VAE's as it was saved, ``unet`` the whole one, with its last blocks.
    """

    model: DiffAGIQA
    backbone: Backbone
    encoder: Any
    unet: Any
    noise: Noise
    texts: dict[str, Prompts] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folded = for_inference(self.model)
        self.simplified = self.backbone.vae_encoder

    @torch.inference_mode()
    def __call__(self, image: Tensor, prompt: str, steps: Steps) -> dict[str, Tensor]:
        """(3, S, S) in [0, 1] -> scores by task."""
        self._lay_out(steps)
        model = self.folded if steps.folded else self.model
        scores = {}
        every = model.unet_passes
        for batch in [every] if steps.one_batch else [(own,) for own in every]:
            passes, levels = self._levels(image, prompt, batch, steps)
            maps = self._pyramid(model, levels, steps).chunk(len(passes))
            for task, head in model.heads.items():
                if model.pass_of[task] in passes:
                    scores[task] = head(maps[passes.index(model.pass_of[task])])
        return scores

    @torch.inference_mode()
    def one_branch(self, image: Tensor, prompt: str) -> list[Tensor]:
        """Levels of the first branch of (3, S, S), to time what follows by itself."""
        steps = Steps(stop_early=True, text_once=True)
        _, levels = self._levels(image, prompt, self.model.unet_passes[:1], steps)
        return [level[:1] for level in levels]

    @torch.inference_mode()
    def pyramid_and_head(self, levels: list[Tensor], steps: Steps) -> Tensor:
        """Levels of one branch -> the score of the first head."""
        model = self.folded if steps.folded else self.model
        head = next(iter(model.heads.values()))
        return head(self._pyramid(model, levels, steps))  # type: ignore[no-any-return]

    def _lay_out(self, steps: Steps) -> None:
        layout = torch.channels_last if steps.channels_last else torch.contiguous_format
        self.unet.to(memory_format=layout)
        self.backbone.vae_encoder = self.simplified if steps.lean_encoder else self.encoder
        self.backbone.vae_encoder.to(memory_format=layout)
        self.backbone.keeps_freed_memory = steps.in_place
        for network in (self.unet, self.backbone.vae_encoder, self.folded.pyramid):
            enable_winograd(network, steps.winograd)
            enable_fused(network, steps.in_place or steps.kernels)
        for network in (self.unet, self.backbone.vae_encoder, self.backbone.text_encoder):
            enable_products(network, steps.products)

    def _latents(self, prompted: Tensor) -> Tensor:
        mean, std = self.backbone.encode_image(prompted)
        return self.backbone.noisy_latents(mean, std, self.noise, self.model.config.timestep)

    def _levels(
        self, image: Tensor, prompt: str, batch: Sequence[Pass], steps: Steps
    ) -> tuple[list[int], list[Tensor]]:
        """The passes that these of the U-Net serve, and what the pyramid is given for each of them."""
        model = self.model
        prompters = list(model.prompters.values())
        prompts = self._encoded(prompt, steps)
        no_text = self.backbone.no_text()
        found = self._features(
            self._latents(torch.cat([prompters[own.prompter](image[None]) for own in batch])),
            torch.cat([prompts.text if own.use_text else no_text for own in batch]),
            steps,
        )
        if isinstance(model.pyramid, StatisticsPooling):
            found = model.pyramid.statistics(found)
        of = [model.unet_passes[i] for i in model.unet_pass_of]
        passes = [i for i, own in enumerate(of) if own in batch]
        rows = [batch.index(of[i]) for i in passes]
        # The release does not look for words; models that do are given them as the scorer gives them.
        shown = model.word_features(image[None], prompts, self.backbone)
        return passes, [level[rows] for level in found] + [level[passes] for level in shown]

    def _encoded(self, prompt: str, steps: Steps) -> Prompts:
        if not steps.text_once:
            self.backbone.encode_text([""])  # encoded and not used, as released
            return self.backbone.encode_prompts([prompt])
        if prompt not in self.texts:
            self.texts[prompt] = self.backbone.encode_prompts([prompt])
        return self.texts[prompt]

    def _features(self, latents: Tensor, text: Tensor, steps: Steps) -> list[Tensor]:
        config = self.model.config
        if steps.stop_early:
            found = unet_features(self.unet, latents, config.timestep, text, config.features)
            return list(found.values())
        kept: dict[str, Tensor] = {LATENTS: latents}
        handles = [
            handle
            for name in config.features
            if name != LATENTS
            for handle in self._hooks(name, kept)
        ]
        self.unet(latents, config.timestep, text)
        for handle in handles:
            handle.remove()
        return [kept[name] for name in config.features]

    def _hooks(self, name: str, kept: dict[str, Tensor]) -> list[Any]:
        """Keep what the whole U-Net computes on its way: a residual block's output, a gated product."""
        module = self.unet.get_submodule(name)
        if name.split(".")[-2] == "resnets":
            return [
                module.register_forward_hook(lambda _m, _i, output: kept.update({name: output}))
            ]

        def to_map(_module: Any, inputs: Any, _output: Any) -> None:
            kept[name] = kept[name].transpose(1, 2).unflatten(2, tuple(inputs[0].shape[-2:]))

        gate = module.transformer_blocks[0].ff.net[0]
        return [
            gate.register_forward_hook(lambda _m, _i, output: kept.update({name: output})),
            module.register_forward_hook(to_map),
        ]

    def _pyramid(self, model: DiffAGIQA, features: list[Tensor], steps: Steps) -> Tensor:
        if steps.true_resolution or not isinstance(model.pyramid, Pyramid):
            return model.pyramid(features)  # type: ignore[no-any-return]
        maps = []
        for level, attention, feature in zip(
            model.pyramid.levels, model.pyramid.attentions, features, strict=True
        ):
            assert isinstance(level, PyramidLevel)
            large = pool_to(feature, level.size)
            maps.append(attention(level.fusion(torch.cat([b(large) for b in level.branches], 1))))
        return torch.cat(maps, dim=1)
