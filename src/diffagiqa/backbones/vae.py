"""Images -> the posterior of a latent diffusion model's VAE -> clean latents."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from diffagiqa.backbones.noise import Noise
from diffagiqa.device import at_least_float32

ENCODED_AT_ONCE = 512 * 512
"""Pixels per pass of the VAE encoder on a CPU: its activations are the largest, and more images at a
time make it no faster there."""


class ImageEncoder(nn.Module):
    """The encoder half of a diffusers ``AutoencoderKL``."""

    def __init__(
        self,
        encoder: Any,
        quant_conv: nn.Module | None = None,
        *,
        scaling_factor: float = 1.0,
        shift_factor: float = 0.0,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.quant_conv = quant_conv
        self.scaling_factor = scaling_factor
        self.shift_factor = shift_factor

    @property
    def scale(self) -> int:
        """Pixels of the image per position of the latents, on a side: 8 for Stable Diffusion."""
        return int(2 ** (len(self.encoder.down_blocks) - 1))

    def forward(self, images: Tensor, checkpoint: bool = False) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) about [-1, 1] -> posterior mean and standard deviation, (B, C, H/8, W/8) each.

        Std is exp(0.5 * clamp(logvar, -30, 20)), as in latent diffusion's diagonal Gaussian.
        ``checkpoint`` recomputes activations in the backward pass.
        """
        images = images.to(next(self.encoder.parameters()).dtype)
        if checkpoint and torch.is_grad_enabled():
            moments = _checkpointed(self.encoder, images)
        elif images.device.type == "cpu" and not torch.is_grad_enabled():
            pieces = images.split(max(1, ENCODED_AT_ONCE // images[0, 0].numel()))
            moments = torch.cat([self.encoder(piece) for piece in pieces])
        else:
            moments = self.encoder(images)
        if self.quant_conv is not None:
            moments = self.quant_conv(moments)
        mean, logvar = at_least_float32(moments).chunk(2, dim=1)
        return mean, torch.exp(0.5 * logvar.clamp(-30.0, 20.0))

    def latents(self, mean: Tensor, std: Tensor, noise: Noise) -> Tensor:
        """A posterior -> clean latents, shape as ``mean``: its mean where ``noise.posterior`` is None."""
        sample = mean if noise.posterior is None else mean + std * noise.posterior
        return (sample - self.shift_factor) * self.scaling_factor


def _checkpointed(encoder: Any, images: Tensor) -> Tensor:
    """The encoder's forward, each residual block recomputed in the backward pass."""
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
