"""Stable-Diffusion-sized weights without a download: random numbers in the real files' layout."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

from diffagiqa.backbones.sizes import sd15_unet, sd15_vae
from diffagiqa.model.config import ModelConfig
from diffagiqa.model.scoring import build_model
from diffagiqa.pretrained import save_model


def write_sd15(folder: Path) -> Path:
    """A model folder with a backbone of Stable Diffusion 1.5's sizes in it; returns ``folder``.

    Random float16 weights, 2.1 GB and 1 GB; every pass costs what the real model's does.
    """
    from transformers import CLIPTextConfig, CLIPTextModel

    backbone = folder / "backbone"
    text = CLIPTextConfig(
        hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12
    )
    with torch.device("meta"):
        unet, vae = sd15_unet(), sd15_vae()
        encoder: Any = CLIPTextModel(text)
        config = ModelConfig(backbone="./backbone")
        trained = build_model(config)
    generator = torch.Generator().manual_seed(0)
    for part, name in ((unet, "unet"), (vae, "vae"), (encoder, "text_encoder")):
        fill(part, generator)
        part.save_pretrained(backbone / name)
        part.to("meta")  # one part in memory at a time
    write_tokenizer(backbone / "tokenizer")
    schedule = {
        "_class_name": "PNDMScheduler", "num_train_timesteps": 1000,
        "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    }  # fmt: skip
    (backbone / "scheduler").mkdir()
    file = backbone / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps(schedule), encoding="utf-8")
    classes = {"_class_name": "StableDiffusionPipeline"}
    (backbone / "model_index.json").write_text(json.dumps(classes), encoding="utf-8")
    fill(trained, generator, gain=math.sqrt(2))  # behind ReLUs: else scores hardly leave 0.5
    save_model(trained, folder, half=True)
    return folder


def write_tokenizer(folder: Path) -> None:
    """A tokenizer of single characters in CLIP's format: prompts become 77 tokens with it too."""
    from transformers import CLIPTokenizerFast  # type: ignore[attr-defined]
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    CLIPTokenizerFast(vocab=vocabulary, merges=[], model_max_length=77).save_pretrained(folder)


def fill(module: nn.Module, generator: torch.Generator, gain: float = 1.0) -> None:
    """Random float16 weights that keep activations near 1; norms are the identity, biases zero.

    ``gain``: of every layer, for what the nonlinearity behind it takes away (He et al., 2015).
    """
    for own in module.modules():
        for name, tensor in [*own.named_parameters(recurse=False)]:
            value = torch.zeros(tensor.shape, dtype=torch.float16)
            if tensor.dim() >= 2:
                fan_in = math.prod(tensor.shape[1:])
                value = torch.empty(tensor.shape).normal_(
                    0, gain * fan_in**-0.5, generator=generator
                )
            elif name == "weight":
                value = torch.ones(tensor.shape)
            setattr(own, name, nn.Parameter(value.half(), requires_grad=False))
        for name, buffer in [*own.named_buffers(recurse=False)]:
            if not buffer.is_meta:
                continue
            values = {
                "running_var": torch.ones(buffer.shape),
                "position_ids": torch.arange(buffer.numel()).view(buffer.shape),
            }
            own.register_buffer(
                name,
                values.get(name, torch.zeros(buffer.shape, dtype=buffer.dtype)),
                persistent=name not in own._non_persistent_buffers_set,
            )
