"""Diffusion transformers trained by flow matching: what they share as backbones."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from diffagiqa.backbones.base import Backbone, Encoded, Prompts
from diffagiqa.backbones.names import CONDITION, TEXT
from diffagiqa.backbones.noise import Noise
from diffagiqa.backbones.text_encoders import TextEncoders
from diffagiqa.backbones.vae import ImageEncoder
from diffagiqa.errors import ConfigError

LATENTS = "latents"
WORDS = ".words"
"""Ends the names of a block's attention from image positions to text tokens, (B, L, h, w)."""


class FlowTransformer(Backbone):
    """VAE encoder, text encoders and diffusion transformer of one model.

    Features: ``<blocks>.i``, the image tokens after block i as a map; ``<blocks>.i.text``, its text
    tokens, (B, C, 1, L); ``condition``, (B, C, 1, 1); ``latents``, what the transformer is given.
    """

    blocks: str
    """Name of the list of blocks, such as ``transformer_blocks``."""
    side_multiple = 16
    text_encoders: TextEncoders

    def __init__(
        self,
        *,
        image_encoder: ImageEncoder,
        transformer: Any,
        text_encoders: TextEncoders,
        sigmas: Tensor,
        name: str = "",
    ) -> None:
        """``sigmas``: the scheduler's, (T,) in [0, 1]."""
        super().__init__(name)
        self.image_encoder = image_encoder
        self.transformer: Any = transformer
        self.text_encoders = text_encoders
        self.sigmas = sigmas.to("cpu", torch.float64)
        self.freeze()

    @property
    def dtype(self) -> torch.dtype:
        return next(self.transformer.parameters()).dtype  # type: ignore[no-any-return]

    @property
    def device(self) -> torch.device:
        return self.execution_device or next(self.transformer.parameters()).device  # type: ignore[no-any-return]

    def no_text(self, length: int | None = None) -> Prompts:
        return self.empty_prompt()

    def latent_shape(self, height: int, width: int) -> tuple[int, ...]:
        scale = self.image_encoder.scale
        return (int(self.transformer.config.in_channels), height // scale, width // scale)

    def encode_image(self, images: Tensor) -> Encoded:
        return self.image_encoder(images, self.checkpoint_activations)  # type: ignore[no-any-return]

    def sigma(self, timestep: int) -> float:
        """The scheduler's noise level nearest to ``timestep`` / 1000."""
        return float(self.sigmas[(self.sigmas - timestep / 1000).abs().argmin()])

    def noisy_latents(self, mean: Tensor, std: Tensor, noise: Noise, timestep: int) -> Tensor:
        """(1 - sigma) z0 + sigma eps (rectified flow), shape as ``mean``."""
        noise = noise.to(mean.device, mean.dtype)
        sigma = self.sigma(timestep)
        clean = self.image_encoder.latents(mean, std, noise)
        return (1 - sigma) * clean + sigma * noise.diffusion

    def features(
        self,
        encoded: Encoded,
        prompts: Prompts,
        noise: Noise | None,
        timestep: int,
        names: Sequence[str],
    ) -> dict[str, Tensor]:
        assert noise is not None
        mean, std = encoded
        latents = self.noisy_latents(mean, std, noise, timestep)
        return self.walked(latents, prompts, self.sigma(timestep), names)

    def walked(
        self, latents: Tensor, prompts: Prompts, sigma: float, names: Sequence[str]
    ) -> dict[str, Tensor]:
        """Features of noisy latents, (B, C, h, w), of noise level ``sigma``."""
        words = [name for name in names if name.endswith(WORDS)]
        self.check_names([name for name in names if name not in words])
        found: dict[str, Tensor] = {}
        for name, feature in self.walk(latents, prompts, sigma, words):
            if name in names:
                found[name] = feature
                if len(found) == len(set(names)):
                    break  # the walk is lazy: later blocks are never computed
        return {name: found[name] for name in names}

    @abstractmethod
    def walk(
        self, latents: Tensor, prompts: Prompts, sigma: float, words: Collection[str] = ()
    ) -> Iterator[tuple[str, Tensor]]:
        """Compute the transformer block by block, yielding (name, feature); lazy. Of ``*.words``, which
        attention computes again, only those in ``words``."""

    def word_features(self, names: Sequence[str]) -> tuple[str, ...]:
        """Attention to the text in all blocks up to the last of ``names``."""
        order = self.feature_names()
        computed = order[: max(order.index(name) for name in names) + 1]
        return tuple(
            name + WORDS for name in computed
            if name.startswith(self.blocks) and not name.endswith(TEXT)
        )  # fmt: skip

    def feature_names(self) -> list[str]:
        last = self.transformer.config.num_layers if self.blocks == "transformer_blocks" else None
        count = len(getattr(self.transformer, self.blocks))
        names = [LATENTS, CONDITION]
        for i in range(count):
            names.append(f"{self.blocks}.{i}")
            if i + 1 != last:  # Stable Diffusion 3's last block lets go of the text
                names.append(f"{self.blocks}.{i}{TEXT}")
        return names

    def feature_channels(self, names: Sequence[str]) -> tuple[int, ...]:
        self.check_names(names)
        known = {LATENTS: int(self.transformer.config.in_channels), CONDITION: self.condition_width}
        return tuple(known.get(name, self.width) for name in names)

    @property
    @abstractmethod
    def width(self) -> int:
        """Channels of the tokens."""

    @property
    @abstractmethod
    def condition_width(self) -> int:
        """Channels of the condition."""

    def run(self, block: Any, *inputs: Any, **options: Any) -> Any:
        """One block, its activations recomputed in the backward pass where memory is short."""
        if not (self.checkpoint_activations and torch.is_grad_enabled()):
            return block(*inputs, **options)
        from torch.utils.checkpoint import checkpoint

        return checkpoint(block, *inputs, use_reentrant=False, **options)


def keep_blocks(transformer: Any, blocks: str, names: Sequence[str]) -> None:
    """Delete the blocks after the last wanted feature, on the meta device, before weights are read.

    Raises ``ConfigError`` for a name that the transformer lacks.
    """
    modules = getattr(transformer, blocks)
    last = -1
    for name in names:
        if name in (LATENTS, CONDITION):
            continue
        prefix, _, index = name.removesuffix(TEXT).rpartition(".")
        if prefix != blocks or not index.isdecimal() or int(index) >= len(modules):
            raise ConfigError(
                f"the transformer has no feature {name}; it has {LATENTS}, {CONDITION}, {blocks}.0 to "
                f"{blocks}.{len(modules) - 1}, and each with {TEXT}"
            )
        last = max(last, int(index))
    del modules[last + 1 :]


def as_map(tokens: Tensor, height: int, width: int) -> Tensor:
    """(B, N, C) -> (B, C, h, w)."""
    return tokens.transpose(1, 2).unflatten(2, (height, width))


def as_row(tokens: Tensor) -> Tensor:
    """(B, L, C) -> (B, C, 1, L)."""
    return tokens.transpose(1, 2).unsqueeze(2)


def attention_to_words(query: Tensor, key: Tensor, mask: Tensor | None = None) -> Tensor:
    """Image positions (B, N, heads, d) and text tokens (B, L, heads, d) -> (B, N, L).

    softmax(q k^T / sqrt(d)) over the text alone, averaged over the heads; ``mask`` (B, L): which tokens
    there are. No gradient is needed through it.
    """
    weights = torch.einsum("bnhd,blhd->bhnl", query, key).float() / query.shape[-1] ** 0.5
    if mask is not None:
        weights = weights.masked_fill(~mask[:, None, None], float("-inf"))
    return weights.softmax(-1).mean(1)
