"""Fused residual blocks against diffusers' own: on a GPU, or in Triton's interpreter on a CPU."""

from __future__ import annotations

import copy
import importlib.util
import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from diffagiqa.backbones.unet_walk import unet_features
from diffagiqa.device import without_tf32

CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None
    or not (CUDA or os.environ.get("TRITON_INTERPRET") == "1"),
    reason="wants Triton, and a GPU or TRITON_INTERPRET=1",
)


@pytest.fixture(autouse=True)
def on_any_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("diffagiqa.accel.fused.uses_kernels", lambda maps: True)
    with without_tf32():
        yield


def random(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


SHAPES = [  # maps and groups
    ((2, 128, 56, 40), 32),  # two splits, the second one short
    ((1, 320, 8, 8), 32),
    ((2, 96, 7, 9), 8),  # no power of two anywhere
    ((1, 40, 1, 1), 4),
    ((2, 64, 15), 8),
]


def norm_and_maps(
    shape: tuple[int, ...], groups: int, dtype: torch.dtype
) -> tuple[torch.nn.GroupNorm, torch.Tensor]:
    channels = shape[1]
    norm = torch.nn.GroupNorm(groups, channels).requires_grad_(False)
    norm.weight.copy_(random(channels))
    norm.bias.copy_(random(channels + 1)[1:])
    maps = (2 * random(*shape) + 5).to(DEVICE, dtype)
    return norm.to(DEVICE, dtype), torch.empty_like(
        maps.transpose(1, -1).contiguous().transpose(1, -1)
    ).copy_(maps)


def exact(
    norm: torch.nn.GroupNorm, maps: torch.Tensor, before: torch.Tensor | None, silu: bool
) -> torch.Tensor:
    if before is not None:
        maps = maps + before.double().reshape(-1, maps.shape[1], *[1] * (maps.ndim - 2))
    found = F.group_norm(maps, norm.num_groups, norm.weight.double(), norm.bias.double(), norm.eps)
    return F.silu(found) if silu else found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("shape", "groups"), SHAPES)
def test_group_norm_is_that_of_float64(
    shape: tuple[int, ...], groups: int, dtype: torch.dtype
) -> None:
    from diffagiqa.accel.fused import FusedGroupNorm

    norm, maps = norm_and_maps(shape, groups, dtype)
    fused = FusedGroupNorm.of(norm)
    row = random(*shape[:2]).to(DEVICE, dtype)
    # Triton's interpreter cuts bfloat16 off where a GPU rounds.
    ulp = 2.0 ** {torch.float32: -18, torch.float16: -10, torch.bfloat16: -7}[dtype]
    for before in (None, row, row[0]):
        for silu in (False, True):
            found, wanted = fused(maps, before, silu), exact(norm, maps.double(), before, silu)
            assert (found.dtype, found.shape) == (dtype, maps.shape)
            most = max(1.0, float(wanted.abs().max()))
            assert float((found.double() - wanted).abs().max()) <= ulp * most


@pytest.mark.parametrize(("shape", "groups"), SHAPES)
def test_gradient_is_that_of_float64(shape: tuple[int, ...], groups: int) -> None:
    from diffagiqa.accel.fused import FusedGroupNorm

    norm, maps = norm_and_maps(shape, groups, torch.float32)
    fused = FusedGroupNorm.of(norm)
    row, behind = random(*shape[:2]).to(DEVICE).float(), random(*reversed(shape)).to(DEVICE)
    behind = behind.reshape(shape)
    for before in (None, row):
        for silu in (False, True):
            given = maps.clone().requires_grad_()
            fused(given, before, silu).backward(behind.float())
            same = maps.double().requires_grad_()
            exact(norm, same, before, silu).backward(behind)
            assert given.grad is not None
            assert same.grad is not None
            most = float(same.grad.abs().max())
            assert float((given.grad - same.grad).abs().max()) <= 1e-5 * max(most, 1e-3)


def test_a_large_mean_loses_no_digits() -> None:
    from diffagiqa.accel.fused import FusedGroupNorm

    norm, maps = norm_and_maps((1, 32, 64, 64), 8, torch.float32)
    maps = maps + 1000
    found = FusedGroupNorm.of(norm)(maps)
    # float32 tells numbers at 1000 apart by 6e-5
    assert float((found - exact(norm, maps.double(), None, False)).abs().max()) < 1e-3


def test_sum_of_maps_and_bias() -> None:
    from diffagiqa.accel.kernels import biased_sum

    tokens, others = random(2, 63, 96).to(DEVICE).float(), random(2, 96, 63).to(DEVICE).float()
    others = others.transpose(1, 2).contiguous()
    bias = random(96).to(DEVICE).float()
    torch.testing.assert_close(biased_sum(tokens, bias, others), tokens + bias + others)


def networks() -> tuple[Any, Any]:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae: Any = AutoencoderKL(
            block_out_channels=(32, 64),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            norm_num_groups=8,
        )
        unet: Any = UNet2DConditionModel(
            sample_size=16,
            block_out_channels=(32, 64),
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=32,
            attention_head_dim=4,
            norm_num_groups=8,
            layers_per_block=1,
        )
    return tuple(network.eval().to(DEVICE).requires_grad_(False) for network in (vae.encoder, unet))  # type: ignore[return-value]


def test_networks_give_what_they_gave() -> None:
    from diffagiqa.accel.fused import FusedResnet, fuse

    plain = networks()
    fused = copy.deepcopy(plain)
    for network in fused:
        fuse(network)
        network.to(memory_format=torch.channels_last)
        assert sum(isinstance(module, FusedResnet) for module in network.modules()) >= 4
    for before, after in zip(plain, fused, strict=True):
        assert list(before.state_dict()) == list(after.state_dict())
    images = random(2, 3, 32, 32).to(DEVICE).float()
    latents, text = random(2, 4, 16, 16).to(DEVICE).float(), random(2, 7, 32).to(DEVICE).float()
    names = ["mid_block.attentions.0", "up_blocks.1.resnets.1"]
    with torch.no_grad():
        torch.testing.assert_close(fused[0](images), plain[0](images), rtol=1e-3, atol=1e-4)
        found = unet_features(fused[1], latents, 51, text, names)
        wanted = unet_features(plain[1], latents, 51, text, names)
        for name in names:
            torch.testing.assert_close(found[name], wanted[name], rtol=1e-3, atol=1e-4)


def test_gradients_are_what_they_were() -> None:
    from diffagiqa.accel.fused import fuse

    plain, _ = networks()
    fused = copy.deepcopy(plain)
    fuse(fused)
    found = []
    for network in (plain, fused):
        images = random(1, 3, 32, 32).to(DEVICE).float().requires_grad_()
        network(images).square().sum().backward()
        assert images.grad is not None
        found.append(images.grad)
    torch.testing.assert_close(
        found[1], found[0], rtol=1e-3, atol=1e-3 * float(found[0].abs().max())
    )


def test_why_kernels_are_not_used() -> None:
    from diffagiqa.accel.fused import fault_of_kernels

    assert fault_of_kernels(torch.device("cpu")) == "no CUDA device"
    if CUDA:
        assert fault_of_kernels(DEVICE) == ""


def test_networks_that_learn_run_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    from diffagiqa.accel.fused import FusedGroupNorm, fuse

    network, _ = networks()
    fuse(network)
    network.requires_grad_(True)
    monkeypatch.setattr(FusedGroupNorm, "normalised", None)
    network(random(1, 3, 32, 32).to(DEVICE).float()).square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
