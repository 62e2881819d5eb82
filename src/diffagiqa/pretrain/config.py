"""What a pretraining run is made of: frozen, saved beside the weights."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from diffagiqa.errors import ConfigError


@dataclass(frozen=True)
class AutoencoderConfig:
    """AutoencoderKL with four levels (f = 8) and how it is trained."""

    channels: tuple[int, ...] = (16, 48, 64, 96)
    layers_per_block: int = 2
    latent_channels: int = 32
    """On AGIQA-3K, statistics of 8, 16, 32, 64 whitened components give 0.66, 0.73, 0.76, 0.77 SRCC with
    the quality ratings (kernel regression, three prompt-disjoint splits)."""
    norm_groups: int = 1
    """Few groups: with two channels each, normalising takes the level and contrast of flat crops away,
    and the loss stood still at 0.2."""
    crop: int = 64
    """Side of the training crops, in pixels of the original: native detail, never resized."""
    batch: int = 8
    learning_rate: float = 2.5e-3
    component_crops: int = 600
    """Crops from which the encoder's principal components are taken (see ``linear_start``)."""
    train_encoder: bool = False
    gradient_weight: float = 1.0
    spectrum_weight: float = 0.02
    kl_weight: float = 1e-6
    ema: float = 0.995
    minutes: float = 20.0
    steps: int = 20_000


@dataclass(frozen=True)
class TextConfig:
    """CLIPTextModel and its byte-level BPE."""

    vocabulary: int = 3072
    width: int = 192
    layers: int = 4
    heads: int = 4


@dataclass(frozen=True)
class DenoiserConfig:
    """UNet2DConditionModel in Stable Diffusion 1.5's topology and how it is trained."""

    channels: tuple[int, ...] = (64, 96, 128, 144)
    heads: int = 4
    norm_groups: int = 8
    batch: int = 32
    """Pictures per step at the smallest side."""
    sides: tuple[int, ...] = (128,)
    """Image sides that steps take at random; the batch shrinks with the area."""
    learning_rate: float = 1.6e-3
    weight_decay: float = 0.01
    caption_dropout: float = 0.1
    min_snr_gamma: float = 5.0
    shares: tuple[float, ...] = (0.42, 0.0, 0.58)
    """Of each batch: denoising, pairs of crops, words of captions (``Role``)."""
    low_timestep: int = 100
    """The side tasks see latents at t below this, as the scorer does."""
    defect_weight: float = 0.1
    pair_weight: float = 0.1
    words_weight: float = 4.0
    seen_weight: float = 4.0
    named_weight: float = 0.4
    tapped: tuple[str, ...] = (
        "down_blocks.0.attentions.1",
        "down_blocks.1.attentions.1",
        "up_blocks.2.attentions.2",
        "up_blocks.3.attentions.1",
    )
    """Transformer layers whose GEGLU outputs name defects and pairs, as the scorer reads them."""
    words: tuple[str, ...] = ("up_blocks.2.attentions.2", "up_blocks.3.attentions.1")
    """Transformer layers whose cross-attention is taught which words of a caption are shown."""
    compile: bool = False
    """torch.compile the U-Net for the smallest side: minutes to start; whether it pays depends on the CPU
    (1.8 times as fast with AVX-512 and float32, nothing with bfloat16 on another)."""
    ema: float = 0.998
    minutes: float = 40.0
    steps: int = 50_000


@dataclass(frozen=True)
class PretrainConfig:
    """One run of ``diffagiqa pretrain``."""

    autoencoder: AutoencoderConfig = AutoencoderConfig()
    text: TextConfig = TextConfig()
    denoiser: DenoiserConfig = DenoiserConfig()
    made_images: int = 9000
    seed: int = 0
    warmup_steps: int = 50
    checkpoint_minutes: float = 3.0
    keep_ages: tuple[float, ...] = (0.05, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9)
    """Shares of the denoiser's training after which a copy of the folder is kept under ages/."""

    def save(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, file: Path) -> PretrainConfig:
        """Read what ``save`` wrote; unknown keys are an error."""
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{file} cannot be read as a configuration ({error})") from None
        parts = {"autoencoder": AutoencoderConfig, "text": TextConfig, "denoiser": DenoiserConfig}
        built = {name: _build(part, values.get(name, {}), file) for name, part in parts.items()}
        rest = {name: value for name, value in values.items() if name not in parts}
        return replace(_build(cls, rest, file), **built)


def _build(cls: Any, values: dict[str, Any], file: Path) -> Any:
    unknown = sorted(values.keys() - {field.name for field in fields(cls)})
    if unknown:
        raise ConfigError(
            f"{file} has the unknown key {unknown[0]}; remove it or use the version that wrote it"
        )
    return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
