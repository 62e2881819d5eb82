"""The lazy walk against the library's own forward pass, and what it leaves out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel

from diffagiqa.backbones.names import RELEASED_FEATURES
from diffagiqa.backbones.unet import StableDiffusion
from diffagiqa.backbones.unet_walk import (
    drop_unused,
    feature_channels,
    feature_names,
    unet_features,
    walk_unet,
)
from diffagiqa.errors import ConfigError


def small_unet(**changes: Any) -> UNet2DConditionModel:
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "sample_size": 16,
        "block_out_channels": (16, 32, 32, 32),
        "norm_num_groups": 8,
        "cross_attention_dim": 24,
        "attention_head_dim": 8,
        "layers_per_block": 2,
    }
    return UNet2DConditionModel(**(settings | changes)).double().eval()


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(2, 4, 16, 16, generator=generator, dtype=torch.float64)
    return latents, torch.randn(2, 7, 24, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"use_linear_projection": True, "attention_head_dim": [2, 4, 4, 4]},  # as in SD 2
        {"transformer_layers_per_block": 2},
    ],
)
@torch.no_grad()
def test_walk_equals_the_library_forward(changes: dict[str, Any]) -> None:
    unet = small_unet(**changes)
    latents, text = inputs()
    seen: dict[str, torch.Tensor] = {"latents": latents}

    def keep(name: str) -> Any:
        return lambda module, args, output: seen.__setitem__(name, output)

    names = feature_names(unet)
    hooks = []
    for name in names[1:]:
        module = unet.get_submodule(name)
        if ".attentions." in name and ".transformer_blocks." not in name:
            module = module.transformer_blocks[0].ff.net[0]  # type: ignore[index, union-attr]
        hooks.append(module.register_forward_hook(keep(name)))
    unet(latents, 51, encoder_hidden_states=text)
    for hook in hooks:
        hook.remove()

    walked = dict(walk_unet(unet, latents, 51, text, extras=names))
    assert list(walked) == names
    for name in names:
        wanted = seen[name]
        if wanted.ndim == 3:
            wanted = wanted.transpose(1, 2).reshape(walked[name].shape)
        torch.testing.assert_close(walked[name], wanted, rtol=1e-10, atol=1e-12)


@torch.no_grad()
def test_dropping_unused_modules_changes_no_feature() -> None:
    names = ("mid_block.attentions.0", "up_blocks.1.attentions.0", "up_blocks.2.attentions.0")
    latents, text = inputs()
    whole, cut = small_unet(), small_unet()
    drop_unused(cut, names)
    wanted = unet_features(whole, latents, 51, text, names)
    found = unet_features(cut, latents, 51, text, names)
    for name in names:
        assert torch.equal(found[name], wanted[name])
    kept = {name for name, _ in cut.named_parameters()}
    assert not any(name.startswith(("up_blocks.3", "conv_out")) for name in kept)
    assert not any("up_blocks.2.attentions.0.transformer_blocks.0.ff.net.2" in n for n in kept)
    assert not any("up_blocks.2.resnets.1" in name for name in kept)


@pytest.mark.parametrize(
    "last",
    [
        "mid_block.attentions.0",
        "down_blocks.1.attentions.1",
        "up_blocks.3.resnets.2",
        "up_blocks.1.attentions.0.transformer_blocks.0",
        "up_blocks.1.attentions.1.transformer_blocks.1.attn2",
        "down_blocks.0.attentions.0.transformer_blocks.1.attn2.to_q",
    ],
)
@torch.no_grad()
def test_any_last_feature_can_be_the_end(last: str) -> None:
    latents, text = inputs()
    whole, cut = (small_unet(transformer_layers_per_block=2) for _ in range(2))
    drop_unused(cut, (last,))
    wanted = unet_features(whole, latents, 51, text, (last,))
    assert torch.equal(unet_features(cut, latents, 51, text, (last,))[last], wanted[last])


def test_recomputed_activations_give_the_same_gradient() -> None:
    unet = small_unet().requires_grad_(False)
    gradients = []
    for checkpoint in (False, True):
        latents, text = inputs()
        latents.requires_grad_(True)
        found = unet_features(unet, latents, 51, text, ("up_blocks.2.attentions.0",), checkpoint)
        found["up_blocks.2.attentions.0"].square().mean().backward()
        assert latents.grad is not None
        gradients.append(latents.grad)
    torch.testing.assert_close(gradients[0], gradients[1])


def test_unknown_feature_is_named() -> None:
    latents, text = inputs()
    with pytest.raises(ConfigError, match=r"no feature up_blocks\.9\.attentions\.0"):
        unet_features(small_unet(), latents, 51, text, ("up_blocks.9.attentions.0",))
    with pytest.raises(ConfigError, match=r"no feature nonsense; it has latents, down_blocks"):
        drop_unused(small_unet(), ("nonsense",))


def test_channels_are_read_from_the_modules(backbone: StableDiffusion, reference: Path) -> None:
    assert feature_channels(backbone.unet, RELEASED_FEATURES) == (128,) * 5
    with pytest.raises(ConfigError, match="no feature up_blocks"):
        feature_channels(backbone.unet, ("up_blocks.3.attentions.0",))  # dropped on loading
