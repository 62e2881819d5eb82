"""The optimiser's groups and the averaged weights, by hand."""

from __future__ import annotations

from dataclasses import replace

import torch
from made_up import small_config

from diffagiqa.model.scoring import build_model
from diffagiqa.training.optimiser import (
    averaged,
    make_optimiser,
    make_schedule,
    trained_parameters,
)


def test_matrices_of_the_heads_alone_decay_and_prompters_have_their_own_rate() -> None:
    config = replace(small_config(), lr_heads=1e-3, lr_prompters=1e-4, weight_decay=0.3)
    model = build_model(config.model)
    found = {
        parameter: (group["lr"], group["weight_decay"])
        for group in make_optimiser(model, config).param_groups
        for parameter in group["params"]
    }
    assert set(found) == set(trained_parameters(model))
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.startswith("prompters."):
            assert found[parameter] == (1e-4, 0), name
        else:
            assert found[parameter] == (1e-3, 0.3 if parameter.ndim > 1 else 0), name


def test_averages_follow_fast_at_first_and_then_at_their_rate() -> None:
    """After n updates (1 + n) / (10 + n) of the old value stays, and never more than the decay."""
    model = build_model(small_config().model)
    average = averaged(model, 0.9)
    norm, mean = (m.heads["alignment"].fusion[0][1] for m in (model, average.module))  # type: ignore[index, union-attr]
    value = 0.0
    for step, left in ((1, 0.0), (2, 2 / 11), (3, 3 / 12), (4, 4 / 13)):  # the first is taken whole
        norm.running_mean.fill_(step)
        norm.num_batches_tracked.fill_(step)
        average.update_parameters(model)
        value = left * value + (1 - left) * step
        torch.testing.assert_close(mean.running_mean, torch.full_like(mean.running_mean, value))
        assert int(mean.num_batches_tracked) == step
    average.n_averaged.fill_(1000)
    norm.running_mean.fill_(9)
    average.update_parameters(model)
    value = 0.9 * value + 0.1 * 9
    torch.testing.assert_close(mean.running_mean, torch.full_like(mean.running_mean, value))
    assert not any(parameter.requires_grad for parameter in average.parameters())


def test_rates_rise_and_fall() -> None:
    config = small_config(lr_heads=1.0, lr_prompters=0.1, warmup=0.2)
    optimiser = make_optimiser(build_model(config.model), config)
    schedule = make_schedule(optimiser, config, 10)
    rates = []
    for _ in range(11):
        rates.append([group["lr"] for group in optimiser.param_groups])
        optimiser.step()
        schedule.step()
    assert [round(rate[0], 3) for rate in rates][::2] == [0.0, 1.0, 0.854, 0.5, 0.146, 0.0]
    assert all(rate[2] == 0.1 * rate[0] for rate in rates)
