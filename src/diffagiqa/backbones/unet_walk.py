"""Latents + text -> named features of the U-Net; nothing after the last one wanted is computed."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from diffagiqa.errors import ConfigError

LATENTS = "latents"
BLOCKS = "transformer_blocks"
WORDS = ".words"
CROSS = ".attn2"
QUERY = ".attn2.to_q"

_Walk = Generator[tuple[str, Tensor], None, Tensor]  # yields (name, feature), returns the output


def unet_features(
    unet: nn.Module,
    latents: Tensor,
    timestep: int,
    text: Tensor,
    names: Sequence[str],
    checkpoint_activations: bool = False,
    condition: Tensor | None = None,
) -> dict[str, Tensor]:
    """Features of one pass through the U-Net, by module name, in the order of ``names``.

    ``latents`` (B, C, h, w), ``text`` (B, L, D), ``condition`` (B, E) is added to the time embedding.
    ``up_blocks.1.attentions.0`` gives the GEGLU output of its first transformer block, h * gelu(g),
    (B, 4 * channels, h', w'), and with ``.words`` behind it that block's cross-attention, (B, L, h', w');
    ``up_blocks.3.resnets.2`` the residual block's output; ``latents`` what the
    U-Net is given. Inside an attention, ``*.transformer_blocks.5`` gives a block's output, and its
    ``.attn2`` and ``.attn2.to_q`` those of its cross-attention and query, (B, channels, h', w').
    Raises ``ConfigError`` for a name the U-Net lacks.
    """
    wanted = set(names)
    found: dict[str, Tensor] = {}
    walk = walk_unet(unet, latents, timestep, text, checkpoint_activations, condition, wanted)
    for name, feature in walk:
        if name in wanted:
            found[name] = feature
            if len(found) == len(wanted):
                break  # the walk is lazy: the rest of the U-Net is never computed
    missing = [name for name in names if name not in found]
    if missing:
        raise ConfigError(
            f"the U-Net has no feature {', '.join(missing)}; "
            "expected names such as up_blocks.1.attentions.0 or mid_block.resnets.1"
        )
    return {name: found[name] for name in names}


def walk_unet(
    unet: Any,
    latents: Tensor,
    timestep: int,
    text: Tensor,
    checkpoint_activations: bool = False,
    condition: Tensor | None = None,
    extras: Collection[str] = (),
) -> Iterator[tuple[str, Tensor]]:
    """Compute the U-Net step by step, yielding (name, feature): first the latents it is given, then
    what every residual block and attention makes of them. Of ``*.to_q`` and ``*.words``, which cost a
    product that attention computes again, only those in ``extras``.

    Lazy: what follows a yielded feature is computed only when the next one is asked for, so a caller
    that stops asking stops the arithmetic, inside the last transformer block too.
    """
    yield LATENTS, latents
    latents, text = latents.to(unet.dtype), text.to(unet.dtype)
    step = _Step(unet, latents, timestep, text, checkpoint_activations, condition, extras)
    hidden = unet.conv_in(latents)
    skips = [hidden]

    for i, block in enumerate(unet.down_blocks):
        attentions = getattr(block, "attentions", ())
        for j, resnet in enumerate(block.resnets):
            place = f"down_blocks.{i}"
            hidden = yield from step.residual(f"{place}.resnets.{j}", resnet, hidden)
            if j < len(attentions):
                hidden = yield from step.attention(f"{place}.attentions.{j}", attentions[j], hidden)
            skips.append(hidden)
        for downsampler in block.downsamplers or ():
            hidden = downsampler(hidden)
            skips.append(hidden)

    for j, resnet in enumerate(unet.mid_block.resnets):
        hidden = yield from step.residual(f"mid_block.resnets.{j}", resnet, hidden)
        if j < len(unet.mid_block.attentions):
            attention = unet.mid_block.attentions[j]
            hidden = yield from step.attention(f"mid_block.attentions.{j}", attention, hidden)

    for i, block in enumerate(unet.up_blocks):
        attentions = getattr(block, "attentions", ())
        for j, resnet in enumerate(block.resnets):
            place = f"up_blocks.{i}"
            hidden = torch.cat([hidden, skips.pop()], dim=1)
            hidden = yield from step.residual(f"{place}.resnets.{j}", resnet, hidden)
            if j < len(attentions):
                hidden = yield from step.attention(f"{place}.attentions.{j}", attentions[j], hidden)
        for upsampler in block.upsamplers or ():
            hidden = upsampler(hidden)


class _Step:
    """The inputs that every block of one U-Net pass shares."""

    def __init__(
        self,
        unet: Any,
        latents: Tensor,
        timestep: int,
        text: Tensor,
        checkpoint: bool,
        condition: Tensor | None,
        extras: Collection[str],
    ) -> None:
        # (B,): diffusers expands a scalar, but only where a tensor is given is the device right.
        steps = torch.full((latents.shape[0],), timestep, device=latents.device)
        self.time = unet.time_embedding(unet.time_proj(steps).to(latents.dtype))
        if condition is not None:
            self.time = self.time + condition
        self.text = text
        self.checkpoint = checkpoint and torch.is_grad_enabled()
        self.extras = extras

    def residual(self, name: str, resnet: nn.Module, hidden: Tensor) -> _Walk:
        hidden = self._run(resnet, hidden, self.time)
        yield name, hidden
        return hidden

    def attention(self, name: str, transformer: Any, hidden: Tensor) -> _Walk:
        tokens = self._run(_entering, transformer, hidden)
        for i, block in enumerate(transformer.transformer_blocks):
            inner = f"{name}.{BLOCKS}.{i}"
            tokens = self._run(_self_attended, block, tokens)
            if (query := inner + QUERY) in self.extras:
                yield query, _to_map(block.attn2.to_q(block.norm2(tokens)), hidden)
            if i == 0 and (words := name + WORDS) in self.extras:
                yield words, cross_attention(block, tokens, self.text, hidden)
            crossed = self._run(_cross_attended, block, tokens, self.text)
            yield inner + CROSS, _to_map(crossed, hidden)
            tokens = tokens + crossed
            gated = self._run(_gated, block, tokens)
            if i == 0:
                yield name, _to_map(gated, hidden)
            tokens = self._run(_after_gate, block, tokens, gated)
            yield inner, _to_map(tokens, hidden)
        return self._run(_leaving, transformer, tokens, hidden)  # type: ignore[no-any-return]

    def _run(self, function: Any, *inputs: Any) -> Any:
        if not self.checkpoint:
            return function(*inputs)
        from torch.utils.checkpoint import checkpoint

        return checkpoint(function, *inputs, use_reentrant=False)


def _entering(transformer: Any, hidden: Tensor) -> Tensor:
    """(B, C, h, w) -> tokens (B, hw, C) of a Transformer2DModel."""
    hidden = transformer.norm(hidden)
    if transformer.use_linear_projection:  # Stable Diffusion 2 and XL
        return transformer.proj_in(_to_tokens(hidden))  # type: ignore[no-any-return]
    return _to_tokens(transformer.proj_in(hidden))


def _self_attended(block: Any, tokens: Tensor) -> Tensor:
    return tokens + block.attn1(block.norm1(tokens))  # type: ignore[no-any-return]


def _cross_attended(block: Any, tokens: Tensor, text: Tensor) -> Tensor:
    return block.attn2(block.norm2(tokens), encoder_hidden_states=text)  # type: ignore[no-any-return]


def cross_attention(block: Any, tokens: Tensor, text: Tensor, like: Tensor) -> Tensor:
    """Cross-attention of a block: tokens (B, hw, C), text (B, L, D) -> (B, L, h, w).

    softmax(q k^T * scale) over the text, averaged over the heads (as DAAM, arXiv 2210.04885).
    """
    attention = block.attn2
    query, key = (
        part.unflatten(2, (attention.heads, -1)).transpose(1, 2)  # (B,heads,N,d)
        for part in (attention.to_q(block.norm2(tokens)), attention.to_k(text))
    )
    weights = query @ key.transpose(-1, -2) * attention.scale  # (B,heads,hw,L)
    return _to_map(weights.float().softmax(-1).mean(1), like)


def _gated(block: Any, tokens: Tensor) -> Tensor:
    return block.ff.net[0](block.norm3(tokens))  # type: ignore[no-any-return]


def _after_gate(block: Any, tokens: Tensor, gated: Tensor) -> Tensor:
    return tokens + block.ff.net[2](block.ff.net[1](gated))  # type: ignore[no-any-return]


def _leaving(transformer: Any, tokens: Tensor, hidden: Tensor) -> Tensor:
    if transformer.use_linear_projection:
        return hidden + _to_map(transformer.proj_out(tokens), hidden)
    return hidden + transformer.proj_out(_to_map(tokens, hidden))  # type: ignore[no-any-return]


def _to_tokens(maps: Tensor) -> Tensor:
    return maps.flatten(2).transpose(1, 2)  # (B,C,H,W) -> (B,HW,C)


def _to_map(tokens: Tensor, like: Tensor) -> Tensor:
    height, width = like.shape[-2:]
    return tokens.transpose(1, 2).unflatten(2, (height, width))  # (B,HW,C) -> (B,C,H,W)


def feature_names(unet: Any) -> list[str]:
    """All the names this U-Net offers, in the order they are computed."""
    names = [LATENTS]
    for prefix, block in _blocks(unet):
        attentions = getattr(block, "attentions", ())
        for j in range(len(block.resnets)):
            names.append(f"{prefix}.resnets.{j}")
            if j < len(attentions):
                names += _names_inside(f"{prefix}.attentions.{j}", attentions[j])
    return names


def _shown(names: Sequence[str]) -> str:
    """Feature names for a message, without the many inside transformers."""
    return ", ".join(name for name in names if BLOCKS not in name)


def _names_inside(name: str, transformer: Any) -> list[str]:
    names = []
    for i in range(len(transformer.transformer_blocks)):
        inner = f"{name}.{BLOCKS}.{i}"
        names += [inner + QUERY, inner + CROSS, *([name] if i == 0 else []), inner]
    return names


def feature_channels(unet: Any, names: Sequence[str]) -> tuple[int, ...]:
    """Channels of the named features, read from the modules' own shapes."""
    channels = []
    for name in names:
        if name == LATENTS:
            channels.append(int(unet.config.in_channels))
            continue
        outer, _, inner = name.partition(f".{BLOCKS}.")
        try:
            module: Any = unet.get_submodule(outer)
        except AttributeError:
            raise ConfigError(
                f"the U-Net has no feature {name}; it has {_shown(feature_names(unet))}"
            ) from None
        if inner:
            channels.append(module.inner_dim)
        elif name.split(".")[-2] == "attentions":
            channels.append(module.transformer_blocks[0].ff.net[0].proj.out_features // 2)
        else:
            channels.append(module.out_channels)
    return tuple(channels)


def drop_unused(unet: Any, names: Sequence[str]) -> None:
    """Delete every module after the last wanted feature, so that it is never loaded.

    Works on a U-Net on the meta device, before its weights are read.
    """
    order = feature_names(unet)
    unknown = [name for name in names if name not in order]
    if unknown:
        raise ConfigError(f"the U-Net has no feature {', '.join(unknown)}; it has {_shown(order)}")
    last = max(names, key=order.index)
    unet.conv_norm_out = unet.conv_act = unet.conv_out = None
    last, _, inner = last.partition(f".{BLOCKS}.")
    for name in order[order.index(last) + 1 :]:
        if f".{BLOCKS}." in name:
            continue
        parent, index = name.rsplit(".", 1)
        modules = unet.get_submodule(parent)
        if int(index) < len(modules):
            del modules[int(index) :]
    for side in (unet.down_blocks, unet.up_blocks):
        while len(side) and not len(side[-1].resnets):
            del side[-1]
    if last.startswith("down_blocks"):
        unet.down_blocks[-1].downsamplers = None
    elif len(unet.up_blocks):
        unet.up_blocks[-1].upsamplers = None
    if ".attentions." in last:
        _drop_inside(unet.get_submodule(last), inner)


def _drop_inside(transformer: Any, inner: str) -> None:
    """Of the last transformer what follows a name inside it; of its own name, the first block's gate."""
    index, _, part = inner.partition(".")
    blocks = transformer.transformer_blocks
    transformer.proj_out = None
    del blocks[int(index or 0) + 1 :]
    if not inner:
        blocks[-1].ff.net = nn.ModuleList([blocks[-1].ff.net[0]])
    elif part:
        blocks[-1].norm3 = blocks[-1].ff = None


def _blocks(unet: Any) -> list[tuple[str, Any]]:
    return [
        *((f"down_blocks.{i}", block) for i, block in enumerate(unet.down_blocks)),
        ("mid_block", unet.mid_block),
        *((f"up_blocks.{i}", block) for i, block in enumerate(unet.up_blocks)),
    ]
