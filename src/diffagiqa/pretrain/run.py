"""The whole run, one stage under the other."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from diffagiqa.errors import TrainingError
from diffagiqa.pretrain.autoencoder import build_autoencoder, train_autoencoder
from diffagiqa.pretrain.config import PretrainConfig
from diffagiqa.pretrain.curves import draw_losses
from diffagiqa.pretrain.denoiser import Denoiser, build_unet, train_denoiser
from diffagiqa.pretrain.folder import save_backbone
from diffagiqa.pretrain.loop import processes
from diffagiqa.pretrain.pictures import Pictures, read_folder
from diffagiqa.pretrain.tokenizer import build_text_encoder, train_tokenizer

if TYPE_CHECKING:
    from diffagiqa.synth.scene import Scene


@torch.random.fork_rng(devices=[])  # initial weights come from a stream of its own
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
    sources in equal shares. ``out`` also gets ``pretrain.json``, the losses as tables and as
    ``losses.png``, checkpoints, and ``ages/``: copies from earlier in the denoiser's training.

    Raises ``TrainingError`` where ``out`` already holds a run and ``resume`` is not given, or holds
    one of another configuration.
    """
    if first():
        _claim(out, config, resume)
    backbone = out / "backbone"
    torch.manual_seed(config.seed)
    vae = build_autoencoder(config.autoencoder)
    captions = [*real.captions, *made.captions]
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
        draw_losses(out)
    return backbone


def first() -> bool:
    """Whether this is the process that writes files."""
    return processes()[0] == 0


def gather(
    root: Path | None, config: PretrainConfig, exclude: Collection[str] = ()
) -> tuple[Pictures, Pictures]:
    """The pictures of ``root`` (none without it) and synthetic ones of the training split."""
    real = read_folder(root, exclude) if root is not None else Pictures([], [])
    return real, made_pictures(config.made_images, config.seed, workers=os.cpu_count() or 1)


MISALIGNED = 0.35
"""Share of synthetic pictures that do not show all that was asked for."""


def made_pictures(count: int, seed: int, size: int = 256, workers: int = 1) -> Pictures:
    """``count`` synthetic pictures with their scenes; number i is a function of (seed, i)."""
    from diffagiqa.synth.database import mapped

    draw = partial(_made_picture, seed=seed, size=size)
    made = list(mapped(draw, count, workers if count > 1000 else 1))  # processes take time to start
    images, captions, scenes = (
        (list(column) for column in zip(*made, strict=True)) if made else ([], [], [])
    )
    return Pictures(images, captions, scenes)


def _made_picture(index: int, seed: int, size: int) -> tuple[np.ndarray, str, tuple[Scene, Scene]]:
    """A picture, the caption of what it shows, and what was asked for and shown."""
    from diffagiqa.synth.captions import caption
    from diffagiqa.synth.misalign import applicable, misalign
    from diffagiqa.synth.render import render
    from diffagiqa.synth.scene import sample_scene

    numbers = np.random.default_rng((seed, index))
    asked = shown = sample_scene(numbers, "train")
    if numbers.random() < MISALIGNED:
        kind = str(numbers.choice(applicable(asked)))
        shown = misalign(asked, kind, numbers, "train").scene
    # A missing object has no place in a caption: such a picture denoises without one.
    spoken = "" if any(e.count == 0 for e in shown.entities) else caption(shown, numbers)
    return render(shown, size, int(numbers.integers(2**31))), spoken, (asked, shown)


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
