"""Second stage: text encoder and U-Net, trained together to predict the noise in latents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from diffagiqa.pretrain.autoencoder import autocast
from diffagiqa.pretrain.config import DenoiserConfig
from diffagiqa.pretrain.loop import Losses, Stage, generator_for
from diffagiqa.pretrain.norm import use_fast_norms
from diffagiqa.pretrain.objectives import (
    DEFECTS,
    SideHeads,
    Taps,
    damage,
    defect_loss,
    match_loss,
)
from diffagiqa.pretrain.pictures import Pictures, to_tensor, view
from diffagiqa.pretrain.tokenizer import token_ids

SCHEDULE: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
}
"""Stable Diffusion 1.5's noise schedule."""


def build_unet(config: DenoiserConfig, latent_channels: int, text_width: int) -> Any:
    """An untrained UNet2DConditionModel in Stable Diffusion 1.5's topology, channels last."""
    from diffusers.models.attention_processor import AttnProcessor
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    unet = UNet2DConditionModel(
        sample_size=64,
        in_channels=latent_channels,
        out_channels=latent_channels,
        block_out_channels=config.channels,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        layers_per_block=2,
        cross_attention_dim=text_width,
        attention_head_dim=config.heads,
        norm_num_groups=config.norm_groups,
    )
    # Plain products: the fused attention's backward took 39 % of a training step on a CPU. The choice
    # is not saved: a loaded model attends with the library's default.
    unet.set_attn_processor(AttnProcessor())
    use_fast_norms(unet)
    return unet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


@dataclass(frozen=True)
class Batch:
    """One step's samples. B pictures; ``low`` marks those that carry the side tasks."""

    images: Tensor  # (B,3,S,S) in [-1,1]
    captions: list[str]
    timesteps: Tensor  # (B,) of 0..999
    low: Tensor  # (B,) bool
    kinds: Tensor  # (B,) index into DEFECTS
    severities: Tensor  # (B,) in [0,1]
    fits: Tensor  # (B,) 1 where the caption is the picture's own
    noise_seed: int


def draw_batch(
    sources: Sequence[Pictures], config: DenoiserConfig, generator: torch.Generator
) -> Batch:
    """A step's samples, each source equally often; a function of the generator's state alone."""
    numbers = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
    side = int(numbers.choice(config.sides))
    size = max(2, config.batch * min(config.sides) ** 2 // side**2)
    low = numbers.random(size) < config.low_timestep_share
    low[0] = True  # so that every step has both kinds of sample
    low[1] = False
    images, captions, kinds, severities, fits = [], [], [], [], []
    for is_low in low:
        pictures = sources[int(numbers.integers(len(sources)))]
        index = int(numbers.integers(len(pictures)))
        image, caption = view(pictures.images[index], side, numbers), pictures.captions[index]
        kind, severity, fit = 0, 0.0, 1.0
        if is_low:
            kind = int(numbers.integers(len(DEFECTS)))
            severity = float(numbers.random()) if kind else 0.0
            image = damage(image, kind, severity, numbers)
            if numbers.random() < 0.5:
                other = pictures.captions[int(numbers.integers(len(pictures)))]
                fit, caption = float(other == caption), other
        elif numbers.random() < config.caption_dropout:
            caption = ""
        images.append(image)
        captions.append(caption)
        kinds.append(kind)
        severities.append(severity)
        fits.append(fit)
    timesteps = np.where(
        low, numbers.integers(1, config.low_timestep, size), numbers.integers(0, 1000, size)
    )
    return Batch(
        to_tensor(images),
        captions,
        torch.from_numpy(timesteps),
        torch.from_numpy(low),
        torch.tensor(kinds),
        torch.tensor(severities),
        torch.tensor(fits),
        int(numbers.integers(2**62)),
    )


class Denoiser(nn.Module):
    """What the second stage trains: text encoder, U-Net and the side tasks' heads."""

    def __init__(self, text_encoder: Any, unet: Any, config: DenoiserConfig) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.unet = unet
        self.config = config
        self.taps = Taps(unet, config.tapped)
        self.heads = SideHeads(self.taps.widths)
        betas = torch.linspace(
            SCHEDULE["beta_start"] ** 0.5, SCHEDULE["beta_end"] ** 0.5, 1000, dtype=torch.float64
        ).square()
        self.alphas_cumprod = torch.cumprod(1 - betas, 0).float()

    def losses(self, latents: Tensor, noise: Tensor, ids: Tensor, batch: Batch) -> Losses:
        """Latents and noise (B, C, h, w), ids (B, 77) -> named scalar losses."""
        device = latents.device
        signal = self.alphas_cumprod[batch.timesteps].to(device)  # (B,)
        wide = signal.view(-1, 1, 1, 1)
        noisy = wide.sqrt() * latents + (1 - wide).sqrt() * noise
        with autocast(device), self.taps as maps:
            text = self.text_encoder(ids)[0]
            found = self.unet(noisy, batch.timesteps.to(device), text).sample
        error = (found.float() - noise).square().mean((1, 2, 3))
        snr = signal / (1 - signal)
        weight = (self.config.min_snr_gamma / snr).clamp(max=1.0)  # Hang et al., 2023, eq. 7
        low = batch.low.to(device)
        eps = (error * weight)[~low].mean()
        rows = self.heads([features[low] for features in maps])
        defect = defect_loss(rows, batch.kinds.to(device)[low], batch.severities.to(device)[low])
        match = match_loss(rows, batch.fits.to(device)[low])
        loss = eps + self.config.defect_weight * defect + self.config.match_weight * match
        return {"loss": loss, "epsilon": eps, "defect": defect, "match": match}


def train_denoiser(
    denoiser: Denoiser,
    vae: Any,
    tokenizer: Any,
    sources: Sequence[Pictures],
    folder: Path,
    *,
    seed: int = 0,
    warmup: int = 100,
    checkpoint_minutes: float = 3.0,
    marks: tuple[float, ...] = (),
    on_mark: Callable[[float], None] | None = None,
    resume: bool = False,
    device: torch.device | str = "cpu",
) -> Denoiser:
    """Train on pictures encoded as they are drawn, so no two crops are ever the same."""
    config = denoiser.config
    denoiser.to(device).train()

    def step(number: int) -> Losses:
        batch = draw_batch(sources, config, generator_for(seed, 3, number))
        generator = torch.Generator().manual_seed(batch.noise_seed)
        latents = encode(vae, batch.images.to(device), generator)
        noise = torch.randn(latents.shape, generator=generator).to(device)
        ids = token_ids(tokenizer, batch.captions).to(device)
        return denoiser.losses(latents, noise, ids, batch)

    stage = Stage(
        "denoiser",
        denoiser,
        folder,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        ema=config.ema,
        minutes=config.minutes,
        steps=config.steps,
        warmup=warmup,
        checkpoint_minutes=checkpoint_minutes,
        marks=marks,
        on_mark=on_mark,
    )
    stage.run(step, resume)
    return denoiser.eval()


@torch.no_grad()
def encode(vae: Any, images: Tensor, generator: torch.Generator) -> Tensor:
    """(B, 3, S, S) -> scaled samples of the posterior, (B, C, S/8, S/8), float32."""
    with autocast(images.device):
        posterior = vae.encode(images.contiguous(memory_format=torch.channels_last)).latent_dist
    mean, std = posterior.mean.float(), posterior.std.float()
    noise = torch.randn(mean.shape, generator=generator).to(mean.device)
    return (mean + std * noise) * float(vae.config.scaling_factor)  # type: ignore[no-any-return]
