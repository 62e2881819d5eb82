"""Stable Diffusion XL as a frozen backbone: two text encoders, pooled text and sizes as conditions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from diffagiqa.backbones import text
from diffagiqa.backbones.base import Defaults, Encoded, Prompts
from diffagiqa.backbones.noise import Noise
from diffagiqa.backbones.text_encoders import TextEncoders, clip_pair
from diffagiqa.backbones.unet import StableDiffusion
from diffagiqa.backbones.unet_walk import unet_features

INNER = "up_blocks.{}.attentions.0.transformer_blocks.{}"


class StableDiffusionXL(StableDiffusion):
    """Stable Diffusion XL, base.

    The default features are those that paid in Generic Diffusion Feature (Darkbblue, 2024), which warns
    that others do worse on this model than on Stable Diffusion 1.5.
    """

    licence = "CreativeML OpenRAIL++-M"
    capturable = False
    text_encoders: TextEncoders
    defaults = Defaults(
        (
            INNER.format(0, 5),
            INNER.format(0, 7),
            INNER.format(1, 0) + ".attn2.to_q",
            INNER.format(1, 0) + ".attn2",
        ),
        image_size=1024,
    )

    def __init__(self, *, text_encoders: TextEncoders, **parts: Any) -> None:
        super().__init__(text_encoder=None, tokenizer=None, **parts)
        self.text_encoders = text_encoders

    def word_positions(
        self, prompt: str, spans: Sequence[tuple[int, int]], long_prompts: str = "truncate"
    ) -> list[list[int]]:
        return text.word_positions(self.text_encoders.tokenizers[0], prompt, spans, long_prompts)

    def features(
        self,
        encoded: Encoded,
        prompts: Prompts,
        noise: Noise | None,
        timestep: int,
        names: Sequence[str],
    ) -> dict[str, Tensor]:
        assert noise is not None
        assert prompts.pooled is not None
        mean, std = encoded
        latents = self.noisy_latents(mean, std, noise, timestep)
        return unet_features(
            self.unet,
            latents,
            timestep,
            prompts.text,
            names,
            self.checkpoint_activations,
            self._condition(latents, prompts.pooled),
        )

    def _condition(self, latents: Tensor, pooled: Tensor) -> Tensor:
        """Of the pooled text, (B, P), and six numbers: image size, no crop, image size again; (B, E)."""
        size = [8 * side for side in latents.shape[-2:]]
        numbers = torch.tensor([*size, 0, 0, *size], device=latents.device)
        sizes = self.unet.add_time_proj(numbers).flatten().expand(len(latents), -1)
        joint = torch.cat([pooled.to(self.dtype), sizes.to(self.dtype)], dim=-1)
        return self.unet.add_embedding(joint)  # type: ignore[no-any-return]

    @torch.no_grad()
    def encode_prompts(
        self, prompts: Sequence[str], long_prompts: str = "truncate"
    ) -> list[Prompts]:
        """Hidden states before the last layer of both text encoders, joined, (77k, 2048) each, and the
        second one's projection of the first 77 tokens, (1280,)."""
        pair = self.text_encoders.loaded(self.device)
        return [clip_pair(pair, prompt, self.device, long_prompts) for prompt in prompts]
