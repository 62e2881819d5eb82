"""How strongly a picture shows each word of its prompt, as the U-Net's cross-attention weighs it.

A cross-attention compares what every place of a map asks for with what every token of the prompt
offers. Before the softmax these products say how much a place looks like a token, whatever the other
tokens are. What they say of the whole picture is the token's ``evidence``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from diffagiqa.backbones.unet_walk import cross_attended, walk_unet
from diffagiqa.device import at_least_float32

WORD_STATISTICS = 8
SHARPNESS = 2.0
"""Between the mean over places (0) and the best place alone (infinity)."""


def queries_and_keys(attention: Any, hidden: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
    """What a diffusers ``Attention`` compares, its heads side by side: (B, HW, E) and (B, L, E).

    ``hidden`` (B, HW, C) as it enters the attention, ``text`` (B, L, D). The scale is in the queries.
    """
    return attention.to_q(hidden) * attention.scale, attention.to_k(text.to(hidden.dtype))


def evidence(queries: Tensor, keys: Tensor) -> Tensor:
    """(B, HW, E) and (B, L, E), or (L, E) for all pictures alike -> (B, L), float32 or more.

    With products m of a token: log(mean over places of exp(2 m)) / 2, a smooth maximum. Its sigmoid is
    the chance that the word is shown; the number of places hardly matters.
    """
    return pooled(queries @ keys.transpose(-1, -2))


def pooled(maps: Tensor) -> Tensor:
    """Products at every place, (B, HW, L) -> evidence, (B, L)."""
    values = at_least_float32(maps)
    return (torch.logsumexp(SHARPNESS * values, dim=1) - math.log(values.shape[1])) / SHARPNESS


def unet_evidence(
    unet: Any, latents: Tensor, timestep: int, text: Tensor, names: Sequence[str]
) -> list[Tensor]:
    """``evidence`` of every token in the first cross-attention of the named transformers, (B, L) each.

    ``latents`` (B, C, h, w), ``text`` (B, L, D). Nothing after the last of them is computed.
    """
    return [evidence(*compared) for compared in _comparisons(unet, latents, timestep, text, names)]


def unet_token_maps(
    unet: Any, latents: Tensor, timestep: int, text: Tensor, names: Sequence[str]
) -> list[Tensor]:
    """The products behind ``unet_evidence`` at every place, (B, L, h', w') per name."""
    maps = []
    for queries, keys in _comparisons(unet, latents, timestep, text, names):
        found = (queries @ keys.transpose(1, 2)).transpose(1, 2).float()  # (B,L,HW)
        # The transformers of a U-Net keep the picture's ratio of sides.
        width = round((found.shape[2] * latents.shape[3] / latents.shape[2]) ** 0.5)
        maps.append(found.unflatten(2, (-1, width)))
    return maps


def _comparisons(
    unet: Any, latents: Tensor, timestep: int, text: Tensor, names: Sequence[str]
) -> list[tuple[Tensor, Tensor]]:
    """Queries and keys of each named transformer's first block."""
    found: dict[str, tuple[Tensor, Tensor]] = {}
    # A residual block gives its transformer what enters it; of the last one nothing more is computed.
    before = {name.replace(".attentions.", ".resnets."): name for name in names}
    for place, entering in walk_unet(unet, latents, timestep, text):
        if place in before:
            name = before[place]
            transformer = unet.get_submodule(name)
            attention = transformer.transformer_blocks[0].attn2
            hidden = cross_attended(transformer, entering)
            found[name] = queries_and_keys(attention, hidden, text)
            if len(found) == len(before):
                break
    return [found[name] for name in names]


def word_statistics(evidences: Tensor, words: Tensor) -> Tensor:
    """Statistics of the evidence of a prompt's words: (B, L) and a mask (B, L) -> (B, 8).

    Over the words: mean and deviation, the lowest and the second lowest; mean chance; expected number
    of words that are not shown; mean log chance; log of 1 + the number of words. Zeros without words.
    """
    mask = words.to(evidences.dtype)
    count = mask.sum(1)
    some = count.clamp(min=1)
    mean = (evidences * mask).sum(1) / some
    spread = (((evidences - mean[:, None]).square() * mask).sum(1) / some + 1e-6).sqrt()
    lowest = evidences.masked_fill(~words, math.inf)
    low = lowest.topk(min(2, lowest.shape[1]), dim=1, largest=False).values
    low = torch.where(low.isfinite(), low, mean[:, None])
    chance = torch.sigmoid(evidences) * mask
    found = [
        mean, spread, low[:, 0], low[:, -1], chance.sum(1) / some, count - chance.sum(1),
        (F.logsigmoid(evidences) * mask).sum(1) / some, torch.log1p(count),
    ]  # fmt: skip
    return torch.stack(found, dim=1) * (count > 0).to(mask.dtype)[:, None]
