"""The second task of training, telling generators apart: learnt by the heads, gone from what is saved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_up import made_up_rows, small_config, thirds

from diffagiqa.training.generators import GeneratorClassifier
from diffagiqa.training.inputs import FeatureInputs
from diffagiqa.training.loop import fit
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
    """Labels that are all the same leave generators alone in the loss, and it falls."""
    rows = replace(rows, labels=torch.full_like(rows.labels, 0.5))
    model_settings = {"features": ("latents",), "feature_channels": (8,), "prompting": "none"}
    config = small_config(
        model_settings,
        epochs=30,
        lr_heads=3e-3,
        batch_size=8,
        generator_weight=1.0,
        relation="none",
    )
    source = FeatureInputs(made_up_features(rows))
    fitted = fit(initial_model(config.model, 0), source, rows, thirds(COUNT), config, log=QUIET)
    assert fitted.history[0]["loss"] > 0.5  # guessing between two gives log 2
    assert fitted.history[-1]["loss"] < 0.5 * fitted.history[0]["loss"]
    assert not any("classifier" in name for name in fitted.model.state_dict())


def test_the_loss_counts_known_generators_only(rows) -> None:  # type: ignore[no-untyped-def]
    samples = [replace(s, generator=None) if s.row < 4 else s for s in rows.samples]
    unknown = replace(rows, samples=tuple(samples))
    classifier = GeneratorClassifier(
        initial_model(small_config().model, 0), unknown, range(COUNT), 0
    )
    logits = [torch.randn(6, 2), torch.randn(6, 2)]
    wanted = torch.stack(
        [torch.nn.functional.cross_entropy(task[4:], classifier.generators[4:6]) for task in logits]
    ).mean()
    torch.testing.assert_close(classifier.loss(logits, range(6)), wanted)
    assert classifier.loss([logits[0][:3]], range(3)) == 0


def test_is_left_out_where_no_two_generators_are_known(rows) -> None:  # type: ignore[no-untyped-def]
    nameless = replace(rows, samples=tuple(replace(s, generator=None) for s in rows.samples))
    model_settings = {"features": ("latents",), "feature_channels": (8,), "prompting": "none"}
    config = small_config(model_settings, epochs=1, generator_weight=1.0)
    said: list[str] = []
    fit(
        initial_model(config.model, 0), FeatureInputs(made_up_features(rows)), nameless,
        thirds(COUNT), config, log=said.append,
    )  # fmt: skip
    assert "left out, as the training rows name fewer than two generators" in said[0]
