"""Which modules take the kernels, and that they do what they did where kernels cannot be used."""

from __future__ import annotations

import copy

import pytest
import torch
from diffusers.models.resnet import ResnetBlock2D

from diffagiqa.accel.fused import (
    FusedGroupNorm,
    FusedResnet,
    enable_fused,
    fault_of_kernels,
    fuse,
    fuse_where_supported,
    uses_kernels,
)
from diffagiqa.backbones.unet import StableDiffusion

CPU = torch.device("cpu")


class OnGpu:
    """All that ``uses_kernels`` asks of maps."""

    is_cuda = True


def test_a_fused_network_is_the_same_on_a_cpu(backbone: StableDiffusion) -> None:
    network = copy.deepcopy(backbone.image_encoder.encoder)
    fuse(network)
    kinds = {type(module) for module in network.modules()}
    assert {FusedGroupNorm, FusedResnet} <= kinds
    assert not {torch.nn.GroupNorm, ResnetBlock2D} & kinds
    assert network.state_dict().keys() == backbone.image_encoder.encoder.state_dict().keys()
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(network(images), backbone.image_encoder.encoder(images))


def test_kernels_are_used_on_a_gpu_until_they_are_switched_off() -> None:
    norm = FusedGroupNorm.of(torch.nn.GroupNorm(4, 8))
    assert uses_kernels(norm, OnGpu())  # type: ignore[arg-type]
    assert not uses_kernels(norm, torch.zeros(1, 8, 2, 2))
    enable_fused(norm, False)
    assert not uses_kernels(norm, OnGpu())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        {"time_embedding_norm": "scale_shift"},
        {"non_linearity": "mish"},
        {"output_scale_factor": 2.0},
        {"up": True},
        {"down": True},
        {"skip_time_act": True},
        {"conv_shortcut_bias": False},
    ],
)
def test_a_block_of_another_kind_stays_what_it_is(options: dict[str, object]) -> None:
    plain = {"in_channels": 32, "out_channels": 64, "temb_channels": 16}
    network = torch.nn.Sequential(
        ResnetBlock2D(**plain),  # type: ignore[arg-type]
        ResnetBlock2D(**plain, **options),  # type: ignore[arg-type]
    )
    fuse(network)
    assert [type(block) for block in network] == [FusedResnet, ResnetBlock2D]


def blocks() -> tuple[torch.nn.Module, torch.nn.Module]:
    """A block of diffusers, its input's channels taken over by a convolution, and the same fused."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        plain = ResnetBlock2D(in_channels=32, out_channels=64, temb_channels=16)
    plain = plain.eval().requires_grad_(False)
    own = copy.deepcopy(plain)
    fuse_where_supported(own, CPU)
    assert type(own) is FusedResnet
    return plain, own


def test_on_a_cpu_a_block_works_in_place_and_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, own = blocks()
    assert fault_of_kernels(CPU) == "no CUDA device"
    generator = torch.Generator().manual_seed(0)
    hidden, time = (
        torch.randn(2, 32, 8, 8, generator=generator),
        torch.randn(2, 16, generator=generator),
    )
    before = hidden.clone(), time.clone()
    wanted = plain(hidden, time)
    with torch.no_grad():
        assert torch.equal(own(hidden, time), wanted)
    assert torch.equal(hidden, before[0])
    assert torch.equal(time, before[1])
    # With a gradient too, through the same operations.
    given, same = hidden.clone().requires_grad_(), hidden.clone().requires_grad_()
    own(given, time).square().sum().backward()
    plain(same, time).square().sum().backward()
    torch.testing.assert_close(given.grad, same.grad)
    enable_fused(own, False)
    monkeypatch.setattr(FusedResnet, "_in_place", None)
    assert torch.equal(own(hidden, time), wanted)


def test_a_gpu_without_kernels_leaves_a_network_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffagiqa.accel.fused.fault_of_kernels", lambda device: "no Triton")
    network = torch.nn.Sequential(torch.nn.GroupNorm(4, 8))
    fuse_where_supported(network, torch.device("cuda"))
    assert type(network[0]) is torch.nn.GroupNorm
