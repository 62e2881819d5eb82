"""The trained parts around the frozen backbone: wiring, freezing, gradients, noise."""

from __future__ import annotations

import copy

import pytest
import torch
from conftest import ROUNDING, encode_prompts, encode_text, small_config

from diffagiqa.backbones.noise import Noise, draw_noise
from diffagiqa.backbones.unet import StableDiffusion
from diffagiqa.model.config import TaskConfig
from diffagiqa.model.scoring import build_model, scoring_noise


def batch(size: int = 2) -> torch.Tensor:
    return torch.rand(size, 3, 128, 128, generator=torch.Generator().manual_seed(0))


def test_three_tasks_three_prompters_one_pyramid(backbone: StableDiffusion) -> None:
    tasks = tuple(TaskConfig(name) for name in ("perception", "authenticity", "alignment"))
    model = build_model(small_config(tasks=tasks)).eval()
    prompts = encode_prompts(backbone, ["a fox", ""])
    scores = model(batch(), prompts, backbone, scoring_noise(model.config, backbone, 0)).scores
    assert list(scores) == ["perception", "authenticity", "alignment"]
    assert list(model.prompters) == list(scores)
    for value in scores.values():
        assert value.shape == (2,)
        assert bool(((value > 0) & (value < 1)).all())


def test_one_prompter_for_all_tasks_and_none(backbone: StableDiffusion) -> None:
    prompts = encode_prompts(backbone, ["a fox", ""])
    for prompting in ("shared", "none"):
        model = build_model(small_config(prompting=prompting)).eval()
        assert model.prompt(batch()).shape == (2, 3, 128, 128)
        scores = model(batch(), prompts, backbone, scoring_noise(model.config, backbone, 0)).scores
        assert list(scores) == ["perception", "alignment"]
    assert not list(model.prompters.parameters())


def test_a_task_without_text_does_not_hear_the_prompt(backbone: StableDiffusion) -> None:
    tasks = (TaskConfig("perception", use_text=False), TaskConfig("alignment"))
    for prompting, pooling in (("none", "plain"), ("per_task", "pyramid")):
        torch.manual_seed(0)
        model = build_model(small_config(tasks=tasks, prompting=prompting, pooling=pooling)).eval()
        noise = scoring_noise(model.config, backbone, 0)
        with torch.no_grad():
            one = model(batch(), encode_prompts(backbone, ["a fox", ""]), backbone, noise).scores
            two = model(
                batch(), encode_prompts(backbone, ["a car", "dusk"]), backbone, noise
            ).scores
        assert torch.equal(one["perception"], two["perception"])
        assert not torch.equal(one["alignment"], two["alignment"])
    together = build_model(small_config(use_text=False, prompting="shared"))
    assert len(together.passes) == 1  # tasks that agree share one pass of the U-Net


def test_latents_by_hand(backbone: StableDiffusion) -> None:
    """A posterior of 2 +- 0.5 at 3 deviations, shifted and scaled, with noise of 4."""
    own = copy.deepcopy(backbone)
    encoder = own.image_encoder
    encoder.shift_factor, encoder.scaling_factor = 0.5, 0.2
    own.alphas_cumprod = torch.tensor([0.64], dtype=torch.float64)
    mean, std, posterior, diffusion = (
        torch.full((1, 4, 2, 2), value) for value in (2.0, 0.5, 3.0, 4.0)
    )
    found = own.noisy_latents(mean, std, Noise(posterior, diffusion), 0)
    wanted = 0.8 * 0.2 * (2 + 0.5 * 3 - 0.5) + 0.6 * 4
    torch.testing.assert_close(found, torch.full_like(mean, wanted))


def test_the_empty_prompt_follows_the_backbone_to_another_type(backbone: StableDiffusion) -> None:
    own = copy.deepcopy(backbone)
    assert own.no_text(77).text.dtype == torch.float32
    assert own.bfloat16().no_text(77).text.dtype == torch.bfloat16


def test_a_branch_scores_as_it_would_alone(backbone: StableDiffusion) -> None:
    """Both branches run in one batch; each must give what a model of that task alone gives."""
    torch.manual_seed(0)
    both = build_model(small_config()).eval()
    alone = build_model(small_config(tasks=(TaskConfig("alignment"),))).eval()
    own = alone.state_dict()
    alone.load_state_dict({name: both.state_dict()[name] for name in own})
    prompts = encode_prompts(backbone, ["a fox", "two cats"])
    noise = scoring_noise(both.config, backbone, 0)
    with torch.no_grad():
        wanted = alone(batch(), prompts, backbone, noise).scores["alignment"]
        found = both(batch(), prompts, backbone, noise).scores["alignment"]
    torch.testing.assert_close(found, wanted, rtol=0, atol=ROUNDING)


