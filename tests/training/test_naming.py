"""The second task of training, naming the generator: learnt by the heads, and gone from what is saved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_up import made_up_rows, small_config, thirds

from diffagiqa.errors import TrainingError
from diffagiqa.training.loop import fit
from diffagiqa.training.naming import Naming
from diffagiqa.training.sources import FeatureSource, autocast
from diffagiqa.training.train import initial_model

COUNT = 24
QUIET = lambda text: None  # noqa: E731


@pytest.fixture
def rows(tmp_path: Path):  # type: ignore[no-untyped-def]
    return made_up_rows(tmp_path, COUNT)


def made_up_features(rows, width: int = 8) -> dict[str, torch.Tensor]:  # type: ignore[no-untyped-def]
    """(N, views, passes, C, h, w); the second channel alone tells the generators apart."""
    levels = 0.1 * torch.randn(COUNT, 1, 1, width, 4, 4, generator=torch.Generator().manual_seed(0))
    strong = torch.tensor([sample.generator == "strong" for sample in rows.samples])
    levels[strong, :, :, 1] += 1
    return {"latents": levels}


def test_heads_learn_to_name_generators(rows) -> None:  # type: ignore[no-untyped-def]
    """Labels that are all the same leave naming alone in the loss, and it falls."""
    rows = replace(rows, labels=torch.full_like(rows.labels, 0.5))
    model_settings = {"features": ("latents",), "feature_channels": (8,), "prompting": "none"}
    config = small_config(
        model_settings, epochs=30, lr_heads=3e-3, batch_size=8, naming_weight=1.0, relation="none"
    )
    source = FeatureSource(made_up_features(rows), autocast(torch.device("cpu"), "float32"))
    fitted = fit(initial_model(config.model, 0), source, rows, thirds(COUNT), config, log=QUIET)
    assert fitted.history[0]["loss"] > 0.5  # guessing between two gives log 2
    assert fitted.history[-1]["loss"] < 0.5 * fitted.history[0]["loss"]
    assert not any("naming" in name for name in fitted.model.state_dict())
    assert not fitted.model.heads["perception"].regressor._forward_pre_hooks  # type: ignore[union-attr]


def test_the_loss_counts_known_generators_only(rows) -> None:  # type: ignore[no-untyped-def]
    samples = [replace(s, generator=None) if s.row < 4 else s for s in rows.samples]
    unknown = replace(rows, samples=tuple(samples))
    naming = Naming(initial_model(small_config().model, 0), unknown, range(COUNT), 0)
    logits = [torch.randn(6, 2), torch.randn(6, 2)]
    wanted = torch.stack(
        [torch.nn.functional.cross_entropy(one[4:], naming.generators[4:6]) for one in logits]
    ).mean()
    torch.testing.assert_close(naming.loss(range(6), logits), wanted)
    assert naming.loss(range(3), [logits[0][:3]]) == 0


def test_needs_generators(rows) -> None:  # type: ignore[no-untyped-def]
    nameless = replace(rows, samples=tuple(replace(s, generator=None) for s in rows.samples))
    with pytest.raises(TrainingError, match="name 0 generators; give a column"):
        Naming(initial_model(small_config().model, 0), nameless, range(COUNT), 0)
