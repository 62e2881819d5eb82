"""The trained parts around the frozen backbone: wiring, freezing, gradients, noise."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from conftest import small_config

from diffagiqa.backbones.noise import Noise, draw_noise
from diffagiqa.backbones.unet import Backbone
from diffagiqa.model.config import TaskConfig
from diffagiqa.model.pyramid import StatisticsPooling, statistics, textures
from diffagiqa.model.scoring import build_model, scoring_noise


def batch(size: int = 2) -> torch.Tensor:
    return torch.rand(size, 3, 128, 128, generator=torch.Generator().manual_seed(0))


def test_three_tasks_three_prompters_one_pyramid(backbone: Backbone) -> None:
    tasks = tuple(TaskConfig(name) for name in ("perception", "authenticity", "alignment"))
    model = build_model(small_config(tasks=tasks)).eval()
    prompts = backbone.encode_prompts(["a fox", ""])
    scores = model(batch(), prompts, backbone, scoring_noise(model.config, backbone, 0))
    assert list(scores) == ["perception", "authenticity", "alignment"]
    assert list(model.prompters) == list(scores)
    for value in scores.values():
        assert value.shape == (2,)
        assert bool(((value > 0) & (value < 1)).all())


def test_one_prompter_for_all_tasks_and_none(backbone: Backbone) -> None:
    prompts = backbone.encode_prompts(["a fox", ""])
    for prompting in ("shared", "none"):
        model = build_model(small_config(prompting=prompting)).eval()
        assert model.prompt(batch()).shape == (2, 3, 128, 128)
        scores = model(batch(), prompts, backbone, scoring_noise(model.config, backbone, 0))
        assert list(scores) == ["perception", "alignment"]
    assert not list(model.prompters.parameters())


def test_a_task_without_text_does_not_hear_the_prompt(backbone: Backbone) -> None:
    tasks = (TaskConfig("perception", use_text=False), TaskConfig("alignment"))
    for prompting, pooling in (("none", "statistics"), ("per_task", "pyramid")):
        torch.manual_seed(0)
        model = build_model(small_config(tasks=tasks, prompting=prompting, pooling=pooling)).eval()
        noise = scoring_noise(model.config, backbone, 0)
        with torch.no_grad():
            one = model(batch(), backbone.encode_prompts(["a fox", ""]), backbone, noise)
            two = model(batch(), backbone.encode_prompts(["a car", "dusk"]), backbone, noise)
        assert torch.equal(one["perception"], two["perception"])
        assert not torch.equal(one["alignment"], two["alignment"])
    together = build_model(small_config(use_text=False, prompting="shared"))
    assert len(together.passes) == 1  # tasks that agree share one pass of the U-Net


def test_statistics_in_float64() -> None:
    maps = torch.rand(2, 3, 5, 4, dtype=torch.float64)
    found = statistics(maps)[:, :, 0, 0].unflatten(1, (4, 3))
    values = maps.flatten(2).numpy()
    away = values - values.mean(2, keepdims=True)
    wanted = [
        values.mean(2),
        np.log(values.var(2) + 1e-5) / 2,
        np.log(np.abs(away).mean(2) + 1e-3) - np.log(values.var(2) + 1e-5) / 2,
        np.sqrt(np.log(away**2 + 1e-4).var(2) + 1e-6),
    ]
    np.testing.assert_allclose(found.numpy(), np.stack(wanted, 1), rtol=1e-9)


def test_textures_are_correlations() -> None:
    maps = torch.randn(2, 4, 6, 7, dtype=torch.float64)
    places, pairs = (found[:, :, 0, 0] for found in textures(maps))
    values = maps.numpy()
    away = values - values.mean((2, 3), keepdims=True)
    energy = np.log(away**2 + 1e-4).reshape(2, 4, -1)
    wanted = np.stack([np.corrcoef(one)[np.triu_indices(4, 1)] for one in energy])
    np.testing.assert_allclose(pairs, wanted, atol=1e-5)  # the floor under the deviations
    size = np.abs(away) - np.abs(away).mean((2, 3), keepdims=True)
    floor = (size**2).mean((2, 3)) + 1e-4
    below = (size[:, :, 2:] * size[:, :, :-2]).mean((2, 3)) / floor
    np.testing.assert_allclose(places.unflatten(1, (6, 4))[:, 2], below, rtol=1e-9)
    right = (away[..., 1:] * away[..., :-1]).mean((2, 3)) / ((away**2).mean((2, 3)) + 1e-4)
    np.testing.assert_allclose(places.unflatten(1, (6, 4))[:, 5], right, rtol=1e-9)


def test_textures_of_a_flat_picture_and_of_one_place_are_finite() -> None:
    for maps in (torch.ones(1, 3, 4, 4), torch.randn(1, 3, 1, 1)):
        maps.requires_grad_(True)
        found = torch.cat(textures(maps), dim=1)
        (gradient,) = torch.autograd.grad(found.sum(), maps)
        assert found.isfinite().all()
        assert gradient.isfinite().all()
        assert found.abs().max() < 1.01


def test_distance_is_that_of_the_kind_that_deviates_most_and_words_are_no_kind() -> None:
    pooling = StatisticsPooling([2, 3], channels=4, words=[8]).eval()  # mean 0, deviation 1
    ones = [torch.ones(1, width, 1, 1) for width in pooling.widths]
    found = pooling.distance([2 * ones[0], 3 * ones[1], 100 * ones[2]])
    torch.testing.assert_close(found, torch.tensor([9.0]), rtol=1e-4, atol=0)


def test_distance_hears_no_prompt_and_is_averaged_over_draws(backbone: Backbone) -> None:
    torch.manual_seed(0)
    tasks = (TaskConfig("perception", use_text=False), TaskConfig("alignment"))
    config = small_config(
        tasks=tasks, prompting="none", pooling="statistics", unfamiliar_above=1.0, noise_draws=2
    )
    model = build_model(config).eval()
    noises = scoring_noise(config, backbone, 0)

    def distance(prompt: str, noises: list[Noise]) -> torch.Tensor:
        found = model.judge(batch(), backbone.encode_prompts([prompt] * 2), backbone, noises)
        assert found.distance is not None
        return found.distance

    with torch.no_grad():
        together, other = distance("a fox", noises), distance("two cats", noises)
        first, second = (distance("a fox", [noise]) for noise in noises)
    torch.testing.assert_close(other, together)
    torch.testing.assert_close(together, (first + second) / 2)
    assert not torch.equal(first, second)


def test_latents_by_hand(backbone: Backbone) -> None:
    """A posterior of 2 +- 0.5 at 3 deviations, shifted and scaled, with noise of 4."""
    own = copy.deepcopy(backbone)
    own.shift_factor, own.scaling_factor = 0.5, 0.2
    own.alphas_cumprod = torch.tensor([0.64], dtype=torch.float64)
    mean, std, posterior, diffusion = (
        torch.full((1, 4, 2, 2), value) for value in (2.0, 0.5, 3.0, 4.0)
    )
    found = own.noisy_latents(mean, std, Noise(posterior, diffusion), 0)
    wanted = 0.8 * 0.2 * (2 + 0.5 * 3 - 0.5) + 0.6 * 4
    torch.testing.assert_close(found, torch.full_like(mean, wanted))


def test_the_empty_prompt_follows_the_backbone_to_another_type(backbone: Backbone) -> None:
    own = copy.deepcopy(backbone)
    assert own.no_text().dtype == torch.float32
    assert own.bfloat16().no_text().dtype == torch.bfloat16


def test_a_branch_scores_as_it_would_alone(backbone: Backbone) -> None:
    """Both branches run in one batch; each must give what a model of that task alone gives."""
    torch.manual_seed(0)
    both = build_model(small_config()).eval()
    alone = build_model(small_config(tasks=(TaskConfig("alignment"),))).eval()
    own = alone.state_dict()
    alone.load_state_dict({name: both.state_dict()[name] for name in own})
    prompts = backbone.encode_prompts(["a fox", "two cats"])
    noise = scoring_noise(both.config, backbone, 0)
    with torch.no_grad():
        wanted = alone(batch(), prompts, backbone, noise)["alignment"]
        found = both(batch(), prompts, backbone, noise)["alignment"]
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)


def test_pictures_are_encoded_in_pieces(
    monkeypatch: pytest.MonkeyPatch, backbone: Backbone
) -> None:
    images = torch.rand(5, 3, 64, 64)
    whole = backbone.encode_image(images)  # gradients are on: in one piece
    monkeypatch.setattr("diffagiqa.backbones.unet.ENCODED_AT_ONCE", 2 * 64 * 64)
    sizes = []
    handle = backbone.vae_encoder.register_forward_pre_hook(
        lambda _module, inputs: sizes.append(len(inputs[0]))
    )
    with torch.no_grad():
        pieces = backbone.encode_image(images)
    handle.remove()
    assert sizes == [2, 2, 1]
    for one, other in zip(whole, pieces, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_frozen_parts_stay_frozen_and_pass_gradients(backbone: Backbone) -> None:
    torch.manual_seed(0)
    model = build_model(small_config()).train()
    backbone.train()
    assert not any(module.training for module in backbone.modules())
    prompts = backbone.encode_prompts(["a fox", "two cats"])
    scores = model(batch(), prompts, backbone, scoring_noise(model.config, backbone, 0))
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
    backbone: Backbone,
) -> None:
    for posterior in ("mean", "sample"):
        (noise,) = scoring_noise(small_config(posterior=posterior), backbone, 0)
        assert (noise.posterior is None) == (posterior == "mean")


def test_draws_are_averaged(backbone: Backbone) -> None:
    torch.manual_seed(0)
    model = build_model(small_config(noise_draws=3)).eval()
    prompts = backbone.encode_prompts(["a fox", "two cats"])
    noises = scoring_noise(model.config, backbone, 0)
    with torch.no_grad():
        together = model(batch(), prompts, backbone, noises)["perception"]
        singly = [model(batch(), prompts, backbone, [noise])["perception"] for noise in noises]
    torch.testing.assert_close(together, torch.stack(singly).mean(0))
    assert not torch.equal(singly[0], singly[1])


def test_long_prompts_rules(backbone: Backbone) -> None:
    long = "word " * 100
    assert backbone.encode_text([long]).shape[1] == 77
    assert backbone.encode_text([long], "chunk").shape[1] % 77 == 0
    assert backbone.encode_text([long], "chunk").shape[1] > 77
    for count, length in ((75, 77), (76, 154)):  # words of one token each, 75 to a piece
        assert backbone.encode_text(["a " * count], "chunk").shape[1] == length
    released = backbone.encode_text([long.strip()], "released")
    assert released.shape[1] > 77
    # 70 words or fewer are truncated by the release even where they are more than 77 tokens.
    assert backbone.encode_text(["incomprehensibilities " * 60], "released").shape[1] == 77
    short = backbone.encode_text(["a fox"])
    torch.testing.assert_close(backbone.encode_text(["a fox"], "chunk"), short)
    torch.testing.assert_close(backbone.encode_text(["a fox"], "released"), short)


def test_long_prompts_of_the_release_are_cut_in_pieces_and_not_filled_up(
    backbone: Backbone,
) -> None:
    long = " ".join(f"word{number}" for number in range(90))
    ids = backbone.tokenizer(long, truncation=False)["input_ids"]
    assert len(ids) % 77
    with torch.no_grad():
        pieces = [
            backbone.text_encoder(torch.tensor([ids[start : start + 77]]))[0][0]
            for start in range(0, len(ids), 77)
        ]
        found = backbone.encode_each(["a fox", long], "released")
    assert [len(one.text) for one in found] == [77, len(ids)]
    torch.testing.assert_close(found[1].text, torch.cat(pieces))
    assert len(found[1].words) == len(ids)


def test_no_text_has_a_length_of_its_own(backbone: Backbone) -> None:
    model = build_model(small_config(use_text=False, long_prompts="released")).eval()
    noise = scoring_noise(model.config, backbone, 0)
    long = backbone.encode_prompts(["word " * 89 + "word"] * 2, "released")
    with torch.no_grad():
        one = model(batch(), long, backbone, noise)
        two = model(batch(), backbone.encode_prompts(["", ""]), backbone, noise)
    assert torch.equal(one["perception"], two["perception"])
