"""The same numbers sooner: one entry point, and a table of what is applied where.

What stands here gave at least 1.15 times end to end on a default path (docs/speed.md has the
measurements), needs no private operator, and has its plain twin in a test.

| accelerator | where | what it does |
|---|---|---|
| ``fold`` | every device, when scoring | batch normalisation inside the convolutions |
| ``fused`` | CUDA, Stable Diffusion's networks | residual blocks by the Triton kernels of ``kernels`` |
| ``graphs`` | CUDA, an image scored alone | the forward pass is replayed as a CUDA graph |
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffagiqa.backbones.base import Backbone


def enabled() -> bool:
    """Whether accelerators are applied: not where the environment holds DIFFAGIQA_ACCEL=0."""
    return os.environ.get("DIFFAGIQA_ACCEL", "1") != "0"


def accelerate(backbone: Backbone) -> Backbone:
    """Let a loaded backbone compute the same sooner, in place; returns it.

    For scoring and training alike: gradients to the images stay. Scores change by rounding at most.
    """
    offloaded = backbone.execution_device is not None  # weights come and go
    if not enabled() or offloaded or backbone.device.type != "cuda":
        return backbone
    from diffagiqa.accel.fused import fault_of_kernels, fuse
    from diffagiqa.backbones.unet import StableDiffusion

    if isinstance(backbone, StableDiffusion) and not fault_of_kernels(backbone.device):
        fuse(backbone.unet)
        fuse(backbone.image_encoder)
    return backbone
