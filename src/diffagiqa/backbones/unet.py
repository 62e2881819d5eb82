"""The frozen text-to-image diffusion model: image -> latents, text -> embedding, noise schedule."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from diffagiqa.accel.heap import freed_memory_kept
from diffagiqa.backbones.encoder import PatchEncoder, downsampling_of
from diffagiqa.backbones.noise import Noise
from diffagiqa.device import at_least_float32

ENCODED_AT_ONCE = 512 * 512
"""Pixels per pass of the VAE encoder on a CPU: its activations are the largest, and more pictures at a
time make it no faster there (docs/speed.md)."""
TEXTS_AT_ONCE = 16
"""Pieces of 77 tokens per pass of the text encoder on a GPU, where one costs what sixteen do."""


@dataclass(frozen=True)
class Prompts:
    """Encoded prompts, B of them, or one without that dimension."""

    text: Tensor  # (B,L,D)
    words: Tensor  # (B,L) bool: which tokens are words of the prompt

    @classmethod
    def stack(cls, prompts: Sequence[Prompts]) -> Prompts:
        """Single ones as a batch."""
        return cls(torch.stack([p.text for p in prompts]), torch.stack([p.words for p in prompts]))

    @property
    def single(self) -> Prompts:
        """The one prompt of a batch of one, without that dimension."""
        return Prompts(self.text[0], self.words[0])


class Backbone(nn.Module):
    """VAE encoder, text encoder and U-Net of one Stable Diffusion model, frozen.

    Gradients flow through it to its inputs; its own parameters never get any, and ``train()`` leaves
    it in evaluation mode. It is an argument of the forward pass, so one copy serves every task.
    """

    def __init__(
        self,
        *,
        vae_encoder: Any,
        quant_conv: nn.Module | None,
        unet: Any,
        text_encoder: Any,
        tokenizer: Any,
        alphas_cumprod: Tensor,
        scaling_factor: float,
        shift_factor: float = 0.0,
        name: str = "",
    ) -> None:
        super().__init__()
        self.vae_encoder: Any = vae_encoder
        self.quant_conv = quant_conv
        self.unet: Any = unet
        self.text_encoder: Any = text_encoder
        self.tokenizer = tokenizer
        self.alphas_cumprod = alphas_cumprod.to("cpu", torch.float64)  # (T,)
        self.scaling_factor = scaling_factor
        self.shift_factor = shift_factor
        self.name = name
        self.checkpoint_activations = False
        """Recompute activations in the backward pass: less memory, more time (training only)."""
        self.keeps_freed_memory = True
        """While the VAE encoder works on a CPU (``heap``): nothing is left to keep afterwards."""
        self._no_text: tuple[Any, Tensor] | None = None
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Backbone:
        """Stay in evaluation mode: the backbone is frozen."""
        return super().train(False)

    @property
    def dtype(self) -> torch.dtype:
        return next(self.unet.parameters()).dtype

    @property
    def device(self) -> torch.device:
        return next(self.unet.parameters()).device

    @property
    def latent_channels(self) -> int:
        return int(self.unet.config.in_channels)

    @property
    def downsampling(self) -> int:
        """Image pixels per latent position: 8 for Stable Diffusion."""
        return downsampling_of(self.vae_encoder)

    def latent_shape(self, image_size: int) -> tuple[int, int, int]:
        side = image_size // self.downsampling
        return (self.latent_channels, side, side)

    def encode_image(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) about [-1, 1] -> posterior mean and standard deviation, (B, C, S/8, S/8) each.

        Std is exp(0.5 * clamp(logvar, -30, 20)), as in latent diffusion's diagonal Gaussian.
        """
        images = images.to(next(self.vae_encoder.parameters()).dtype)
        large = not isinstance(self.vae_encoder, PatchEncoder)
        if self.checkpoint_activations and torch.is_grad_enabled() and large:
            moments = _checkpointed_encoder(self.vae_encoder, images)
        elif images.device.type == "cpu" and not torch.is_grad_enabled():
            pieces = images.split(max(1, ENCODED_AT_ONCE // images[0, 0].numel()))
            with self._freed_memory_kept(pieces[0]):
                moments = torch.cat([self.vae_encoder(piece) for piece in pieces])
        else:
            moments = self.vae_encoder(images)
        if self.quant_conv is not None:
            moments = self.quant_conv(moments)
        mean, logvar = at_least_float32(moments).chunk(2, dim=1)
        return mean, torch.exp(0.5 * logvar.clamp(-30.0, 20.0))

    def _freed_memory_kept(self, images: Tensor) -> AbstractContextManager[None]:
        """While the VAE encoder works on (B, 3, S, S), on a CPU."""
        if not self.keeps_freed_memory or isinstance(self.vae_encoder, PatchEncoder):
            return nullcontext()
        channels = self.vae_encoder.conv_in.out_channels
        return freed_memory_kept(images[:, 0].numel() * channels * images.element_size())

    def noisy_latents(self, mean: Tensor, std: Tensor, noise: Noise, timestep: int) -> Tensor:
        """Latents at ``timestep``: sqrt(acp) z0 + sqrt(1 - acp) eps (DDPM, eq. 4), shape as ``mean``.

        z0 is the scaled posterior sample, or its mean where ``noise.posterior`` is None.
        """
        noise = noise.to(mean.device, mean.dtype)
        sample = mean if noise.posterior is None else mean + std * noise.posterior
        clean = self.clean_latents(sample)
        signal = float(self.alphas_cumprod[timestep])
        return signal**0.5 * clean + (1 - signal) ** 0.5 * noise.diffusion

    def clean_latents(self, sample: Tensor) -> Tensor:
        """A sample of the posterior, or its mean, in the U-Net's units."""
        return (sample - self.shift_factor) * self.scaling_factor

    def encode_prompts(self, prompts: Sequence[str], long_prompts: str = "truncate") -> Prompts:
        """``encode_text``, and which tokens are words of the prompt: letters or digits."""
        return Prompts.stack(self._encode(prompts, long_prompts, at_once=len(prompts)))

    def encode_each(
        self, prompts: Sequence[str], long_prompts: str = "truncate", *, alone: bool = False
    ) -> list[Prompts]:
        """``encode_prompts`` of every prompt by itself, without that dimension; lengths may differ.

        On a GPU ``TEXTS_AT_ONCE`` pieces share a pass, and the last one is filled up; elsewhere, and
        with ``alone``, which takes the least memory, every prompt has its own. Either way its
        embedding does not depend on the prompts beside it.
        """
        shared = self.device.type == "cuda" and not alone
        return self._encode(prompts, long_prompts, TEXTS_AT_ONCE if shared else 0)

    def encode_text(self, prompts: Sequence[str], long_prompts: str = "truncate") -> Tensor:
        """Prompts -> last hidden states after the final layer norm, (B, 77, D), or (B, 77k, D).

        ``long_prompts``: "truncate" keeps the first 77 tokens; "chunk" splits longer prompts into
        pieces of 75 words' tokens, each framed by start and end and encoded, joined along the
        sequence; "released" cuts the raw ids of prompts of over 70 space-separated words in pieces
        of 77, the last one as long as it comes, and truncates every other prompt, as the released
        code does. All prompts of a call must give the same length; call once per prompt to mix lengths.
        """
        return self.encode_prompts(prompts, long_prompts).text

    def _encode(self, prompts: Sequence[str], long_prompts: str, at_once: int) -> list[Prompts]:
        """Each prompt encoded; ``at_once`` pieces share a pass, which is filled up, or none do (0)."""
        found = [self._token_ids(prompt, long_prompts) for prompt in prompts]
        ids = [pieces for pieces, _ in found]  # (k,77) each
        if at_once and ids:
            pieces = torch.cat(ids)
            filled = torch.cat([pieces, pieces[-1:].expand(-len(pieces) % at_once, -1)])
            hidden = torch.cat([self._hidden(part) for part in filled.split(at_once)])
            each = hidden[: len(pieces)].split([len(one) for one in ids])
        else:
            each = tuple(self._hidden(one) for one in ids)
        return [
            Prompts(hidden.flatten(0, 1)[:length], self._are_words(pieces.flatten()[:length]))
            for hidden, (pieces, length) in zip(each, found, strict=True)
        ]

    def _hidden(self, ids: Tensor) -> Tensor:
        """(k, 77) -> (k, 77, D)."""
        return self.text_encoder(to_device(ids, self.device))[0]  # type: ignore[no-any-return]

    def _are_words(self, ids: Tensor) -> Tensor:
        """(L,) ids -> (L,) bool on the backbone's device."""
        special = set(self.tokenizer.all_special_ids)
        numbers = ids.tolist()
        texts = self.tokenizer.convert_ids_to_tokens(numbers)
        words = [
            number not in special and any(letter.isalnum() for letter in text)
            for number, text in zip(numbers, texts, strict=True)
        ]
        return to_device(torch.tensor(words), self.device)

    def no_text(self, length: int | None = None) -> Tensor:
        """The empty prompt's embedding, (1, 77, D), computed once; repeated to ``length``, a multiple of
        77."""
        key = (self.device, self.dtype)
        if self._no_text is None or self._no_text[0] != key:
            with torch.inference_mode(False), torch.no_grad():
                self._no_text = (key, self.encode_text([""]))
        one = self._no_text[1]
        return one if length is None else one.repeat(1, length // one.shape[1], 1)

    def _token_ids(self, prompt: str, long_prompts: str) -> tuple[Tensor, int]:
        """Ids of the prompt in pieces, (k, 77), and how many of their places count."""
        tokenizer = self.tokenizer
        limit = int(tokenizer.model_max_length)
        if long_prompts == "released" and len(prompt.split(" ")) > 70:
            raw = tokenizer(prompt, truncation=False, verbose=False)["input_ids"]
            filled = raw + [tokenizer.pad_token_id] * (-len(raw) % limit)
            return torch.tensor(filled).reshape(-1, limit), len(raw)
        if long_prompts == "chunk":
            words = tokenizer(prompt, truncation=False, add_special_tokens=False, verbose=False)[
                "input_ids"
            ]
            inner = limit - 2
            pieces = [words[i : i + inner] for i in range(0, len(words), inner)] or [[]]
            start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
            framed = [[start, *piece, end] for piece in pieces]
            pad = tokenizer.pad_token_id
            ids = torch.tensor([piece + [pad] * (limit - len(piece)) for piece in framed])
            return ids, ids.numel()
        padded = tokenizer(prompt, padding="max_length", max_length=limit, truncation=True)
        return torch.tensor([padded["input_ids"]]), limit


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on the CPU -> on ``device``, without waiting for a GPU's queued work."""
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def _checkpointed_encoder(encoder: Any, images: Tensor) -> Tensor:
    """The VAE encoder's forward, each residual block recomputed in the backward pass."""
    from torch.utils.checkpoint import checkpoint

    def run(module: nn.Module, hidden: Tensor) -> Tensor:
        return checkpoint(module, hidden, use_reentrant=False)  # type: ignore[no-any-return]

    hidden = run(encoder.conv_in, images)
    for block in encoder.down_blocks:
        for resnet in block.resnets:
            hidden = checkpoint(resnet, hidden, None, use_reentrant=False)
        for downsampler in block.downsamplers or ():
            hidden = run(downsampler, hidden)
    hidden = run(encoder.mid_block, hidden)
    return encoder.conv_out(encoder.conv_act(encoder.conv_norm_out(hidden)))  # type: ignore[no-any-return]
