"""Attention in bfloat16 on a CPU by matrix products, where PyTorch's fused one is slower.

On AMD's CPUs, where matrix products are fast in bfloat16 and the fused attention is not, this takes
half to two thirds of the time (docs/speed.md). A product in bfloat16 keeps 8 bits of a logit, too few
before an exponential. So it is taken a second time, with the first result subtracted before it is
rounded; and softmax(a + b) for a small b is softmax(a) (1 + b), made to sum to one again.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor, nn

from diffagiqa.device import cpu_has_bfloat16, cpu_has_matrix_units

AT_ONCE = 2**20
"""Logits: 2 MB, which stay in the cache."""


class AttentionByProducts(AttnProcessor2_0):
    """diffusers' attention, by ``attend``."""

    def __call__(  # type: ignore[override]
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None, temb: Tensor | None = None, *args: Any, **kw: Any,
    ) -> Tensor:  # fmt: skip
        """Tokens (B, N, C) or maps (B, C, H, W), and tokens (B, K, D) to attend to -> as the first."""
        if attention_mask is not None or not products_are_faster(hidden_states):
            return super().__call__(  # type: ignore[no-any-return]
                attn, hidden_states, encoder_hidden_states, attention_mask, temb, *args, **kw
            )
        tokens = hidden_states
        if tokens.ndim == 4:
            tokens = tokens.flatten(2).transpose(1, 2)
        if attn.group_norm is not None:
            tokens = attn.group_norm(tokens.transpose(1, 2)).transpose(1, 2)
        others = tokens if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            part(given).unflatten(2, (attn.heads, -1)).transpose(1, 2)  # (B,heads,N,D)
            for part, given in ((attn.to_q, tokens), (attn.to_k, others), (attn.to_v, others))
        )
        found = attn.to_out[0](attend(query, key, value).transpose(1, 2).flatten(2))
        if hidden_states.ndim == 4:
            found = found.transpose(1, 2).unflatten(2, hidden_states.shape[2:])
        return found.add_(hidden_states) if attn.residual_connection else found  # type: ignore[no-any-return]


def attend_by_products(network: nn.Module) -> None:
    """Let a network compute its attentions by products where that is faster, in place."""
    for module in network.modules():
        if isinstance(module, Attention) and _is_plain(module):
            module.set_processor(AttentionByProducts())  # type: ignore[arg-type]


def products_are_faster(tensor: Tensor) -> bool:
    """Whether attention over these is computed by products: bfloat16 on an AMD CPU, no gradient."""
    return (
        tensor.device.type == "cpu"
        and tensor.dtype == torch.bfloat16
        and not torch.is_grad_enabled()
        and cpu_has_bfloat16()
        and not cpu_has_matrix_units()
    )


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """(B, H, N, D), (B, H, K, D) and (B, H, K, E) in bfloat16 -> (B, H, N, E), as
    ``torch.nn.functional.scaled_dot_product_attention``."""
    scale = query.shape[-1] ** -0.5
    batch = query.shape[:2]
    query, key, value = (part.flatten(0, 1) for part in (query, key, value))
    queries, keys = query.shape[1], key.shape[1]
    found = value.new_empty(len(value), queries, value.shape[2])
    nothing = value.new_zeros(1)
    value = torch.cat(
        [value, value.new_ones(*value.shape[:2], 1)], dim=2
    )  # the last one sums the weights
    rows = max(1, min(queries, AT_ONCE // keys))
    heads = max(1, AT_ONCE // (rows * keys))
    for of in (slice(i, i + heads) for i in range(0, len(query), heads)):
        across = key[of].transpose(1, 2)
        for at in (slice(i, i + rows) for i in range(0, queries, rows)):
            logits = torch.baddbmm(nothing, query[of, at], across, beta=0, alpha=scale)
            rest = torch.baddbmm(logits, query[of, at], across, beta=-1, alpha=scale)
            weights = torch.softmax(logits, dim=-1)
            sums = torch.bmm(weights.addcmul_(weights, rest), value[of])
            torch.div(sums[..., :-1], sums[..., -1:], out=found[of, at])
    return found.unflatten(0, batch)


def _is_plain(attention: Any) -> bool:
    """Whether it has nothing but what ``AttentionByProducts`` computes."""
    others = (attention.spatial_norm, attention.norm_cross, attention.norm_q, attention.norm_k)
    return (
        type(attention.processor) is AttnProcessor2_0
        and attention.rescale_output_factor == 1
        and all(part is None for part in others)
    )
