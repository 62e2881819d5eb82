"""Tokens of a diffusion transformer -> one score: learnt queries attend to image and text tokens.

The head of DiNa-LRM (arXiv 2602.11146), whose public weights it takes, and which can be trained on any
transformer backbone in place of pyramid and fusion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffagiqa.backbones.names import CONDITION, TEXT
from diffagiqa.device import at_least_float32, without_autocast


class AllTokens(nn.Module):
    """In place of a pyramid: the features as they are, for heads that attend to them."""

    def forward(self, features: Mapping[str, Tensor], passes: int) -> list[dict[str, Tensor]]:
        """(passes * B, C, h, w) by name -> one such dictionary, (B, ...) each, per pass."""
        parts = {name: at_least_float32(maps).chunk(passes) for name, maps in features.items()}
        return [{name: part[i] for name, part in parts.items()} for i in range(passes)]


class LayerAdapter(nn.Module):
    """Tokens of one layer, modulated by the backbone's condition (FiLM) -> a quarter of the width."""

    def __init__(self, inputs: int, condition: int, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(inputs, width) if inputs != width else nn.Identity()
        self.film = nn.Sequential(
            nn.Linear(condition, 2 * width), nn.SiLU(), nn.Linear(2 * width, 2 * width)
        )
        for parameter in self.film[-1].parameters():
            nn.init.zeros_(parameter)  # at first nothing is modulated
        self.layer = nn.Parameter(0.02 * torch.randn(width))
        self.reduce = nn.Linear(width, width // 4)

    def forward(self, tokens: Tensor, condition: Tensor) -> Tensor:
        """(B, N, inputs), (B, condition) -> (B, N, width / 4)."""
        gamma, beta = self.film(condition).unsqueeze(1).chunk(2, dim=-1)  # (B,1,width) each
        return self.reduce(self.project(tokens) * (1 + gamma) + beta + self.layer)  # type: ignore[no-any-return]


class TokenAttention(nn.Module):
    """One kind of tokens as the queries see them: keys, and values that a gate opens or closes."""

    def __init__(self, width: int, heads: int, gated: bool) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.RMSNorm(width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.gate = None
        if gated:
            self.gate = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))
            for parameter in self.gate[-1].parameters():
                nn.init.zeros_(parameter)  # half open

    def forward(self, queries: Tensor, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, Q, width), (B, N, width) -> (B, Q, width); ``mask`` (B, N): which tokens there are."""
        tokens = self.norm(tokens)
        value = self.value(tokens)
        if self.gate is not None:
            value = value * torch.sigmoid(self.gate(tokens))
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B,heads,*,d)
            for part in (queries, self.key(tokens), value)
        )
        where = None if mask is None else mask[:, None, None, :]
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=where)
        return attended.transpose(1, 2).flatten(2)


class QueryHead(nn.Module):
    """Layers of image and text tokens -> a few queries -> one score."""

    def __init__(
        self, channels: Mapping[str, int], *, width: int = 0, queries: int = 4, heads: int = 8
    ) -> None:
        """``channels`` by the feature's name: ``condition``, names that end in ``.text``, and at least
        one layer of image tokens. ``width`` 0: that of the image tokens."""
        super().__init__()
        self.text_names = [name for name in channels if name.endswith(TEXT)]
        self.image_names = [n for n in channels if n not in (CONDITION, *self.text_names)]
        width = width or channels[self.image_names[0]]
        condition = channels[CONDITION]

        def adapters(names: Sequence[str]) -> nn.ModuleList:
            return nn.ModuleList(LayerAdapter(channels[name], condition, width) for name in names)

        self.image_layers = adapters(self.image_names)
        self.image_join = nn.Linear(len(self.image_names) * (width // 4), width)
        self.image_first = TokenAttention(width, heads, gated=True)
        self.image_second = TokenAttention(width, heads, gated=False)
        if self.text_names:
            self.text_layers = adapters(self.text_names)
            self.text_join = nn.Linear(len(self.text_names) * (width // 4), width)
            self.text_first = TokenAttention(width, heads, gated=True)
        self.queries = nn.Parameter(0.02 * torch.randn(queries, width))
        self.norms = nn.ModuleList(nn.RMSNorm(width) for _ in range(3))
        self.query_first, self.query_second = (nn.Linear(width, width) for _ in range(2))
        self.out_first, self.out_second = (nn.Linear(width, width) for _ in range(2))
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.score = nn.Linear(width, 1)

    def fusion(self, features: Mapping[str, Tensor]) -> Tensor:
        """Features of the backbone by name, (B, C, h, w) each -> the queries, (B, width, 1, Q)."""
        condition = features[CONDITION].flatten(1)  # (B,E)
        image = _joined(self.image_layers, self.image_join, features, self.image_names, condition)
        queries = self.queries.expand(len(image), -1, -1)
        asked = self.query_first(self.norms[0](queries))
        attended = self.image_first(asked, image)
        if self.text_names:
            text = _joined(self.text_layers, self.text_join, features, self.text_names, condition)
            mask = features[self.text_names[0]].flatten(2).ne(0).any(1)  # (B,L): zeros are no token
            attended = attended + self.text_first(asked, text, None if mask.all() else mask)
        queries = queries + self.out_first(attended)
        asked = self.query_second(self.norms[1](queries))
        queries = queries + self.out_second(self.image_second(asked, image))
        queries = queries + self.feed_forward(self.norms[2](queries))
        return queries.transpose(1, 2).unsqueeze(2)

    fuse = fusion

    def regress(self, fused: Tensor) -> Tensor:
        """(B, width, 1, Q) -> (B,), about [0, 1]: 0.5 + raw / 20.

        Unbounded: what is printed for DiNa-LRM, (raw + 10) / 10, is twice this.
        """
        with without_autocast(fused.device):
            queries = fused.flatten(2).transpose(1, 2).to(self.score.weight.dtype)
            return 0.5 + self.score(queries).mean(dim=(1, 2)) / 20  # type: ignore[no-any-return]


def _joined(
    layers: nn.ModuleList,
    join: nn.Linear,
    features: Mapping[str, Tensor],
    names: Sequence[str],
    condition: Tensor,
) -> Tensor:
    """Layers of one kind of tokens, side by side -> (B, N, width)."""
    parts = [
        layer(features[name].flatten(2).transpose(1, 2), condition)
        for layer, name in zip(layers, names, strict=True)
    ]
    return join(torch.cat(parts, dim=-1))  # type: ignore[no-any-return]
