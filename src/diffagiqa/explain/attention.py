"""Where the U-Net's cross-attention sees each word: its probabilities, computed beside the walk.

No hook is attached: the walk over the U-Net yields the map that enters every transformer, and the
transformer's own layers, up to the cross-attention's softmax, are computed on it once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from diffagiqa.backbones.unet_walk import cross_attended, walk_unet
from diffagiqa.explain.words import Word
from diffagiqa.model.evidence import queries_and_keys


@torch.no_grad()
def attention_maps(
    unet: Any, latents: Tensor, timestep: int, text: Tensor, names: Sequence[str], size: int
) -> Tensor:
    """Mean cross-attention of the first block of every transformer up to the last of ``names``.

    ``latents`` (B, C, h, w), ``text`` (B, L, D). Returns (B, L, size, size): of each position, the
    share of its attention that goes to each token; over L it sums to 1. Mean over heads and layers,
    bilinear between positions (in the manner of DAAM, arXiv 2210.04885, at one timestep).
    """
    wanted, entering, maps = set(names), None, []
    for name, feature in walk_unet(unet, latents, timestep, text):
        if ".attentions." in name and entering is not None:
            transformer = unet.get_submodule(name)
            maps.append(_resized(probabilities(transformer, entering, text), size))
        else:
            entering = feature
        wanted.discard(name)
        if not wanted:
            break
    return torch.stack(maps).mean(0)


def probabilities(transformer: Any, hidden: Tensor, text: Tensor) -> Tensor:
    """Cross-attention of ``transformer_blocks[0]``: (B, C, h, w), (B, L, D) -> (B, L, h, w).

    softmax(q k^T * scale) over the tokens, averaged over the heads.
    """
    height, width = hidden.shape[-2:]
    attention = transformer.transformer_blocks[0].attn2
    compared = queries_and_keys(attention, cross_attended(transformer, hidden), text)
    query, key = (_heads(values, attention.heads) for values in compared)
    weights = (query @ key.transpose(-1, -2)).float().softmax(-1)  # (B,n,hw,L)
    return weights.mean(1).transpose(1, 2).unflatten(2, (height, width))


def token_places(tokenizer: Any, prompt: str, words: Sequence[Word]) -> list[list[int]]:
    """Of each word, the positions of its tokens; empty for a word beyond the text encoder's limit."""
    found = tokenizer(
        prompt,
        truncation=True,
        max_length=int(tokenizer.model_max_length),
        return_offsets_mapping=True,
    )["offset_mapping"]
    return [
        [i for i, (start, end) in enumerate(found) if start < word.end and end > word.start]
        for word in words
    ]


def word_maps(maps: Tensor, places: Sequence[Sequence[int]]) -> Tensor:
    """(L, S, S) attention by token -> (words, S, S), the mean over each word's tokens."""
    empty = torch.zeros_like(maps[0])
    return torch.stack([maps[list(place)].mean(0) if place else empty for place in places])


def _heads(values: Tensor, heads: int) -> Tensor:
    return values.unflatten(2, (heads, -1)).transpose(1, 2)  # (B,L,nd) -> (B,n,L,d)


def _resized(maps: Tensor, size: int) -> Tensor:
    return F.interpolate(maps, size=(size, size), mode="bilinear", align_corners=False)
