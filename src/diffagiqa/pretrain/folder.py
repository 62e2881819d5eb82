"""Write the trained parts as one diffusers folder that StableDiffusionPipeline loads."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch

from diffagiqa.pretrain.denoiser import SCHEDULE


def save_backbone(folder: Path, *, vae: Any, unet: Any, text_encoder: Any, tokenizer: Any) -> None:
    """Save VAE, U-Net and text encoder in half precision, tokenizer and SD1.5's PNDM scheduler."""
    from diffusers.schedulers.scheduling_pndm import PNDMScheduler

    for name, part in (("vae", vae), ("unet", unet), ("text_encoder", text_encoder)):
        half = copy.deepcopy(part).to("cpu", torch.float16)
        half.save_pretrained(folder / name, safe_serialization=True)
    tokenizer.save_pretrained(folder / "tokenizer")
    scheduler = PNDMScheduler(
        **SCHEDULE, skip_prk_steps=True, set_alpha_to_one=False, steps_offset=1
    )
    scheduler.save_pretrained(folder / "scheduler")
    (folder / "model_index.json").write_text(json.dumps(_index(), indent=2) + "\n", "utf-8")


def _index() -> dict[str, Any]:
    import diffusers

    return {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": diffusers.__version__,
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "PNDMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
