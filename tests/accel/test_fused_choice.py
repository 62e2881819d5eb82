"""Which modules take the kernels, and that they do what they did where kernels cannot be used."""

from __future__ import annotations

import copy

import pytest
import torch
from diffusers.models.resnet import ResnetBlock2D

from diffagiqa import accel
from diffagiqa.accel.fused import FusedGroupNorm, FusedResnet, fault_of_kernels, fuse
from diffagiqa.backbones.unet import StableDiffusion


def test_a_fused_network_is_the_same_on_a_cpu(backbone: StableDiffusion) -> None:
    network = copy.deepcopy(backbone.image_encoder.encoder)
    fuse(network)
    kinds = {type(module) for module in network.modules()}
    assert {FusedGroupNorm, FusedResnet} <= kinds
    assert not {torch.nn.GroupNorm, ResnetBlock2D} & kinds
    assert network.state_dict().keys() == backbone.image_encoder.encoder.state_dict().keys()
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():  # the same operations on the same shapes
        assert torch.equal(network(images), backbone.image_encoder.encoder(images))


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


def test_a_cpu_and_a_gpu_without_kernels_leave_a_network_as_it_is(
    backbone: StableDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fault_of_kernels(torch.device("cpu")) == "no CUDA device"

    class OnGpu(StableDiffusion):
        device = torch.device("cuda")

    loaded = copy.deepcopy(backbone)
    accel.accelerate(loaded)
    loaded.__class__ = OnGpu
    monkeypatch.setattr("diffagiqa.accel.fused.fault_of_kernels", lambda device: "no Triton")
    accel.accelerate(loaded)
    assert not any(isinstance(module, FusedGroupNorm) for module in loaded.modules())
    monkeypatch.setattr("diffagiqa.accel.fused.fault_of_kernels", lambda device: "")
    monkeypatch.setenv("DIFFAGIQA_ACCEL", "0")
    accel.accelerate(loaded)
    assert not any(isinstance(module, FusedGroupNorm) for module in loaded.modules())
    monkeypatch.setenv("DIFFAGIQA_ACCEL", "1")
    accel.accelerate(loaded)
    assert sum(isinstance(module, FusedResnet) for module in loaded.modules()) > 8
