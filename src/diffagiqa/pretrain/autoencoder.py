"""First stage: the autoencoder, image (B,3,S,S) in [-1,1] <-> latents (B,C,S/8,S/8)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from diffagiqa.pretrain.config import AutoencoderConfig
from diffagiqa.pretrain.linear_start import start_from_components
from diffagiqa.pretrain.loop import Losses, Stage, generator_for
from diffagiqa.pretrain.norm import use_fast_norms
from diffagiqa.pretrain.pictures import crop, to_tensor


def build_autoencoder(config: AutoencoderConfig) -> Any:
    """An untrained diffusers AutoencoderKL, channels last, float32."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    levels = len(config.channels)
    vae = AutoencoderKL(
        block_out_channels=config.channels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=config.layers_per_block,
        latent_channels=config.latent_channels,
        norm_num_groups=config.norm_groups,
        sample_size=512,
    )
    use_fast_norms(vae)
    return vae.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def train_autoencoder(
    vae: Any,
    images: Sequence[np.ndarray],
    config: AutoencoderConfig,
    folder: Path,
    *,
    seed: int = 0,
    warmup: int = 100,
    checkpoint_minutes: float = 3.0,
    resume: bool = False,
    device: torch.device | str = "cpu",
) -> Any:
    """Set the encoder from principal components, train on random crops at native detail.

    The encoder stays as it was set unless ``config.train_encoder``. ``scaling_factor`` becomes 1 / std
    of the latents.
    """
    start = random_crops(images, config.component_crops, 64, generator_for(seed, 0, 0))
    start_from_components(vae, start)
    vae.register_to_config(scaling_factor=1.0 / latent_std(vae, images, config, seed, "cpu"))
    vae.to(device).train()
    vae.encoder.requires_grad_(config.train_encoder)
    vae.quant_conv.requires_grad_(config.train_encoder)

    def step(number: int) -> Losses:
        generator = generator_for(seed, 1, number)
        batch = random_crops(images, config.batch, config.crop, generator).to(device)
        with autocast(device):
            moments = vae.encode(batch).latent_dist
            noise = torch.randn(moments.mean.shape, generator=generator).to(device)
            decoded = vae.decode(moments.mean + moments.std * noise).sample
        return autoencoder_losses(decoded.float(), batch, moments, config)

    stage = Stage(
        "autoencoder",
        vae,
        folder,
        learning_rate=config.learning_rate,
        weight_decay=0.0,
        ema=config.ema,
        minutes=config.minutes,
        steps=config.steps,
        warmup=warmup,
        checkpoint_minutes=checkpoint_minutes,
    )
    stage.run(step, resume)
    vae.eval().requires_grad_(False)
    if config.train_encoder:
        vae.register_to_config(scaling_factor=1.0 / latent_std(vae, images, config, seed, device))
    return vae


def autoencoder_losses(
    decoded: Tensor, image: Tensor, moments: Any, config: AutoencoderConfig
) -> Losses:
    """L1, differences of neighbouring pixels at three scales, log spectrum, light KL; scalars."""
    l1 = (decoded - image).abs().mean()
    gradient = gradient_loss(decoded, image)
    spectrum = spectrum_loss(decoded, image)
    kl = moments.kl().float().sum() / image.numel() * 3
    loss = (
        l1
        + config.gradient_weight * gradient
        + config.spectrum_weight * spectrum
        + config.kl_weight * kl
    )
    return {"loss": loss, "l1": l1, "gradient": gradient, "spectrum": spectrum, "kl": kl}


def gradient_loss(decoded: Tensor, image: Tensor, scales: int = 3) -> Tensor:
    """Mean absolute error of horizontal and vertical differences, averaged over halved scales."""
    total = decoded.new_zeros(())
    error = decoded - image  # differences are linear: those of the error are the error of those
    for _ in range(scales):
        total = total + error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        error = F.avg_pool2d(error, 2)
    return total / scales


def spectrum_loss(decoded: Tensor, image: Tensor) -> Tensor:
    """Mean absolute error of log(1 + |FFT|): asks for as much detail as there is, wherever it lies."""
    found = torch.fft.rfft2(decoded.contiguous(), norm="ortho").abs()
    wanted = torch.fft.rfft2(image.contiguous(), norm="ortho").abs()
    return (torch.log1p(10 * found) - torch.log1p(10 * wanted)).abs().mean()


def random_crops(
    images: Sequence[np.ndarray], batch: int, side: int, generator: torch.Generator
) -> Tensor:
    """(B, 3, side, side) in [-1, 1]: crops of pictures drawn with replacement."""
    numbers = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
    chosen = numbers.integers(len(images), size=batch)
    return to_tensor([crop(images[i], side, numbers) for i in chosen])


@torch.no_grad()
def latent_std(
    vae: Any,
    images: Sequence[np.ndarray],
    config: AutoencoderConfig,
    seed: int,
    device: torch.device | str,
) -> float:
    """Standard deviation of the posterior means over crops, all channels together."""
    total = []
    for number in range(8):
        batch = random_crops(images, 8, max(128, config.crop), generator_for(seed, 2, number))
        with autocast(device):
            total.append(vae.encode(batch.to(device)).latent_dist.mean.float().flatten())
    return float(torch.cat(total).std())


def autocast(device: torch.device | str) -> Any:
    """bfloat16 mixed precision where the hardware multiplies it, else full precision."""
    from diffagiqa.device import choose_dtype

    chosen = torch.device(device)
    enabled = choose_dtype(chosen) == torch.bfloat16
    return torch.autocast(chosen.type, torch.bfloat16, enabled=enabled)
