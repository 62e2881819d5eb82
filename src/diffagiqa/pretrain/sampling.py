"""Pictures from a saved backbone, by diffusers' own pipeline, and grids of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from PIL.Image import Image


def load_pipeline(folder: Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Any:
    """The folder as a ``StableDiffusionPipeline`` with DDIM steps and no safety checker."""
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import (
        StableDiffusionPipeline,
    )
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    pipeline = StableDiffusionPipeline.from_pretrained(
        folder, safety_checker=None, local_files_only=True
    )
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, clip_sample=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device, dtype)


def sample(
    pipeline: Any,
    prompts: Sequence[str],
    *,
    size: int = 128,
    steps: int = 30,
    guidance: float = 4.0,
    seed: int = 0,
) -> list[Image]:
    """One picture per prompt, (size, size); picture i depends on (prompt i, seed, i) alone."""
    generators = [torch.Generator().manual_seed(seed * 100_003 + i) for i in range(len(prompts))]
    found = pipeline(
        list(prompts),
        height=size,
        width=size,
        num_inference_steps=steps,
        guidance_scale=guidance,
        generator=generators,
    )
    return found.images  # type: ignore[no-any-return]


def grid(pictures: Sequence[Image], columns: int, gap: int = 4) -> Image:
    """Pictures of one size, row by row on white."""
    from PIL import Image as Pillow

    width, height = pictures[0].size
    rows = -(-len(pictures) // columns)
    sheet = Pillow.new("RGB", (columns * (width + gap) - gap, rows * (height + gap) - gap), "white")
    for i, picture in enumerate(pictures):
        sheet.paste(picture, (i % columns * (width + gap), i // columns * (height + gap)))
    return sheet


def plot_losses(folder: Path, file: Path) -> None:
    """Draw ``autoencoder.csv`` and ``denoiser.csv`` of a run as one PNG."""
    import csv

    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(12, 4), constrained_layout=True)
    # Okabe-Ito colours with distinct dashes: readable without colour vision.
    looks: list[tuple[str, Any]] = [
        ("#0072B2", "-"), ("#D55E00", "--"), ("#009E73", ":"), ("#CC79A7", "-."),
        ("#000000", (0, (5, 1))), ("#E69F00", (0, (3, 1, 1, 1))), ("#56B4E9", (0, (1, 1))),
    ]  # fmt: skip
    for axis, name in zip(axes, ("autoencoder", "denoiser"), strict=True):
        with (folder / f"{name}.csv").open(newline="") as table:
            rows = list(csv.DictReader(table))
        names = [key for key in rows[0] if key not in ("step", "seconds", "loss", "kl", "wrong")]
        for key, (colour, dash) in zip(names, looks, strict=False):
            minutes = [float(row["seconds"]) / 60 for row in rows]
            values = [float(row[key]) for row in rows]
            axis.plot(minutes, values, linestyle=dash, color=colour, label=key)
        axis.set(xlabel="training time (minutes)", ylabel="loss (mean of 20 steps)", title=name)
        axis.set_yscale("log")
        axis.legend(bbox_to_anchor=(1.02, 1), loc="upper left")
    figure.savefig(file, dpi=110)
    plt.close(figure)
