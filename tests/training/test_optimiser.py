"""The optimiser's groups and the averaged weights, by hand."""

from __future__ import annotations

from dataclasses import replace

import torch
from made_up import small_config

from diffagiqa.model.scoring import build_model
from diffagiqa.training.optimiser import EMA, make_optimiser, trained_parameters


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
    """(1 + step) / (10 + step) of the old value stay after a step, and never more than the decay."""
    model = build_model(small_config().model)
    ema = EMA(model, 0.9)
    norm, own = (m.heads["alignment"].fusion[0][1] for m in (model, ema.model))  # type: ignore[index, union-attr]
    value = 0.0
    for step, kept in ((1, 2 / 11), (2, 3 / 12), (1000, 0.9)):
        norm.running_mean.fill_(step)
        norm.num_batches_tracked.fill_(step)
        ema.update(model, step)
        value = kept * value + (1 - kept) * step
        torch.testing.assert_close(own.running_mean, torch.full_like(own.running_mean, value))
        assert int(own.num_batches_tracked) == step
