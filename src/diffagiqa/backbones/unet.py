"""Stable Diffusion 1.x and 2.x as a frozen backbone: VAE encoder, CLIP text encoder and U-Net."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from diffagiqa.backbones import text
from diffagiqa.backbones.base import Backbone, Defaults, Encoded, Prompts
from diffagiqa.backbones.names import RELEASED_FEATURES
from diffagiqa.backbones.noise import Noise
from diffagiqa.backbones.unet_walk import (
    BLOCKS,
    QUERY,
    WORDS,
    feature_channels,
    feature_names,
    unet_features,
)
from diffagiqa.backbones.vae import ImageEncoder
from diffagiqa.device import ran_out_of_memory, release_memory


class StableDiffusion(Backbone):
    """VAE encoder, text encoder and U-Net of one Stable Diffusion model."""

    defaults = Defaults(RELEASED_FEATURES)
    licence = "CreativeML OpenRAIL-M (1.x) or OpenRAIL++-M (2.x)"
    capturable = True

    def __init__(
        self,
        *,
        image_encoder: ImageEncoder,
        unet: Any,
        text_encoder: Any,
        tokenizer: Any,
        alphas_cumprod: Tensor,
        name: str = "",
    ) -> None:
        super().__init__(name)
        self.image_encoder = image_encoder
        self.unet: Any = unet
        self.text_encoder: Any = text_encoder
        self.tokenizer = tokenizer
        self.alphas_cumprod = alphas_cumprod.to("cpu", torch.float64)  # (T,)
        self.freeze()

    @property
    def dtype(self) -> torch.dtype:
        return next(self.unet.parameters()).dtype  # type: ignore[no-any-return]

    @property
    def device(self) -> torch.device:
        return self.execution_device or next(self.unet.parameters()).device  # type: ignore[no-any-return]

    def feature_names(self) -> list[str]:
        return feature_names(self.unet)

    def feature_channels(self, names: Sequence[str]) -> tuple[int, ...]:
        return feature_channels(self.unet, names)

    def latent_shape(self, height: int, width: int) -> tuple[int, ...]:
        scale = self.image_encoder.scale
        return (int(self.unet.config.in_channels), height // scale, width // scale)

    def encode_image(self, images: Tensor) -> Encoded:
        """Posterior mean and standard deviation, (B, C, H/8, W/8) each."""
        return self.image_encoder(images, self.checkpoint_activations)  # type: ignore[no-any-return]

    def features(
        self,
        encoded: Encoded,
        prompts: Prompts,
        noise: Noise | None,
        timestep: int,
        names: Sequence[str],
    ) -> dict[str, Tensor]:
        assert noise is not None
        mean, std = encoded
        latents = self.noisy_latents(mean, std, noise, timestep)
        return unet_features(
            self.unet, latents, timestep, prompts.text, names, self.checkpoint_activations
        )

    def noisy_latents(self, mean: Tensor, std: Tensor, noise: Noise, timestep: int) -> Tensor:
        """Latents at ``timestep``: sqrt(acp) z0 + sqrt(1 - acp) eps (DDPM, eq. 4), shape as ``mean``.

        z0 is the scaled posterior sample, or its mean where ``noise.posterior`` is None.
        """
        noise = noise.to(mean.device, mean.dtype)
        clean = self.image_encoder.latents(mean, std, noise)
        signal = float(self.alphas_cumprod[timestep])
        return signal**0.5 * clean + (1 - signal) ** 0.5 * noise.diffusion

    def encode_prompts(
        self, prompts: Sequence[str], long_prompts: str = "truncate"
    ) -> list[Prompts]:
        """Last hidden states after the final layer norm, (77, D) each, or (77k, D).

        Where a GPU's memory does not hold many texts at once, each is encoded alone.
        """
        arguments = (self.tokenizer, self._hidden, prompts, long_prompts, self.device)
        try:
            return text.encode(*arguments)
        except (RuntimeError, MemoryError) as error:
            if not ran_out_of_memory(error):
                raise
        release_memory(self.device)  # here the exception, which holds on to tensors, is gone
        return text.encode(*arguments, alone=True)

    def no_text(self, length: int | None = None) -> Prompts:
        empty = self.empty_prompt()
        times = (length or len(empty.text)) // len(empty.text)
        if times == 1:
            return empty
        return Prompts(empty.text.repeat(times, 1), empty.words.repeat(times), empty.pooled)

    def word_features(self, names: Sequence[str]) -> tuple[str, ...]:
        """Cross-attentions of all transformers up to the last of ``names``."""
        order = self.feature_names()
        computed = order[: max(order.index(name) for name in names) + 1]
        first = f".{BLOCKS}.0{QUERY}"  # a transformer's first feature
        return tuple(name.replace(first, WORDS) for name in computed if name.endswith(first))

    def word_positions(
        self, prompt: str, spans: Sequence[tuple[int, int]], long_prompts: str = "truncate"
    ) -> list[list[int]]:
        return text.word_positions(self.tokenizer, prompt, spans, long_prompts)

    def _hidden(self, ids: Tensor) -> Tensor:
        return self.text_encoder(ids)[0]  # type: ignore[no-any-return]  # (k,77) -> (k,77,D)
