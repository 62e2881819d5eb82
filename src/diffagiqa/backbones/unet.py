"""Stable Diffusion 1.x and 2.x as a frozen backbone: VAE encoder, CLIP text encoder and U-Net."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from diffagiqa.backbones import text
from diffagiqa.backbones.base import Backbone, Defaults, Encoded, Prompts
from diffagiqa.backbones.noise import Noise
from diffagiqa.backbones.unet_walk import WORDS, feature_channels, feature_names, unet_features
from diffagiqa.device import at_least_float32, ran_out_of_memory, release_memory

RELEASED_FEATURES = (
    "mid_block.attentions.0",
    "up_blocks.1.attentions.0",
    "up_blocks.1.attentions.1",
    "up_blocks.1.attentions.2",
    "up_blocks.2.attentions.0",
)
ENCODED_AT_ONCE = 512 * 512
"""Pixels per pass of the VAE encoder on a CPU: its activations are the largest, and more images at a
time make it no faster there."""


class StableDiffusion(Backbone):
    """VAE encoder, text encoder and U-Net of one Stable Diffusion model."""

    defaults = Defaults(RELEASED_FEATURES)

    def __init__(
        self,
        *,
        vae_encoder: Any,
        quant_conv: nn.Module | None,
        unet: Any,
        text_encoder: Any,
        tokenizer: Any,
        alphas_cumprod: Tensor,
        scaling_factor: float,
        shift_factor: float = 0.0,
        name: str = "",
    ) -> None:
        super().__init__(name)
        self.vae_encoder: Any = vae_encoder
        self.quant_conv = quant_conv
        self.unet: Any = unet
        self.text_encoder: Any = text_encoder
        self.tokenizer = tokenizer
        self.alphas_cumprod = alphas_cumprod.to("cpu", torch.float64)  # (T,)
        self.scaling_factor = scaling_factor
        self.shift_factor = shift_factor
        self._no_text: tuple[Any, Prompts] | None = None
        self.freeze()

    @property
    def dtype(self) -> torch.dtype:
        return next(self.unet.parameters()).dtype  # type: ignore[no-any-return]

    @property
    def device(self) -> torch.device:
        return next(self.unet.parameters()).device  # type: ignore[no-any-return]

    def feature_names(self) -> list[str]:
        return feature_names(self.unet)

    def feature_channels(self, names: Sequence[str]) -> tuple[int, ...]:
        return feature_channels(self.unet, names)

    def latent_shape(self, height: int, width: int) -> tuple[int, ...]:
        scale = 2 ** (len(self.vae_encoder.down_blocks) - 1)  # 8 for Stable Diffusion
        return (int(self.unet.config.in_channels), height // scale, width // scale)

    def encode_image(self, images: Tensor) -> Encoded:
        """(B, 3, H, W) about [-1, 1] -> posterior mean and standard deviation, (B, C, H/8, W/8) each.

        Std is exp(0.5 * clamp(logvar, -30, 20)), as in latent diffusion's diagonal Gaussian.
        """
        images = images.to(next(self.vae_encoder.parameters()).dtype)
        if self.checkpoint_activations and torch.is_grad_enabled():
            moments = _checkpointed_encoder(self.vae_encoder, images)
        elif images.device.type == "cpu" and not torch.is_grad_enabled():
            pieces = images.split(max(1, ENCODED_AT_ONCE // images[0, 0].numel()))
            moments = torch.cat([self.vae_encoder(piece) for piece in pieces])
        else:
            moments = self.vae_encoder(images)
        if self.quant_conv is not None:
            moments = self.quant_conv(moments)
        mean, logvar = at_least_float32(moments).chunk(2, dim=1)
        return mean, torch.exp(0.5 * logvar.clamp(-30.0, 20.0))

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
        sample = mean if noise.posterior is None else mean + std * noise.posterior
        clean = (sample - self.shift_factor) * self.scaling_factor
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
        key = (self.device, self.dtype)
        if self._no_text is None or self._no_text[0] != key:
            with torch.inference_mode(False), torch.no_grad():
                self._no_text = (key, self.encode_prompts([""])[0])
        empty = self._no_text[1]
        times = (length or len(empty.text)) // len(empty.text)
        return (
            empty if times == 1 else Prompts(empty.text.repeat(times, 1), empty.words.repeat(times))
        )

    def word_features(self, names: Sequence[str]) -> tuple[str, ...]:
        """Cross-attentions of all transformers up to the last of ``names``."""
        order = self.feature_names()
        last = max(order.index(name) for name in names)
        return tuple(name + WORDS for name in order[: last + 1] if ".attentions." in name)

    def word_positions(
        self, prompt: str, spans: Sequence[tuple[int, int]], long_prompts: str = "truncate"
    ) -> list[list[int]]:
        return text.word_positions(self.tokenizer, prompt, spans, long_prompts)

    def _hidden(self, ids: Tensor) -> Tensor:
        return self.text_encoder(ids)[0]  # type: ignore[no-any-return]  # (k,77) -> (k,77,D)


def _checkpointed_encoder(encoder: Any, images: Tensor) -> Tensor:
    """The VAE encoder's forward, each residual block recomputed in the backward pass."""
    from torch.utils.checkpoint import checkpoint

    def run(module: nn.Module, hidden: Tensor) -> Tensor:
        return checkpoint(module, hidden, use_reentrant=False)  # type: ignore[no-any-return]

    hidden = run(encoder.conv_in, images)
    for block in encoder.down_blocks:
        for resnet in block.resnets:
            hidden = checkpoint(resnet, hidden, None, use_reentrant=False)
        for downsampler in block.downsamplers or ():
            hidden = run(downsampler, hidden)
    hidden = run(encoder.mid_block, hidden)
    return encoder.conv_out(encoder.conv_act(encoder.conv_norm_out(hidden)))  # type: ignore[no-any-return]
