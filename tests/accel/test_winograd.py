"""Winograd's convolution is the direct one, and is used only where it is faster."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffagiqa.accel import winograd as module
from diffagiqa.accel.winograd import (
    WinogradConv2d,
    enable_winograd,
    replace_wide_convs,
    transformed_kernel,
    winograd,
)
from diffagiqa.backbones.folder import load_backbone
from diffagiqa.backbones.unet import Backbone
from diffagiqa.backbones.unet_walk import unet_features
from diffagiqa.model.config import RELEASED_FEATURES
from diffagiqa.model.pyramid import Pyramid


def conv_and_maps(channels: int = 256, side: int = 64, kernel: int = 3) -> tuple[nn.Conv2d, Tensor]:
    torch.manual_seed(0)
    conv = nn.Conv2d(channels, 256, kernel, padding=kernel // 2).requires_grad_(False)
    return conv, torch.randn(2, channels, side, side)


@pytest.mark.parametrize(("height", "width"), [(4, 4), (8, 20), (68, 132)])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_equals_the_direct_convolution_borders_included(
    height: int, width: int, with_bias: bool, kernel: int
) -> None:
    torch.manual_seed(0)
    maps = torch.randn(2, 5, height, width, dtype=torch.float64)
    weight = torch.randn(7, 5, kernel, kernel, dtype=torch.float64)
    bias = torch.randn(7, dtype=torch.float64) if with_bias else None
    found = winograd(maps, transformed_kernel(weight), bias, kernel)
    plain = F.conv2d(maps, weight, bias, padding=kernel // 2)
    torch.testing.assert_close(found, plain, rtol=0, atol=1e-11)
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_in_single_precision_a_wide_layer_is_close_and_does_not_depend_on_the_batch(
    kernel: int,
) -> None:
    conv, maps = conv_and_maps(kernel=kernel)
    own = WinogradConv2d.of(conv)
    with torch.inference_mode():
        exact = copy.deepcopy(conv).double()(maps.double())
        found = own(maps)
        assert own._transformed is not None
        assert float((found - exact).abs().max() / exact.std()) < 2e-4
        assert not torch.equal(found, conv(maps))
        assert torch.equal(found[1:], own(maps[1:]))


def test_gradients_and_small_odd_or_low_precision_maps_are_convolved_directly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    conv, maps = conv_and_maps()
    monkeypatch.setattr(module, "winograd", lambda *_: pytest.fail("Winograd was used"))
    own = WinogradConv2d.of(conv)
    maps.requires_grad_(True)
    (gradient,) = torch.autograd.grad(own(maps).sum(), maps)
    (plain,) = torch.autograd.grad(conv(maps).sum(), maps)
    assert torch.equal(gradient, plain)
    maps.requires_grad_(False)
    with torch.inference_mode():
        assert torch.equal(own(maps[..., :62, :62]), conv(maps[..., :62, :62]))
        assert torch.equal(own(maps[..., :28, :28]), conv(maps[..., :28, :28]))
        enable_winograd(own, False)
        assert torch.equal(own(maps), conv(maps))
        enable_winograd(own, True)
        assert own.to(torch.bfloat16)(maps.bfloat16()).dtype == torch.bfloat16


def test_a_changed_weight_is_transformed_anew() -> None:
    conv, maps = conv_and_maps()
    own = WinogradConv2d.of(conv)
    with torch.inference_mode():
        before = own(maps)
    with torch.no_grad():
        conv.weight.mul_(2)
        conv.bias.mul_(2)
    with torch.inference_mode():
        torch.testing.assert_close(own(maps), 2 * before)
        twice = own(maps)
    own.weight.data = 2 * own.weight.data
    own.bias.data = 2 * own.bias.data
    with torch.inference_mode():
        torch.testing.assert_close(own(maps), 2 * twice)


def test_only_wide_plain_convolutions_are_replaced_and_parameters_stay_the_same() -> None:
    network = nn.Sequential(
        nn.Conv2d(256, 256, 3, padding=1),
        nn.Conv2d(256, 128, 3, padding=1),
        nn.Conv2d(256, 256, 3, padding=1, stride=2),
        nn.Conv2d(256, 256, 1),
        nn.Sequential(nn.Conv2d(512, 256, 3, padding=1, bias=False)),
        nn.Conv2d(256, 256, 7, padding=3),
        nn.Conv2d(256, 256, 7, padding=1),
    )
    before = dict(network.named_parameters())
    replace_wide_convs(network)
    after = dict(network.named_parameters())
    assert before.keys() == after.keys()
    assert all(after[name] is before[name] for name in before)
    replaced = [name for name, m in network.named_modules() if isinstance(m, WinogradConv2d)]
    assert replaced == ["0", "4.0", "5"]
    assert network.state_dict().keys() == before.keys()


def test_a_loaded_backbone_uses_winograd(
    backbone: Backbone,
    reference: Path,
    reference_images: Tensor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MIN_CHANNELS", 16)
    monkeypatch.setattr(module, "MIN_POSITIONS", 64)
    quick = load_backbone(str(reference / "backbone"), RELEASED_FEATURES)
    images = 2 * reference_images[:, :, :128, :128] - 1
    text = backbone.encode_text(["a red fox"] * len(images))

    def looked(own: Backbone) -> list[Tensor]:
        with torch.inference_mode():
            mean, _ = own.encode_image(images)
            return [mean, *unet_features(own.unet, mean, 51, text, RELEASED_FEATURES).values()]

    pairs = zip(looked(quick), looked(backbone), strict=True)
    for network in (quick.vae_encoder, quick.unet):
        convs = [conv for conv in network.modules() if isinstance(conv, WinogradConv2d)]
        assert any(conv._transformed is not None for conv in convs)
    for one, plain in pairs:
        torch.testing.assert_close(one, plain, rtol=0, atol=1e-3)


def test_a_folded_pyramid_uses_winograd_on_its_large_maps() -> None:
    torch.manual_seed(0)
    pyramid = Pyramid([256, 256]).eval().requires_grad_(False)
    features = [torch.randn(2, 256, 32, 32), torch.randn(2, 256, 16, 16)]
    with torch.inference_mode():
        exact = copy.deepcopy(pyramid).double()([f.double() for f in features])
        replace_wide_convs(pyramid)
        found = pyramid(features)
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-4)
    used = {
        name
        for name, conv in pyramid.named_modules()
        if isinstance(conv, WinogradConv2d) and conv._transformed is not None
    }
    assert used == {f"levels.0.branches.{i}.0" for i in (1, 2, 3)}