def test_pictures_are_encoded_in_pieces(
    monkeypatch: pytest.MonkeyPatch, backbone: StableDiffusion
) -> None:
    images = torch.rand(5, 3, 64, 64)
    whole = backbone.encode_image(images)  # gradients are on: in one piece
    monkeypatch.setattr("diffagiqa.backbones.vae.ENCODED_AT_ONCE", 2 * 64 * 64)
    sizes = []
    handle = backbone.image_encoder.encoder.register_forward_pre_hook(
        lambda _module, inputs: sizes.append(len(inputs[0]))
    )
    with torch.no_grad():
        pieces = backbone.encode_image(images)
    handle.remove()
    assert sizes == [2, 2, 1]
    for one, other in zip(whole, pieces, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_frozen_parts_stay_frozen_and_pass_gradients(backbone: StableDiffusion) -> None:
    torch.manual_seed(0)
    model = build_model(small_config()).train()
    backbone.train()
    assert not any(module.training for module in backbone.modules())
    prompts = encode_prompts(backbone, ["a fox", "two cats"])
    scores = model(batch(), prompts, backbone, scoring_noise(model.config, backbone, 0)).scores
    torch.stack(list(scores.values())).sum().backward()
    assert all(parameter.grad is None for parameter in backbone.parameters())
    for name, prompter in model.prompters.items():
        for parameter in prompter.parameters():
            assert parameter.grad is not None, name
            assert float(parameter.grad.abs().sum()) > 0, name


def test_noise_is_a_function_of_seed_draw_and_shape() -> None:
    state = torch.get_rng_state()
    first = draw_noise(3, 1, (4, 8, 8))
    assert torch.equal(torch.get_rng_state(), state)  # the global stream is untouched
    torch.randn(17)
    again = draw_noise(3, 1, (4, 8, 8))
    assert first.posterior is not None
    assert again.posterior is not None
    assert torch.equal(first.posterior, again.posterior)
    assert torch.equal(first.diffusion, again.diffusion)
    for seed, draw in ((3, 0), (4, 1), (1, 3), (2, 2)):
        assert not torch.equal(first.diffusion, draw_noise(seed, draw, (4, 8, 8)).diffusion)


def test_posterior_mean_draws_the_same_diffusion_noise() -> None:
    mean, sample = draw_noise(0, 0, (4, 8, 8), "mean"), draw_noise(0, 0, (4, 8, 8), "sample")
    assert mean.posterior is None
    assert torch.equal(mean.diffusion, sample.diffusion)


def test_scoring_draws_a_posterior_only_where_the_configuration_samples(
    backbone: StableDiffusion,
) -> None:
    for posterior in ("mean", "sample"):
        (noise,) = scoring_noise(small_config(posterior=posterior), backbone, 0)
        assert (noise.posterior is None) == (posterior == "mean")


def test_draws_are_averaged(backbone: StableDiffusion) -> None:
    torch.manual_seed(0)
    model = build_model(small_config(noise_draws=3)).eval()
    prompts = encode_prompts(backbone, ["a fox", "two cats"])
    noises = scoring_noise(model.config, backbone, 0)
    with torch.no_grad():
        together = model(batch(), prompts, backbone, noises).scores["perception"]
        singly = [
            model(batch(), prompts, backbone, [noise]).scores["perception"] for noise in noises
        ]
    torch.testing.assert_close(together, torch.stack(singly).mean(0))
    assert not torch.equal(singly[0], singly[1])


def test_long_prompts_rules(backbone: StableDiffusion) -> None:
    long = "word " * 100
    assert encode_text(backbone, [long]).shape[1] == 77
    assert encode_text(backbone, [long], "chunk").shape[1] % 77 == 0
    assert encode_text(backbone, [long], "chunk").shape[1] > 77
    for count, length in ((75, 77), (76, 154)):  # words of one token each, 75 to a piece
        assert encode_text(backbone, ["a " * count], "chunk").shape[1] == length
    released = encode_text(backbone, [long.strip()], "released")
    assert released.shape[1] > 77
    # 70 words or fewer are truncated by the release even where they are more than 77 tokens.
    assert encode_text(backbone, ["incomprehensibilities " * 60], "released").shape[1] == 77
    short = encode_text(backbone, ["a fox"])
    torch.testing.assert_close(encode_text(backbone, ["a fox"], "chunk"), short)
    torch.testing.assert_close(encode_text(backbone, ["a fox"], "released"), short)


def test_long_prompts_of_the_release_are_cut_in_pieces_and_not_filled_up(
    backbone: StableDiffusion,
) -> None:
    long = " ".join(f"word{number}" for number in range(90))
    ids = backbone.tokenizer(long, truncation=False)["input_ids"]
    assert len(ids) % 77
    with torch.no_grad():
        pieces = [
            backbone.text_encoder(torch.tensor([ids[start : start + 77]]))[0][0]
            for start in range(0, len(ids), 77)
        ]
        found = backbone.encode_prompts(["a fox", long], "released")
    assert [len(one.text) for one in found] == [77, len(ids)]
    torch.testing.assert_close(found[1].text, torch.cat(pieces))
    assert len(found[1].words) == len(ids)


def test_no_text_has_a_length_of_its_own(backbone: StableDiffusion) -> None:
    model = build_model(small_config(use_text=False, long_prompts="released")).eval()
    noise = scoring_noise(model.config, backbone, 0)
    long = encode_prompts(backbone, ["word " * 89 + "word"] * 2, "released")
    with torch.no_grad():
        one = model(batch(), long, backbone, noise).scores
        two = model(batch(), encode_prompts(backbone, ["", ""]), backbone, noise).scores
    assert torch.equal(one["perception"], two["perception"])
