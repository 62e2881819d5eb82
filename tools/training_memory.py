"""GPU memory that training needs, computed on tensors without data: no GPU and no weights needed.

python tools/training_memory.py         # the table of docs/train.md for Stable Diffusion 1.5
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from diffagiqa.backbones.base import Backbone, Prompts
from diffagiqa.backbones.noise import Noise
from diffagiqa.backbones.pipelines import image_encoder
from diffagiqa.backbones.sizes import sd15_unet, sd15_vae
from diffagiqa.backbones.unet import StableDiffusion
from diffagiqa.backbones.unet_walk import drop_unused
from diffagiqa.evaluation.tables import markdown
from diffagiqa.model.config import ModelConfig
from diffagiqa.model.scoring import DiffAGIQA, build_model

GB = 1e9


@dataclass(frozen=True)
class Memory:
    """Bytes, by what they hold."""

    frozen: int
    trained: int
    """Weights, gradients, AdamW's two moments and the moving average, float32; autocast's copy."""
    activations: int
    """Kept from the forward pass for the backward pass."""

    @property
    def total(self) -> int:
        return self.frozen + self.trained + self.activations


class _Kept:
    """Bytes of the tensors that autograd keeps, each storage once; weights do not count."""

    def __init__(self, weights: set[int]) -> None:
        self.seen = weights
        self.bytes = 0
        self.held: list[Any] = []

    def add(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.seen:
            self.seen.add(storage._cdata)
            self.held.append(storage)  # or its address would be given to the next one
            self.bytes += storage.nbytes()
        return tensor


def training_memory(
    config: ModelConfig, backbone: Backbone, batch: int, text: tuple[int, int] = (77, 768)
) -> Memory:
    """Memory of one training step with ``backbone`` (on the meta device) and ``batch`` images.

    With ``backbone.checkpoint_activations`` a block's inputs are kept, and the activations of the one
    block that needs most come on top, as the backward pass makes them anew.
    """
    with torch.device("meta"):
        model = build_model(config).to(torch.bfloat16)  # as autocast computes
    weights = {t.untyped_storage()._cdata for m in (model, backbone) for t in _tensors(m)}
    kept = _Kept(weights)
    largest = 0

    def blocks(inputs: int) -> None:
        nonlocal largest
        largest = max(largest, inputs)

    with _counted_checkpoints(kept, blocks), _flash_attention(), _saved(kept):
        _score(model, config, backbone, batch, text)
    frozen = sum(t.numel() * t.element_size() for t in _tensors(backbone))
    trained = sum(p.numel() for p in model.parameters()) * (4 * 5 + 2)
    return Memory(frozen, trained, kept.bytes + largest)


def _score(
    model: DiffAGIQA, config: ModelConfig, backbone: Backbone, batch: int, text: tuple[int, int]
) -> None:
    size = config.image_size
    images = torch.empty(batch, 3, size, size, device="meta", dtype=torch.bfloat16)
    embedding = torch.empty(batch, *text, device="meta")
    prompts = Prompts(embedding, torch.empty(batch, text[0], device="meta", dtype=torch.bool))
    shape = backbone.latent_shape(size, size)
    noise = None if shape is None else torch.empty(batch, *shape, device="meta")
    model.train()
    model(images, prompts, backbone, [None if noise is None else Noise(noise, noise)])


@contextlib.contextmanager
def _saved(kept: _Kept) -> Iterator[None]:
    with torch.autograd.graph.saved_tensors_hooks(kept.add, lambda tensor: tensor):
        yield


@contextlib.contextmanager
def _counted_checkpoints(kept: _Kept, note: Any) -> Iterator[None]:
    """Checkpointed blocks keep their inputs; what they would keep inside is noted, not kept."""
    import torch.utils.checkpoint as module

    original = module.checkpoint

    def counted(function: Any, *inputs: Any, **_: Any) -> Any:
        for value in inputs:
            if isinstance(value, Tensor):
                kept.add(value)
        inner = _Kept(set(kept.seen))
        with _saved(inner):
            out = function(*inputs)
        note(inner.bytes)
        return out

    module.checkpoint = counted
    try:
        yield
    finally:
        module.checkpoint = original


class _Flash(torch.autograd.Function):
    """What a fused attention kernel keeps: query, key, value and output, never the products."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out = query.new_empty(*query.shape[:-1], value.shape[-1])
        ctx.save_for_backward(query, key, value, out)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        raise NotImplementedError


@contextlib.contextmanager
def _flash_attention() -> Iterator[None]:
    original = F.scaled_dot_product_attention
    F.scaled_dot_product_attention = lambda q, k, v, *_, **__: _Flash.apply(q, k, v)  # type: ignore
    try:
        yield
    finally:
        F.scaled_dot_product_attention = original


def _tensors(module: torch.nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def stable_diffusion_15(config: ModelConfig) -> Backbone:
    """VAE encoder and U-Net of Stable Diffusion 1.5's shapes in bfloat16, on the meta device."""
    with torch.device("meta"):
        unet, vae = sd15_unet(), sd15_vae()
    drop_unused(unet, config.features)
    vae.decoder = vae.post_quant_conv = None
    return StableDiffusion(
        image_encoder=image_encoder(vae).to(torch.bfloat16),
        unet=unet.to(torch.bfloat16), text_encoder=None, tokenizer=None,
        alphas_cumprod=torch.linspace(1, 0.01, 1000),
    )  # fmt: skip


def main() -> None:
    """Print the table for Stable Diffusion 1.5 at 512 x 512."""
    from diffusers.utils import logging

    logging.set_verbosity_error()  # about a network on the meta device there is nothing to warn of
    config = ModelConfig()
    backbone = stable_diffusion_15(config)
    lines = []
    for recompute in (False, True):
        for batch in (1, 2, 4):
            backbone.checkpoint_activations = recompute
            memory = training_memory(config, backbone, batch)
            cells = (memory.frozen, memory.trained, memory.activations, memory.total)
            sizes = [f"{value / GB:.1f} GB" for value in cells]
            lines.append([str(batch), "yes" if recompute else "no", *sizes])
    columns = ("frozen", "trained", "activations", "total")
    print(markdown(["images per micro-batch", "activation checkpointing", *columns], lines))


if __name__ == "__main__":
    main()
