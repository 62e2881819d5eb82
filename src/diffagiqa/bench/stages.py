"""Time and arithmetic of each stage of scoring, on the path that the scorer takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from diffagiqa.accel.products import onednn_multiplies
from diffagiqa.backbones.unet import Prompts
from diffagiqa.bench.peak import median_seconds
from diffagiqa.scorer import Scorer


@dataclass(frozen=True)
class Stage:
    """One stage's cost per image, all branches together."""

    name: str
    seconds: float
    flop: float
    bytes_moved: float
    """Weights, inputs and outputs, each once: the least that has to pass through memory."""


@torch.inference_mode()
def measure_stages(scorer: Scorer, images: torch.Tensor, prompt: str, repeats: int) -> list[Stage]:
    """Each stage on a batch (B, 3, S, S), its median time divided by B."""
    model, backbone = scorer.model, scorer.backbone
    images = images.to(scorer.device)
    count = len(images)
    prompts = Prompts.stack([backbone.encode_prompts([prompt]).single] * count)
    text = prompts.text
    prompted = model.prompt(images)
    mean, std = backbone.encode_image(prompted)
    noise = scorer.noises[0]
    shown = model.word_features(images, prompts, backbone)
    found = model.features(mean, std, text, backbone, noise)
    maps = model.pyramid(model.levels(found) + shown)

    def heads() -> Any:
        parts = maps.chunk(len(model.passes))
        return [head(parts[model.pass_of[task]]) for task, head in model.heads.items()]

    words = (
        "word evidence", lambda: model.word_features(images, prompts, backbone),
        backbone.unet, [images, *shown],
    )  # fmt: skip
    stages: list[tuple[str, Callable[[], Any], Any, list[torch.Tensor]]] = [
        ("prompters", lambda: model.prompt(images), model.prompters, [images, prompted]),
        ("VAE encoder", lambda: backbone.encode_image(prompted),
         backbone.vae_encoder, [prompted, mean, std]),
        ("text encoder", lambda: backbone.encode_text([prompt]), backbone.text_encoder, [text[:1]]),
        ("U-Net", lambda: model.features(mean, std, text, backbone, noise),
         backbone.unet, [mean, *found]),
        *([words] if shown else []),
        ("pyramid", lambda: model.pyramid(model.levels(found) + shown),
         model.pyramid, [*found, *shown, maps]),
        ("heads", heads, model.heads, [maps]),
    ]  # fmt: skip
    measured = []
    for name, run, module, tensors in stages:
        # A distinct prompt is encoded once: its cost is that of one prompt per image at most.
        share = 1 if name == "text encoder" else count
        counter = flop_counter()
        with counter:
            run()
        seconds = median_seconds(run, scorer.device, repeats) / share
        moved = sum(t.numel() * t.element_size() for t in [*module.state_dict().values(), *tensors])
        measured.append(Stage(name, seconds, counter.get_total_flops() / share, moved / share))
    return measured


def flop_counter() -> FlopCounterMode:
    """PyTorch's counter of operations, which does not know oneDNN's product (``model.products``)."""

    def of_product(tokens: Any, weight: Any, *_: Any, **__: Any) -> int:
        return 2 * math.prod(tokens) * int(weight[0])  # shapes (..., C) and (O, C)

    known = {torch.ops.mkldnn._linear_pointwise: of_product} if onednn_multiplies() else {}
    return FlopCounterMode(display=False, custom_mapping=known)
