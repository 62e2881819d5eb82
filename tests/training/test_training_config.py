"""Recipes and flags: strict, readable, and reaching into the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from diffagiqa.errors import ConfigError
from diffagiqa.training.config import (
    TrainingConfig,
    load_recipe,
    override,
    prompts_to_test,
    recipe_names,
)


def test_every_recipe_can_be_read() -> None:
    assert {"agiqa-1k", "agiqa-3k", "aigciqa2023", "aigiqa-20k", "mixed"} <= set(recipe_names())
    for name in recipe_names():
        assert load_recipe(name).epochs > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs is 0; expected 1"),
        ({"split_seed": -1}, "split_seed is -1; expected 0 to"),
        ({"init": 3}, r"init is 3; expected str \| None"),
        ({"loss": "mse"}, "unknown configuration key loss"),
        ({"relation": "triplet"}, "expected one of none, plcc, margin, fidelity"),
        ({"batch_size": 5, "accumulation": 2}, "not a multiple of accumulation"),
        ({"clip_norm": 0.0}, "expected a positive number"),
        ({"task_weights": [-1.0]}, "expected numbers of 0 or more"),
        ({"task_weights": [0.0, 0.0]}, "not all 0"),
        ({"task_weights": [1.0, float("inf")]}, "expected numbers of 0 or more"),
        (
            {"task_weights": [1.0, "x"]},
            r"task_weights is \(1.0, 'x'\); expected tuple\[float, ...\]",
        ),
        ({"regression_weight": 0.0, "relation": "none"}, "nothing would be learnt"),
        ({"model": {"image_size": 100}}, "multiple of 32"),
        ({"model": 3}, "model is no JSON object"),
    ],
)
def test_bad_values_are_one_sentence(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainingConfig.from_json(json.dumps(change))


def test_flags_are_text_and_lists_are_commas() -> None:
    config = override(
        TrainingConfig(),
        {
            "databases": "agiqa-1k, agiqa-3k",
            "lr_heads": "3e-4",
            "flip": "False",
            "init": "models/start",
            "model.features": "mid_block.attentions.0",
            "model.feature_channels": "5120",
            "task_weights": "1.0, 0.5",
        },
    )
    assert override(config, {"init": "none", "test_prompts": ""}).init is None
    few = override(TrainingConfig(), {"model.features": "latents, mid_block.attentions.0"})
    assert len(few.model.features) == len(few.model.feature_channels) == 2
    assert config.databases == ("agiqa-1k", "agiqa-3k")
    assert (config.lr_heads, config.flip, config.init) == (3e-4, False, "models/start")
    assert config.model.features == ("mid_block.attentions.0",)
    assert config.task_weights == (1.0, 0.5)
    with pytest.raises(ConfigError, match="unknown key learning_rate"):
        override(config, {"learning_rate": "1"})
    with pytest.raises(ConfigError, match="epochs is 'many'"):
        override(config, {"epochs": "many"})


def test_a_recipe_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"recipe nowhere\.json cannot be read"):
        load_recipe("nowhere.json")


def test_prompts_that_may_be_tested(tmp_path: Path) -> None:
    assert prompts_to_test(TrainingConfig()) is None
    (tmp_path / "mine.txt").write_text("a fox\n\n two cats \n", encoding="utf-8")
    own = TrainingConfig(test_prompts=str(tmp_path / "mine.txt"))
    assert prompts_to_test(own) == ["a fox", "two cats"]
    with pytest.raises(ConfigError, match="list of prompts nothing cannot be read"):
        prompts_to_test(TrainingConfig(test_prompts="nothing"))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"epochs": "3"}, "TrainingConfig.epochs is '3'; expected a value like 30"),
        ({"databases": "agiqa-3k"}, "TrainingConfig.databases is 'agiqa-3k'; "),
        ({"flip": "no"}, "TrainingConfig.flip is 'no'; expected a value like True"),
        ({"model": {}}, "TrainingConfig.model is {}; expected a ModelConfig"),
        ({"split": None}, "TrainingConfig.split is None; expected one of prompt, image, official"),
        ({"clip_norm": float("nan")}, "clip_norm is nan; expected a positive number"),
        ({"lr_heads": float("nan")}, "lr_heads is nan; expected 0.0 to 10.0"),
    ],
)
def test_a_wrong_value_from_python_is_said_in_one_sentence(
    values: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError) as fault:
        TrainingConfig(**values)
    assert str(fault.value).startswith(said)
