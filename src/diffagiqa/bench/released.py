"""The scoring path as the paper's authors released it, to compare with.

One image and one branch at a time in float32, the whole U-Net, the prompt and the empty prompt encoded
for each, every pyramid convolution on repeated maps, batch normalisation apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffagiqa.backbones.base import Prompts
from diffagiqa.backbones.folder import load_backbone
from diffagiqa.backbones.noise import Noise
from diffagiqa.backbones.unet import StableDiffusion
from diffagiqa.model.pyramid import pool_to
from diffagiqa.model.scoring import DiffAGIQA, scoring_noise
from diffagiqa.pretrained import Located, load_model


@dataclass
class ReleasedPath:
    """A model as trained, its plain backbone, and the backbone's whole U-Net."""

    model: DiffAGIQA
    backbone: StableDiffusion
    unet: Any
    noise: Noise

    @torch.inference_mode()
    def __call__(self, image: Tensor, prompt: str) -> dict[str, Tensor]:
        """(3, S, S) in [0, 1] and its prompt -> scores by task, (1,) each."""
        model, config = self.model, self.model.config
        prompters = list(model.prompters.values())
        scores = {}
        for task, head in model.heads.items():
            one = model.passes[model.pass_of[task]]
            encoded = self.backbone.encode_prompts([prompt, ""], config.long_prompts)
            prompts = Prompts.stack([encoded[0 if one.use_text else 1]])
            mean, std = self.backbone.encode_image(prompters[one.prompter](image[None]))
            latents = self.backbone.noisy_latents(mean, std, self.noise, config.timestep)
            features = self._features(latents, prompts.text)
            repeated = [pool_to(feature, config.pyramid_size) for feature in features]
            scores[task] = head(model.pyramid(repeated))
        return scores

    def _features(self, latents: Tensor, text: Tensor) -> list[Tensor]:
        """What the whole U-Net's GEGLU layers give, read by hooks, in the order of the configuration."""
        maps: dict[str, Tensor] = {}

        def keep(name: str) -> Any:
            def hook(_module: Any, _inputs: Any, output: Tensor) -> None:
                side = int(output.shape[1] ** 0.5)
                maps[name] = output.transpose(1, 2).unflatten(2, (side, side))

            return hook

        names = self.model.config.features
        hooks = [
            self.unet.get_submodule(f"{name}.transformer_blocks.0.ff.net.0").register_forward_hook(
                keep(name)
            )
            for name in names
        ]
        try:
            self.unet(latents, self.model.config.timestep, text)
        finally:
            for hook in hooks:
                hook.remove()
        return [maps[name] for name in names]


def released_path(located: Located, device: torch.device) -> ReleasedPath | None:
    """The released path of a model on Stable Diffusion with the paper's kind of features; else None."""
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    config = located.config
    if not (located.backbone / "unet").is_dir() or not all(
        ".attentions." in name for name in config.features
    ):
        return None
    backbone = load_backbone(str(located.backbone), config.features, device=device)
    if type(backbone) is not StableDiffusion:
        return None
    whole: Any = UNet2DConditionModel.from_pretrained(
        located.backbone / "unet", torch_dtype=torch.float32, local_files_only=True
    )
    (noise, *_) = scoring_noise(config, backbone, 0)
    assert noise is not None
    return ReleasedPath(load_model(located.folder).to(device), backbone, whole.to(device), noise)
