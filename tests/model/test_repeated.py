"""The pyramid at its true resolution equals the plain one, borders and gradients included."""

from __future__ import annotations

import copy

import pytest
import torch
from conftest import ROUNDING, small_config
from torch import nn
from torch.nn import functional as F

from diffagiqa import Scorer
from diffagiqa.accel.fold import fold
from diffagiqa.backbones.base import Prompts
from diffagiqa.model.pyramid import PyramidLevel
from diffagiqa.model.repeated import conv_of_repeated, repeat_ratio
from diffagiqa.model.scoring import build_model


@pytest.mark.parametrize("kernel", [1, 3, 5, 7, 9])
@pytest.mark.parametrize(("small", "ratio"), [(1, 4), (2, 2), (4, 2), (4, 4), (3, 3), (2, 8)])
def test_equals_the_convolution_of_the_repeated_map(kernel: int, small: int, ratio: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(5, 6, kernel, padding=kernel // 2).double()
    maps = torch.randn(2, 5, small, small, dtype=torch.float64, requires_grad=True)
    plain_maps = maps.detach().clone().requires_grad_(True)

    found = conv_of_repeated(maps, conv, ratio)
    pooled = F.adaptive_avg_pool2d(plain_maps, small * ratio)
    wanted = conv(pooled)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)

    weights = torch.randn_like(wanted)
    (found * weights).sum().backward()
    gradients = [p.grad.clone() for p in conv.parameters() if p.grad is not None]
    conv.zero_grad()
    (wanted * weights).sum().backward()
    torch.testing.assert_close(maps.grad, plain_maps.grad, rtol=1e-12, atol=1e-12)
    for mine, plain in zip(gradients, conv.parameters(), strict=True):
        torch.testing.assert_close(mine, plain.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("side", [3, 4, 6, 8, 12, 24, 32])
def test_a_level_equals_its_plain_twin_at_any_size(side: int) -> None:
    """Maps whose size divides 24 are convolved before the repetition, others are pooled first."""
    torch.manual_seed(0)
    level = PyramidLevel(4, 3, (1, 3, 5, 7), 24).double().eval()
    maps = torch.randn(2, 4, side, side, dtype=torch.float64)
    pooled = F.adaptive_avg_pool2d(maps, 24)
    wanted = level.fusion(torch.cat([branch(pooled) for branch in level.branches], dim=1))
    torch.testing.assert_close(level(maps), wanted, rtol=1e-12, atol=1e-12)


def test_when_a_map_is_repeated() -> None:
    assert repeat_ratio(8, 8, 32) == 4
    assert repeat_ratio(32, 32, 32) == 1
    assert repeat_ratio(12, 12, 32) == 1
    assert repeat_ratio(8, 16, 32) == 1
    assert repeat_ratio(64, 64, 32) == 1


def test_folding_changes_no_score() -> None:
    torch.manual_seed(0)
    model = build_model(small_config()).double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()  # type: ignore[operator]
            module.running_var.uniform_(0.5, 2)  # type: ignore[operator]
            nn.init.normal_(module.weight)
    model.eval()
    features = {
        name: torch.randn(4, 2 * 128, side, side, dtype=torch.float64).view(8, 128, side, side)
        for name, side in zip(model.config.features, (4, 8, 8, 8, 16), strict=True)
    }
    folded = fold(copy.deepcopy(model))
    assert not any(isinstance(m, nn.BatchNorm2d | nn.Dropout) for m in folded.modules())
    wanted, found = model.score_features(features), folded.score_features(features)
    for task in wanted:
        torch.testing.assert_close(found[task], wanted[task], rtol=1e-10, atol=1e-12)


def test_prompters_that_change_nothing_share_a_pass() -> None:
    config = small_config()
    scorer = Scorer.untrained(config.backbone, config, device="cpu", dtype="float32")
    image = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    assert fold(copy.deepcopy(scorer.model)).prompters.keys() == scorer.model.prompters.keys()
    for prompter in scorer.model.prompters.values():
        nn.init.zeros_(prompter.conv2.weight)
        nn.init.zeros_(prompter.conv2.bias)
    folded = fold(copy.deepcopy(scorer.model))
    assert len(folded.prompters) == 1
    prompts = Prompts.stack(scorer.prompts(["a fox", "a cat"]))
    outputs = [
        model(image, prompts, scorer.backbone, scorer.runner.noises(128, 128)).scores
        for model in (scorer.model, folded)
    ]
    for task, scores in outputs[0].items():
        torch.testing.assert_close(outputs[1][task], scores, rtol=0, atol=ROUNDING)
