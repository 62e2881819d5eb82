"""The whole run, one stage under the other."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from diffagiqa.errors import TrainingError
from diffagiqa.pretrain.autoencoder import build_autoencoder, train_autoencoder
from diffagiqa.pretrain.config import PretrainConfig
from diffagiqa.pretrain.denoiser import Denoiser, build_unet, train_denoiser
from diffagiqa.pretrain.folder import save_backbone
from diffagiqa.pretrain.loop import processes
from diffagiqa.pretrain.pictures import Pictures, read_folder
from diffagiqa.pretrain.tokenizer import build_text_encoder, train_tokenizer

if TYPE_CHECKING:
    from diffagiqa.synth.scene import Scene


def pretrain(
    out: Path,
    real: Pictures,
    made: Pictures,
    config: PretrainConfig,
    *,
    resume: bool = False,
    device: torch.device | str = "cpu",
) -> Path:
    """Train everything and return ``out/backbone``, a diffusers folder in half precision.

    The autoencoder learns from the ``real`` pictures where there are any, the denoiser from both
    sources in equal shares. ``out`` also gets ``pretrain.json``, the loss tables, checkpoints,
    and ``ages/``: copies of the folder from earlier in the denoiser's training.

    Raises ``TrainingError`` where ``out`` already holds a run and ``resume`` is not given, or holds
    one of another configuration.
    """
    if first():
        _claim(out, config, resume)
    backbone = out / "backbone"
    torch.manual_seed(config.seed)  # only the initial weights come from the global stream
    vae = build_autoencoder(config.autoencoder)
    captions = [*real.captions, *made.captions, *(c for near in made.near for c in near)]
    # Every process learns the same merges; each writes a folder of its own.
    folder = out / f"tokenizer{'' if first() else processes()[0]}"
    tokenizer = train_tokenizer(captions, config.text.vocabulary, folder)
    text_encoder = build_text_encoder(
        tokenizer, config.text.width, config.text.layers, config.text.heads
    )
    unet = build_unet(config.denoiser, config.autoencoder.latent_channels, config.text.width)
    shared: dict[str, Any] = {
        "seed": config.seed,
        "warmup": config.warmup_steps,
        "checkpoint_minutes": config.checkpoint_minutes,
        "resume": resume,
        "device": device,
    }
    vae = train_autoencoder(vae, (real or made).images, config.autoencoder, out, **shared)
    denoiser = Denoiser(text_encoder, unet, config.denoiser)

    def save(folder: Path) -> None:
        save_backbone(
            folder,
            vae=vae,
            unet=denoiser.unet,
            text_encoder=denoiser.text_encoder,
            tokenizer=tokenizer,
        )

    def keep(share: float) -> None:
        save(out / "ages" / f"{round(100 * share):03d}")

    sources = [source for source in (real, made) if source]
    train_denoiser(
        denoiser, vae, tokenizer, sources, out, marks=config.keep_ages, on_mark=keep, **shared
    )
    if first():
        save(backbone)
        shutil.copy(out / "pretrain.json", backbone / "pretrain.json")
    return backbone


def first() -> bool:
    """Whether this is the process that writes files."""
    return processes()[0] == 0


def gather(
    root: Path | None, config: PretrainConfig, exclude: Collection[str] = ()
) -> tuple[Pictures, Pictures]:
    """The pictures of ``root`` (none without it) and of the made world's training split."""
    real = read_folder(root, exclude) if root is not None else Pictures([], [])
    return real, made_pictures(config.made_images, config.seed)


def made_pictures(count: int, seed: int, size: int = 256) -> Pictures:
    """``count`` pictures of the made world with their captions; number i is a function of (seed, i)."""
    if count == 0:
        return Pictures([], [])
    from diffagiqa.synth.samples import made_sample

    samples = [made_sample(seed, i, size, "train") for i in range(count)]
    return Pictures(
        [s.image for s in samples],
        [s.caption for s in samples],
        [
            near_captions(s.scene, np.random.default_rng((seed, i, 1)))
            for i, s in enumerate(samples)
        ],
    )


def near_captions(scene: Scene, generator: np.random.Generator, count: int = 6) -> tuple[str, ...]:
    """Captions of scenes that differ from this one in a single thing: colour, kind, count, ..."""
    from diffagiqa.synth.captions import caption
    from diffagiqa.synth.misalign import applicable, misalign

    kinds = generator.choice(applicable(scene), count)
    changed = [misalign(scene, str(kind), generator, "train") for kind in kinds]
    return tuple(caption(other.scene, generator) for other in changed if other.violated)


def _claim(out: Path, config: PretrainConfig, resume: bool) -> None:
    file = out / "pretrain.json"
    if file.exists() and not resume:
        raise TrainingError(f"{out} already holds a run; give --resume or another folder")
    if file.exists() and PretrainConfig.load(file) != config:
        raise TrainingError(
            f"{file} differs from the options given; resume with the options the run began with"
        )
    out.mkdir(parents=True, exist_ok=True)
    config.save(file)
