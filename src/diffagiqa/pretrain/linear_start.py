"""A closed-form start of the autoencoder's encoder: whitened principal components of 8x8 patches.

From random weights the encoder needs tens of thousands of steps before its latents hold more than the
local mean. This start writes principal components into the very same layers: the strided convolutions
rearrange and project, the residual branches are silent, and the last norm and SiLU are passed exactly:
silu(u) - silu(-u) = u, and a large constant pair makes the norm's divisor nearly the same for every
picture. Whitened latents keep fine detail above the diffusion noise of small timesteps.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from diffagiqa.errors import ConfigError

CONSTANT = 60.0
"""The constant pair: its square outweighs the latents', so the norm's divisor varies by under 1 %."""


@torch.no_grad()
def start_from_components(vae: Any, images: Tensor) -> None:
    """Set the encoder's main path from ``images`` (B, 3, S, S) in [-1, 1]; decoder: silent branches.

    For encoders of four levels whose norms have one or two groups. Afterwards the posterior mean is
    the whitened projection of each 8x8 patch, unit variance over ``images``; its std is e^-4.
    """
    _check(vae)
    for name, module in vae.named_modules():
        if name.endswith((".conv2", ".to_out.0")):
            torch.nn.init.zeros_(module.weight)
            torch.nn.init.zeros_(module.bias)
        elif (
            isinstance(module, torch.nn.Conv2d)
            and name.startswith("decoder")
            and not name.endswith(".conv1")
        ):
            weight = torch.empty(module.weight.shape)
            module.weight.copy_(torch.nn.init.orthogonal_(weight))
    encoder, latents = vae.encoder, int(vae.config.latent_channels)
    _set(encoder.conv_in, torch.eye(3), tap=1)
    hidden, keep = images, (12, encoder.down_blocks[1].downsamplers[0].conv.out_channels, latents)
    for level, components in enumerate(keep):
        folded = F.pixel_unshuffle(hidden, 2)  # (B, 4C, h/2, w/2), channel = 4c + 2 dy + dx
        matrix, mean = _components(folded, components, whiten=level == 2)
        block = encoder.down_blocks[level]
        _set_fold(block.downsamplers[0].conv, matrix, mean)
        if level:
            _set(block.resnets[0].conv_shortcut, torch.eye(hidden.shape[1]))
        hidden = torch.einsum("oc,bchw->bohw", matrix, folded - mean.view(1, -1, 1, 1))
    last = encoder.down_blocks[3].resnets[0].conv_shortcut
    pair = torch.cat([torch.eye(latents), -torch.eye(latents)])
    _set(last, pair)
    last.bias[2 * latents], last.bias[2 * latents + 1] = CONSTANT, -CONSTANT
    norm = encoder.conv_norm_out
    group = norm.num_channels // norm.num_groups
    norm.weight.fill_(((2 * CONSTANT**2 + 2 * latents) / group) ** 0.5)
    norm.bias.zero_()
    _set(encoder.conv_out, pair.T, tap=1)
    _set(vae.quant_conv, torch.eye(latents))
    vae.quant_conv.bias[latents:] = -8.0


def _check(vae: Any) -> None:
    """Raise ``ConfigError`` where the widths cannot hold the components."""
    latents, channels = int(vae.config.latent_channels), vae.config.block_out_channels
    group = channels[-1] // vae.config.norm_num_groups
    rises = all(a < b for a, b in pairwise(channels))
    wide = len(channels) == 4 and channels[0] >= 12 and channels[2] >= latents
    if not (rises and wide and group >= 2 * latents + 2):
        raise ConfigError(
            f"an autoencoder of widths {tuple(channels)} in {vae.config.norm_num_groups} groups cannot "
            f"start from {latents} components; expected four rising widths, the first 12 or more, and "
            f"{2 * latents + 2} or more channels in a group of the last"
        )


def _components(values: Tensor, count: int, whiten: bool) -> tuple[Tensor, Tensor]:
    """Principal directions (count, C) of (B, C, h, w) and the mean (C,); all of them if count >= C."""
    flat = values.transpose(0, 1).flatten(1).double()  # (C, N)
    mean = flat.mean(1)
    if not whiten and count >= flat.shape[0]:
        return torch.eye(flat.shape[0]), torch.zeros(flat.shape[0])
    power, directions = torch.linalg.eigh(torch.cov(flat))
    chosen = directions.flip(1)[:, :count].T
    if whiten:
        chosen = chosen / power.flip(0)[:count, None].sqrt()
    return chosen.float(), mean.float()


def _set(conv: Any, matrix: Tensor, tap: int = 0) -> None:
    """A convolution that multiplies by ``matrix`` at one tap, zero elsewhere."""
    conv.weight.zero_()
    conv.bias.zero_()
    conv.weight[: matrix.shape[0], : matrix.shape[1], tap, tap] = matrix


def _set_fold(conv: Any, matrix: Tensor, mean: Tensor) -> None:
    """A strided 3x3 convolution that takes 2x2 pixels and multiplies them by ``matrix`` (out, 4C)."""
    conv.weight.zero_()
    conv.bias.zero_()
    out, folded = matrix.shape
    taps = matrix.view(out, folded // 4, 2, 2)
    conv.weight[:out, : folded // 4, :2, :2] = taps
    conv.bias[:out] = -(matrix @ mean)
