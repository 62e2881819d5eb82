"""Networks of Stable Diffusion 1.5's shapes, for what is measured without its weights."""

from __future__ import annotations

from typing import Any


def sd15_unet() -> Any:
    """Its U-Net, 860 million parameters: build it on the meta device."""
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    return UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)


def sd15_vae(widths: tuple[int, ...] = (128, 256, 512, 512)) -> Any:
    """Its VAE, or one of other widths."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        layers_per_block=2,
        latent_channels=4,
        sample_size=512,
    )
