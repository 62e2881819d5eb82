"""A simplified VAE encoder is the encoder, with less work."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from diffagiqa.backbones.encoder import (
    PatchEncoder,
    Shortcut,
    downsampling_of,
    narrowed,
    simplify_encoder,
)
from diffagiqa.pretrain.linear_start import start_from_components


@pytest.fixture
def vae() -> Any:
    torch.manual_seed(0)
    widths = (12, 16, 24, 32)
    return AutoencoderKL(
        block_out_channels=widths, down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=8, layers_per_block=1,
        norm_num_groups=1,
    ).double().requires_grad_(False)  # fmt: skip


@pytest.fixture
def set_by_components(vae: Any) -> Any:
    images = torch.rand(8, 3, 64, 64, dtype=torch.float64) * 2 - 1
    vae.float()  # the start is written in single precision
    start_from_components(vae, images.float())
    return vae.double()


def moments_and_gradient(encoder: Any) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(2, 3, 48, 64, dtype=torch.float64, generator=generator) * 2 - 1
    images.requires_grad_(True)
    moments = encoder(images)
    (gradient,) = torch.autograd.grad(moments.square().sum(), images)
    return moments.detach(), gradient


def test_a_trained_encoder_stays_itself(vae: Any) -> None:
    names = [name for name, _ in vae.encoder.named_modules()]
    assert simplify_encoder(vae.encoder) is vae.encoder
    assert [name for name, _ in vae.encoder.named_modules()] == names
    assert downsampling_of(vae.encoder) == 8


def test_silent_branches_leave_nothing_behind(vae: Any) -> None:
    silent = [
        vae.encoder.down_blocks[1].resnets[0].conv2,
        vae.encoder.mid_block.attentions[0].to_out[0],
    ]
    for last in silent:
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.zeros_(last.bias)
    before = moments_and_gradient(copy.deepcopy(vae.encoder))
    found = simplify_encoder(vae.encoder)
    assert found is vae.encoder
    assert sum(isinstance(module, Shortcut) for module in found.modules()) == 2
    for old, new in zip(before, moments_and_gradient(found), strict=True):
        torch.testing.assert_close(new, old, rtol=1e-12, atol=1e-12)


def test_a_bias_alone_is_not_silence(vae: Any) -> None:
    torch.nn.init.zeros_(vae.encoder.mid_block.resnets[0].conv2.weight)
    vae.encoder.mid_block.resnets[0].conv2.bias.fill_(0.1)
    assert not any(
        isinstance(module, Shortcut) for module in simplify_encoder(vae.encoder).modules()
    )


def test_an_encoder_of_patches_is_one_convolution(set_by_components: Any) -> None:
    whole = copy.deepcopy(set_by_components.encoder)
    found = simplify_encoder(set_by_components.encoder)
    assert isinstance(found, PatchEncoder)
    assert downsampling_of(found) == 8
    assert found.conv_out.kernel_size == (1, 1)
    for old, new in zip(moments_and_gradient(whole), moments_and_gradient(found), strict=True):
        torch.testing.assert_close(new, old, rtol=1e-9, atol=1e-9)


def test_patches_have_a_largest_size() -> None:
    deep = AutoencoderKL(
        block_out_channels=(4,) * 6, down_block_types=("DownEncoderBlock2D",) * 6,
        up_block_types=("UpDecoderBlock2D",) * 6, layers_per_block=1, norm_num_groups=1,
    ).encoder  # fmt: skip
    for name, module in deep.named_modules():
        if name.endswith((".conv2", ".to_out.0")):
            torch.nn.init.zeros_(module.weight)
            torch.nn.init.zeros_(module.bias)
    assert simplify_encoder(deep) is deep  # 32 x 32 pixels of three colours
    assert isinstance(deep.mid_block.resnets[0], Shortcut)


def test_what_sees_its_neighbours_is_no_convolution_of_patches(set_by_components: Any) -> None:
    set_by_components.encoder.conv_in.weight[0, 0, 0, 1] = 0.01  # the pixel above
    whole = copy.deepcopy(set_by_components.encoder)
    found = simplify_encoder(set_by_components.encoder)
    assert not isinstance(found, PatchEncoder)
    assert narrowed(found.conv_in) is found.conv_in
    old, new = moments_and_gradient(whole)[0], moments_and_gradient(found)[0]
    torch.testing.assert_close(new, old, rtol=1e-12, atol=1e-12)
