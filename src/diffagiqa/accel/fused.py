"""Residual blocks and group norms of a frozen diffusers network by ``kernels.py``, forward and backward.

On a CUDA device where Triton can build them; a network that was fused computes as before elsewhere.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from typing import Any

import torch
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class FusedGroupNorm(nn.GroupNorm):
    """The same norm in one pass that reads and one that writes, for maps laid out channels last."""

    @classmethod
    def of(cls, norm: nn.GroupNorm) -> FusedGroupNorm:
        """The same norm, holding the same parameters."""
        fused = cls(norm.num_groups, norm.num_channels, norm.eps, device="meta")
        fused.weight, fused.bias = norm.weight, norm.bias
        return fused.train(norm.training)

    def forward(self, maps: Tensor, before: Tensor | None = None, silu: bool = False) -> Tensor:
        """(B, C, ...) -> the same; ``before`` (C,) or (B, C) is added first, ``silu`` is taken last."""
        if self.weight.requires_grad or not uses_kernels(maps):
            return super().forward(maps)
        return _like(_GroupNorm.apply(_tokens(maps), self, before, silu), maps)  # type: ignore[no-untyped-call]

    def normalised(self, tokens: Tensor, before: Tensor | None, silu: bool) -> Any:
        """(B, positions, C) -> ``kernels.Normalised``."""
        from diffagiqa.accel.kernels import group_norm

        return group_norm(tokens, self.num_groups, self.weight, self.bias, self.eps, before, silu)


class _GroupNorm(torch.autograd.Function):
    """``FusedGroupNorm`` of frozen parameters, with the gradient in the maps; it keeps them alone."""

    @staticmethod
    def forward(
        context: Any, tokens: Tensor, norm: FusedGroupNorm, before: Tensor | None, silu: bool
    ) -> Tensor:
        found = norm.normalised(tokens, before, silu)
        context.save_for_backward(tokens, *found[1:])
        context.silu = silu
        return found.maps  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable  # type: ignore[misc]
    def backward(context: Any, gradients: Tensor) -> tuple[Tensor | None, ...]:
        from diffagiqa.accel.kernels import Normalised, group_norm_gradient

        tokens, *rest = context.saved_tensors
        found = Normalised(tokens, *rest)
        return group_norm_gradient(tokens, gradients.contiguous(), found, context.silu), *[None] * 3


class _BiasedSum(torch.autograd.Function):
    """tokens + bias + others, for a frozen bias."""

    @staticmethod
    def forward(context: Any, tokens: Tensor, bias: Tensor, others: Tensor) -> Tensor:
        from diffagiqa.accel.kernels import biased_sum

        return biased_sum(tokens, bias, others)

    @staticmethod
    @once_differentiable  # type: ignore[misc]
    def backward(context: Any, gradients: Tensor) -> tuple[Tensor, None, Tensor]:
        return gradients, None, gradients


class FusedResnet(ResnetBlock2D):
    """diffusers' residual block; biases, norms, activations and the sum take five passes, not fifteen."""

    def forward(self, hidden: Tensor, temb: Any = None, *args: Any, **kw: Any) -> Tensor:  # type: ignore[override]
        """(B, C, H, W), and (B, T) of the timestep in a U-Net -> (B, O, H, W)."""
        learns = any(parameter.requires_grad for parameter in self.parameters())
        if learns or not uses_kernels(hidden):
            return super().forward(hidden, temb, *args, **kw)  # type: ignore[no-any-return]
        inner = _without_bias(self.conv1, self.norm1(hidden, silu=True))
        before = self.conv1.bias
        if temb is not None and self.time_emb_proj is not None:
            before = before + self.time_emb_proj(F.silu(temb))  # type: ignore[operator]  # (B,C)
        inner = _without_bias(self.conv2, self.norm2(inner, before, silu=True))
        bias = self.conv2.bias
        if self.conv_shortcut is not None:
            hidden = _without_bias(self.conv_shortcut, hidden)
            bias = bias + self.conv_shortcut.bias  # type: ignore[operator]
        added = _BiasedSum.apply(_tokens(inner), bias, _tokens(hidden))  # type: ignore[no-untyped-call]
        return _like(added, inner)


def fuse(network: nn.Module) -> None:
    """Let a network's residual blocks and group norms take fewer passes; the parameters stay."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.GroupNorm and child.affine:
                setattr(module, name, FusedGroupNorm.of(child))
    for module in network.modules():
        if type(module) is ResnetBlock2D and _is_plain(module):
            module.__class__ = FusedResnet  # it adds no state, and a copy would need every option


def uses_kernels(maps: Tensor) -> bool:
    """Whether a fused module uses the kernels for these maps."""
    return maps.is_cuda


@lru_cache(maxsize=8)
def fault_of_kernels(device: torch.device) -> str:
    """Why they cannot be used on this device, in a few words; nothing where they can. Tried once."""
    if device.type != "cuda":
        return "no CUDA device"
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    tokens = torch.linspace(-1, 3, 2 * 64 * 32, device=device).view(2, 64, 32)
    weight = torch.linspace(0.5, 1.5, 32, device=device)
    with torch.inference_mode():
        wanted = F.group_norm(tokens.transpose(1, 2), 8, weight, weight)
        try:
            from diffagiqa.accel.kernels import group_norm

            found = group_norm(tokens, 8, weight, weight, 1e-5).maps
        except Exception as fault:  # no C compiler, no headers, a GPU that is too old
            return f"Triton cannot build them: {type(fault).__name__}: {fault}"[:200]
        same = torch.allclose(found.transpose(1, 2), wanted, atol=1e-4)
    return "" if same else "they give other numbers than PyTorch's own"


def _is_plain(block: Any) -> bool:
    return (
        block.time_embedding_norm == "default"
        and isinstance(block.nonlinearity, nn.SiLU)
        and block.output_scale_factor == 1
        and block.upsample is block.downsample is None
        and not block.skip_time_act
        and all(isinstance(norm, FusedGroupNorm) for norm in (block.norm1, block.norm2))
        and all(conv.bias is not None for conv in (block.conv1, block.conv2))
        and (block.conv_shortcut is None or block.conv_shortcut.bias is not None)
    )


def _without_bias(conv: nn.Conv2d, maps: Tensor) -> Tensor:
    return F.conv2d(maps, conv.weight, None, conv.stride, conv.padding, conv.dilation, conv.groups)


def _tokens(maps: Tensor) -> Tensor:
    """(B, C, ...) -> (B, positions, C), a view where the maps lie channels last."""
    return maps.flatten(2).transpose(1, 2).contiguous()


def _like(tokens: Tensor, maps: Tensor) -> Tensor:
    """(B, positions, C) -> (B, C, ...), the positions as those of ``maps``."""
    return tokens.transpose(1, 2).unflatten(2, maps.shape[2:])
