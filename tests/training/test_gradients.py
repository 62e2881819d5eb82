"""The prompters' gradient passes through VAE encoder and U-Net, and is the right one."""

from __future__ import annotations

import copy

import pytest
import torch
from made_up import small_model

from diffagiqa.backbones.base import Backbone, Prompts
from diffagiqa.backbones.noise import Noise, draw_noise
from diffagiqa.model.scoring import build_model
from diffagiqa.training.train import initial_model


@pytest.fixture(scope="module")
def exact_backbone(backbone: Backbone) -> Backbone:
    return copy.deepcopy(backbone).double()


@pytest.mark.parametrize("recompute", [False, True])
def test_prompter_gradient_is_the_finite_difference(
    exact_backbone: Backbone, recompute: bool
) -> None:
    """d score / d weight by automatic differentiation and by central differences, in float64."""
    torch.manual_seed(3)
    config = small_model(pyramid_kernels=(1,), pyramid_channels=4, attention_channels=2)
    model = build_model(config).double().eval()
    images = torch.rand(1, 3, 128, 128, dtype=torch.float64)
    noise = draw_noise(0, 0, exact_backbone.latent_shape(128, 128)).to("cpu", torch.float64)
    prompts = Prompts.stack(exact_backbone.encode_prompts(["a red fox"]))

    def score() -> torch.Tensor:
        scores = model(images, prompts, exact_backbone, [noise]).scores
        return scores["perception"].sum() + 2 * scores["alignment"].sum()

    exact_backbone.checkpoint_activations = recompute
    try:
        score().backward()
    finally:
        exact_backbone.checkpoint_activations = False
    step = 1e-5  # larger ones cross the kinks of ReLU, smaller ones are lost in rounding
    for task in ("perception", "alignment"):
        for name, weight in model.prompters[task].named_parameters():
            assert weight.grad is not None
            largest = int(weight.grad.abs().argmax())
            with torch.no_grad():
                flat = weight.view(-1)
                flat[largest] += step
                above = score()
                flat[largest] -= 2 * step
                below = score()
                flat[largest] += step
            found = weight.grad.view(-1)[largest].item()
            assert abs(found) > 1e-9, name
            assert ((above - below) / (2 * step)).item() == pytest.approx(found, rel=1e-4), name
    assert all(parameter.grad is None for parameter in exact_backbone.parameters())


def test_untrained_prompter_changes_nothing_and_can_learn(backbone: Backbone) -> None:
    """It starts as the identity, yet its gradient is not zero."""
    model = initial_model(small_model(), 0)
    images = torch.rand(2, 3, 128, 128)
    torch.testing.assert_close(model.prompt(images), torch.cat([2 * images - 1] * 2))
    noise = Noise(None, draw_noise(0, 0, backbone.latent_shape(128, 128)).diffusion)
    prompts = Prompts.stack(backbone.encode_prompts(["a", "b"]))
    model(images, prompts, backbone, [noise]).scores["perception"].sum().backward()
    gradient = model.prompters["perception"].conv2.weight.grad
    assert gradient is not None
    assert gradient.abs().max() > 0
