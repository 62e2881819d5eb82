"""The same numbers sooner: one entry point, and a table of what is applied where.

What stands here gave at least 1.15 times end to end on a default path (docs/speed.md has the
measurements), needs no private operator, and has its plain twin in a test.

| accelerator | where | what it does |
|---|---|---|
| ``fold`` | every device, when scoring | batch normalisation inside the convolutions |
| ``fused`` | Stable Diffusion's networks | residual blocks by Triton kernels on CUDA, in place on a CPU |
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
    from diffagiqa.backbones.unet import StableDiffusion

    if not enabled() or backbone.execution_device is not None:  # weights come and go
        return backbone
    if isinstance(backbone, StableDiffusion):
        from diffagiqa.accel.fused import fuse_where_supported

        for network in (backbone.unet, backbone.image_encoder):
            fuse_where_supported(network, backbone.device)
    return backbone
