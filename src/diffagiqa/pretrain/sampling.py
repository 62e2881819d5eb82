"""Pictures from a saved backbone, by diffusers' own pipeline, and grids of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from PIL.Image import Image


def load_pipeline(folder: Path) -> Any:
    """The folder as a ``StableDiffusionPipeline`` in float32, with DDIM steps and no safety checker."""
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import (
        StableDiffusionPipeline,
    )
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    pipeline = StableDiffusionPipeline.from_pretrained(
        folder, safety_checker=None, local_files_only=True
    )
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, clip_sample=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(torch.float32)


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


GAP = 4  # pixels between the pictures of a grid


def grid(pictures: Sequence[Image], columns: int) -> Image:
    """Pictures of one size, row by row on white."""
    from PIL import Image as Pillow

    width, height = pictures[0].size
    rows = -(-len(pictures) // columns)
    sheet = Pillow.new("RGB", (columns * (width + GAP) - GAP, rows * (height + GAP) - GAP), "white")
    for i, picture in enumerate(pictures):
        sheet.paste(picture, (i % columns * (width + GAP), i // columns * (height + GAP)))
    return sheet
