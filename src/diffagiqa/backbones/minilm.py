"""MiniLM, the default's text encoder, by PyTorch's own layers: transformers takes a second to import."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

WIDTH, LAYERS, HEADS = 384, 6, 12
VOCABULARY, POSITIONS = 30522, 512
EPSILON = 1e-12
_NAMES = {
    "attention.output.dense": "self_attn.out_proj", "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "linear1", "output.dense": "linear2", "output.LayerNorm": "norm2",
}  # fmt: skip
"""BERT's name of a part of a layer -> PyTorch's."""


class MiniLM(nn.Module):
    """all-MiniLM-L6-v2: a BERT of six layers, without its pooler."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding.from_pretrained(torch.empty(VOCABULARY, WIDTH))
        self.positions = nn.Embedding.from_pretrained(torch.empty(POSITIONS, WIDTH))
        self.norm = nn.LayerNorm(WIDTH, eps=EPSILON)
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, 0.0, "gelu", layer_norm_eps=EPSILON, batch_first=True
        )
        self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Token ids (B, L) -> last hidden states (B, L, 384)."""
        states = self.words(ids) + self.positions.weight[: ids.shape[1]]
        return self.layers(self.norm(states))  # type: ignore[no-any-return]


def from_bert(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of transformers' ``BertModel`` -> that of ``MiniLM``. Raises ``KeyError``."""
    start = "embeddings."
    state = {
        "words.weight": weights[f"{start}word_embeddings.weight"],
        # All tokens are of one kind, so its embedding is part of the positions'.
        "positions.weight": weights[f"{start}position_embeddings.weight"]
        + weights[f"{start}token_type_embeddings.weight"][0],
    }
    for part in ("weight", "bias"):
        state[f"norm.{part}"] = weights[f"{start}LayerNorm.{part}"]
        for number in range(LAYERS):
            theirs, ours = f"encoder.layer.{number}", f"layers.layers.{number}"
            state[f"{ours}.self_attn.in_proj_{part}"] = torch.cat(
                [
                    weights[f"{theirs}.attention.self.{name}.{part}"]
                    for name in ("query", "key", "value")
                ]
            )
            for old, new in _NAMES.items():
                state[f"{ours}.{new}.{part}"] = weights[f"{theirs}.{old}.{part}"]
    return state
