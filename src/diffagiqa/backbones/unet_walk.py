"""Latents + text -> named features of the U-Net; nothing after the last one wanted is computed."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from diffagiqa.errors import ConfigError

LATENTS = "latents"
WORDS = ".words"

_Walk = Generator[tuple[str, Tensor], None, Tensor]  # yields (name, feature), returns the output


def unet_features(
    unet: nn.Module,
    latents: Tensor,
    timestep: int,
    text: Tensor,
    names: Sequence[str],
    checkpoint_activations: bool = False,
) -> dict[str, Tensor]:
    """Features of one pass through the U-Net, by module name, in the order of ``names``.

    ``latents`` (B, C, h, w), ``text`` (B, L, D). ``up_blocks.1.attentions.0`` gives the GEGLU output
    of its first transformer block, h * gelu(g), (B, 4 * channels, h', w'), and with ``.words`` behind it
    that block's cross-attention, (B, L, h', w'); ``up_blocks.3.resnets.2`` gives the residual block's
    output; ``latents`` what the U-Net is given.
    Raises ``ConfigError`` for a name the U-Net lacks.
    """
    wanted = set(names)
    found: dict[str, Tensor] = {}
    words = any(name.endswith(WORDS) for name in names)
    for name, feature in walk_unet(unet, latents, timestep, text, checkpoint_activations, words):
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
    words: bool = False,
) -> Iterator[tuple[str, Tensor]]:
    """Compute the U-Net step by step, yielding (name, feature): first the latents it is given, then
    what every residual block and attention makes of them; with ``words`` also cross-attentions.

    Lazy: what follows a yielded feature is computed only when the next one is asked for, so a caller
    that stops asking stops the arithmetic, inside the last transformer block too.
    """
    yield LATENTS, latents
    latents, text = latents.to(unet.dtype), text.to(unet.dtype)
    step = _Step(unet, latents, timestep, text, checkpoint_activations, words)
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
        self, unet: Any, latents: Tensor, timestep: int, text: Tensor, checkpoint: bool, words: bool
    ) -> None:
        # (B,): diffusers expands a scalar, but only where a tensor is given is the device right.
        steps = torch.full((latents.shape[0],), timestep, device=latents.device)
        self.time = unet.time_embedding(unet.time_proj(steps).to(latents.dtype))
        self.text = text
        self.words = words
        self.checkpoint = checkpoint and torch.is_grad_enabled()

    def residual(self, name: str, resnet: nn.Module, hidden: Tensor) -> _Walk:
        hidden = self._run(resnet, hidden, self.time)
        yield name, hidden
        return hidden

    def attention(self, name: str, transformer: Any, hidden: Tensor) -> _Walk:
        tokens, gated = self._run(_until_gate, transformer, hidden, self.text)
        yield name, _to_map(gated, hidden)
        if self.words:
            yield name + WORDS, cross_attention(transformer, hidden, self.text)
        return self._run(_after_gate, transformer, hidden, tokens, gated, self.text)  # type: ignore[no-any-return]

    def _run(self, function: Any, *inputs: Any) -> Any:
        if not self.checkpoint:
            return function(*inputs)
        from torch.utils.checkpoint import checkpoint

        return checkpoint(function, *inputs, use_reentrant=False)


def _until_gate(transformer: Any, hidden: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
    """Transformer2DModel up to ``transformer_blocks[0].ff.net[0]``: tokens and the gated product."""
    block = transformer.transformer_blocks[0]
    tokens = _self_attended(transformer, hidden)
    tokens = tokens + block.attn2(block.norm2(tokens), encoder_hidden_states=text)
    return tokens, block.ff.net[0](block.norm3(tokens))


def cross_attention(transformer: Any, hidden: Tensor, text: Tensor) -> Tensor:
    """Cross-attention of ``transformer_blocks[0]``: (B, C, h, w), (B, L, D) -> (B, L, h, w).

    softmax(q k^T * scale) over the tokens, averaged over the heads (as DAAM, arXiv 2210.04885).
    """
    block = transformer.transformer_blocks[0]
    attention = block.attn2
    query, key = (
        part.unflatten(2, (attention.heads, -1)).transpose(1, 2)  # (B,heads,N,d)
        for part in (
            attention.to_q(block.norm2(_self_attended(transformer, hidden))),
            attention.to_k(text),
        )
    )
    weights = (
        (query @ key.transpose(-1, -2) * attention.scale).float().softmax(-1)
    )  # (B,heads,hw,L)
    return weights.mean(1).transpose(1, 2).unflatten(2, hidden.shape[-2:])


def _self_attended(transformer: Any, hidden: Tensor) -> Tensor:
    tokens = transformer.norm(hidden)
    if transformer.use_linear_projection:  # Stable Diffusion 2
        tokens = transformer.proj_in(_to_tokens(tokens))
    else:
        tokens = _to_tokens(transformer.proj_in(tokens))
    block = transformer.transformer_blocks[0]
    return tokens + block.attn1(block.norm1(tokens))  # type: ignore[no-any-return]


def _after_gate(
    transformer: Any, hidden: Tensor, tokens: Tensor, gated: Tensor, text: Tensor
) -> Tensor:
    """The rest of the Transformer2DModel, from the gated product to its output."""
    first, *others = transformer.transformer_blocks
    tokens = tokens + first.ff.net[2](first.ff.net[1](gated))
    for block in others:
        tokens = block(tokens, encoder_hidden_states=text)
    if transformer.use_linear_projection:
        return hidden + _to_map(transformer.proj_out(tokens), hidden)
    return hidden + transformer.proj_out(_to_map(tokens, hidden))


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
                names.append(f"{prefix}.attentions.{j}")
    return names


def feature_channels(unet: Any, names: Sequence[str]) -> tuple[int, ...]:
    """Channels of the named features, read from the modules' own shapes."""
    channels = []
    for name in names:
        if name == LATENTS:
            channels.append(int(unet.config.in_channels))
            continue
        try:
            module: Any = unet.get_submodule(name)
        except AttributeError:
            raise ConfigError(
                f"the U-Net has no feature {name}; it has {', '.join(feature_names(unet))}"
            ) from None
        if name.split(".")[-2] == "attentions":
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
        raise ConfigError(
            f"the U-Net has no feature {', '.join(unknown)}; it has {', '.join(order)}"
        )
    last = max(names, key=order.index)
    unet.conv_norm_out = unet.conv_act = unet.conv_out = None
    for name in order[order.index(last) + 1 :]:
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
        transformer = unet.get_submodule(last)
        transformer.proj_out = None
        transformer.transformer_blocks = nn.ModuleList([transformer.transformer_blocks[0]])
        transformer.transformer_blocks[0].ff.net = nn.ModuleList(
            [transformer.transformer_blocks[0].ff.net[0]]
        )


def _blocks(unet: Any) -> list[tuple[str, Any]]:
    return [
        *((f"down_blocks.{i}", block) for i, block in enumerate(unet.down_blocks)),
        ("mid_block", unet.mid_block),
        *((f"up_blocks.{i}", block) for i, block in enumerate(unet.up_blocks)),
    ]
