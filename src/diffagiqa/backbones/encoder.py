"""A VAE encoder without the work that its weights make needless; the latents stay the same.

The embedded model's encoder is set in closed form (``pretrain/linear_start.py``): its residual branches
end in zeros, and what is left up to the last norm is linear in patches of 8 x 8 pixels. Trained
encoders, such as Stable Diffusion's, come out as they went in.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MAX_PATCH_VALUES = 3 * 16 * 16
"""The kernel is found one value at a time, in memory that grows with their square, and a stranger's
encoder may be deep."""


class Shortcut(nn.Module):
    """A residual block without its branch: the identity, or the block's own 1x1 convolution."""

    def __init__(self, conv: nn.Module | None) -> None:
        super().__init__()
        self.conv = conv or nn.Identity()

    def forward(self, hidden: Tensor, temb: Tensor | None = None) -> Tensor:
        return self.conv(hidden)  # type: ignore[no-any-return]


class PatchEncoder(nn.Module):
    """An encoder that is one convolution of patches up to its last norm."""

    def __init__(self, patches: nn.Conv2d, encoder: Any) -> None:
        super().__init__()
        self.patches = patches
        self.conv_norm_out = encoder.conv_norm_out
        self.conv_act = encoder.conv_act
        self.conv_out = narrowed(encoder.conv_out)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) -> moments, (B, 2C, S/8, S/8)."""
        return self.conv_out(self.conv_act(self.conv_norm_out(self.patches(images))))  # type: ignore[no-any-return]


def simplify_encoder(encoder: Any) -> Any:
    """A diffusers VAE encoder -> the same function with less work; changes the one that is given."""
    drop_zero_branches(encoder)
    return as_patches(encoder)


def downsampling_of(encoder: Any) -> int:
    """Pixels per latent position: 8 for Stable Diffusion."""
    if isinstance(encoder, PatchEncoder):
        return int(encoder.patches.stride[0])
    return int(2 ** (len(encoder.down_blocks) - 1))


def drop_zero_branches(network: nn.Module) -> None:
    """Replace diffusers' residual blocks and attentions whose branch is zero.

    What the network computes, and its gradient with respect to its input, stay the same.
    """
    from diffusers.models.attention_processor import Attention
    from diffusers.models.resnet import ResnetBlock2D

    found: dict[str, Shortcut] = {}
    for name, module in network.named_modules():
        block: Any = module
        if isinstance(block, ResnetBlock2D):
            plain = block.output_scale_factor == 1 and block.upsample is block.downsample is None
            if plain and _is_zero(block.conv2):
                found[name] = Shortcut(block.conv_shortcut)
        elif isinstance(block, Attention):
            plain = block.residual_connection and block.rescale_output_factor == 1
            if plain and _is_zero(block.to_out[0]):
                found[name] = Shortcut(None)
    for name, shortcut in found.items():
        parent, _, last = name.rpartition(".")
        setattr(network.get_submodule(parent), last, shortcut)


@torch.no_grad()
def as_patches(encoder: Any) -> Any:
    """A ``PatchEncoder``, equal up to rounding, where there is one; else the encoder itself.

    Its kernel is what the encoder makes of single pixels, in float64. Whether patches are really
    all that the encoder sees is then tried on a picture of noise.
    """
    blocks = [block for down in encoder.down_blocks for block in down.resnets]
    blocks += [*encoder.mid_block.resnets, *encoder.mid_block.attentions]
    if not all(isinstance(block, Shortcut) for block in blocks):
        return encoder
    side, channels = downsampling_of(encoder), encoder.conv_in.in_channels
    weight = encoder.conv_in.weight
    count = channels * side * side
    if count > MAX_PATCH_VALUES:
        return encoder
    exact = copy.deepcopy(encoder).to("cpu", torch.float64)
    pixels = torch.eye(count, dtype=torch.float64).view(count, channels, side, side)
    bias = _up_to_norm(exact, torch.zeros_like(pixels[:1]))[0, :, 0, 0]  # (C,)
    kernel = _up_to_norm(exact, pixels)[:, :, 0, 0].T - bias[:, None]  # (C, 3 * side * side)
    kernel = kernel.reshape(-1, channels, side, side)
    noise = torch.rand(1, channels, 3 * side, 2 * side, dtype=torch.float64,
                       generator=torch.Generator().manual_seed(0))  # fmt: skip
    if not torch.allclose(F.conv2d(noise, kernel, bias, side), _up_to_norm(exact, noise)):
        return encoder
    patches = nn.Conv2d(channels, len(kernel), side, side).to(weight.device, weight.dtype)
    patches.weight.copy_(kernel)
    patches.bias.copy_(bias)  # type: ignore[union-attr]
    return PatchEncoder(patches.to(memory_format=torch.channels_last), encoder)  # type: ignore[call-overload]


@torch.no_grad()
def narrowed(conv: nn.Conv2d) -> nn.Conv2d:
    """A padded 3x3 convolution whose outer taps are zero as a 1x1 one; others as they are."""
    own = conv.weight[:, :, 1:2, 1:2]
    alike = conv.kernel_size == (3, 3) and conv.padding == (1, 1) and conv.stride == (1, 1)
    if not alike or int(conv.weight.count_nonzero()) != int(own.count_nonzero()):
        return conv
    small = nn.Conv2d(conv.in_channels, conv.out_channels, 1).to(own.device, own.dtype)
    small.weight.copy_(own)
    small.bias.copy_(conv.bias)  # type: ignore[arg-type, union-attr]
    return small


def _up_to_norm(encoder: Any, images: Tensor) -> Tensor:
    hidden = encoder.conv_in(images)
    for block in encoder.down_blocks:
        hidden = block(hidden)
    return encoder.mid_block(hidden)  # type: ignore[no-any-return]


def _is_zero(last: Any) -> bool:
    return not bool(last.weight.any()) and (last.bias is None or not bool(last.bias.any()))
