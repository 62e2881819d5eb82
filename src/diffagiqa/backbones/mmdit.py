"""Stable Diffusion 3 and 3.5 (MMDiT: image and text tokens in joint blocks) as a frozen backbone."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from diffagiqa.backbones.base import Defaults, Prompts
from diffagiqa.backbones.flow import (
    LATENTS,
    WORDS,
    FlowTransformer,
    as_map,
    as_row,
    attention_to_words,
)
from diffagiqa.backbones.names import CONDITION, TEXT
from diffagiqa.backbones.text import are_words, tokens_within, word_positions
from diffagiqa.backbones.text_encoders import clip_pair
from diffagiqa.errors import ConfigError

T5_TOKENS = 256


class StableDiffusion3(FlowTransformer):
    """Stable Diffusion 3 or 3.5, with or without its T5 text encoder.

    Default blocks 4, 8 and 12 as in DiNa-LRM (arXiv 2602.11146), which scores with those of SD3.5 Medium.
    """

    blocks = "transformer_blocks"
    licence = "Stability AI Community License (free below 1 million US dollars of revenue a year)"
    defaults = Defaults(
        tuple(f"transformer_blocks.{i}" for i in (3, 7, 11)),
        image_size=1024,
        fit="native",
        timestep=100,
    )

    @property
    def longest_side(self) -> int:  # type: ignore[override]
        """As far as its positions go: 6144 pixels for SD3.5 Medium."""
        return self.side_multiple * int(self.transformer.config.pos_embed_max_size)

    @property
    def width(self) -> int:
        return int(self.transformer.inner_dim)

    @property
    def condition_width(self) -> int:
        return self.width

    def walk(
        self, latents: Tensor, prompts: Prompts, sigma: float, words: Collection[str] = ()
    ) -> Iterator[tuple[str, Tensor]]:
        network, dtype = self.transformer, self.dtype
        yield LATENTS, latents
        height, width = (side // network.config.patch_size for side in latents.shape[-2:])
        assert prompts.pooled is not None
        time = torch.full((len(latents),), 1000 * sigma, device=latents.device)
        condition = network.time_text_embed(time, prompts.pooled.to(dtype))
        yield CONDITION, condition[:, :, None, None]
        image = network.pos_embed(latents.to(dtype)).contiguous()  # (B,N,C)
        text = network.context_embedder(prompts.text.to(dtype))  # (B,L,C)
        for i, block in enumerate(network.transformer_blocks):
            if (name := f"{self.blocks}.{i}{WORDS}") in words:
                yield name, as_map(_words_seen(block, image, text, condition), height, width)
            text, image = self.run(
                block, hidden_states=image, encoder_hidden_states=text, temb=condition
            )
            yield f"{self.blocks}.{i}", as_map(image, height, width)
            if text is not None:
                yield f"{self.blocks}.{i}{TEXT}", as_row(text)

    @torch.no_grad()
    def encode_prompts(
        self, prompts: Sequence[str], long_prompts: str = "truncate"
    ) -> list[Prompts]:
        """77 tokens of two CLIP encoders, padded to T5's width, then 256 of T5: (333, D) each.

        Longer prompts are cut there, so ``long_prompts`` other than "truncate" is a ``ConfigError``.
        Zeros stand for a T5 that the folder lacks.
        """
        check_truncates(long_prompts, "Stable Diffusion 3 reads 256 tokens")
        first, second, *rest = self.text_encoders.loaded(self.device)
        return [self._encode(prompt, [first, second], rest) for prompt in prompts]

    def word_positions(
        self, prompt: str, spans: Sequence[tuple[int, int]], long_prompts: str = "truncate"
    ) -> list[list[int]]:
        """Of CLIP's 77 tokens, then of T5's, where it is there."""
        clip, _, *rest = self.text_encoders.tokenizers
        positions = word_positions(clip, prompt, spans, long_prompts)
        if not rest or not rest[0].is_fast:
            return positions
        cut = {"max_length": T5_TOKENS, "truncation": True, "return_offsets_mapping": True}
        offsets, before = rest[0](prompt, **cut)["offset_mapping"], int(clip.model_max_length)
        return [
            short + [before + token for token in tokens_within(offsets, *span)]
            for short, span in zip(positions, spans, strict=True)
        ]

    def _encode(self, prompt: str, pair: Sequence, rest: Sequence) -> Prompts:  # type: ignore[type-arg]
        clip = clip_pair(pair, prompt, self.device)
        width = int(self.transformer.config.joint_attention_dim)
        if not rest:
            long = clip.text.new_zeros(T5_TOKENS, width)
            words = clip.words.new_zeros(T5_TOKENS)
        else:
            ((tokenizer, network),) = rest
            ids = torch.tensor(
                tokenizer(prompt, padding="max_length", max_length=T5_TOKENS, truncation=True)[
                    "input_ids"
                ]
            )
            long = network(ids[None].to(self.device))[0][0].to(clip.text.dtype)
            words = are_words(tokenizer, ids).to(self.device)
        short = F.pad(clip.text, (0, width - clip.text.shape[-1]))
        return Prompts(torch.cat([short, long]), torch.cat([clip.words, words]), clip.pooled)


def _words_seen(block: Any, image: Tensor, text: Tensor, condition: Tensor) -> Tensor:
    """(B, N, C), (B, L, C), (B, C) -> how much image positions look at the text, (B, N, L)."""
    attention = block.attn
    image = block.norm1(image, emb=condition)[0]
    if block.context_pre_only:
        text = block.norm1_context(text, condition)
    else:
        text = block.norm1_context(text, emb=condition)[0]
    query, key = (
        part.unflatten(2, (attention.heads, -1))
        for part in (attention.to_q(image), attention.add_k_proj(text))
    )
    query = query if attention.norm_q is None else attention.norm_q(query)
    key = key if attention.norm_added_k is None else attention.norm_added_k(key)
    return attention_to_words(query, key)


def check_truncates(long_prompts: str, limit: str) -> None:
    """Raise ``ConfigError`` where prompts are not to be cut at the text encoder's own limit."""
    if long_prompts != "truncate":
        raise ConfigError(f'long_prompts is "{long_prompts}" and {limit}; expected "truncate"')
