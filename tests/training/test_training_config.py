"""Recipes and flags: strict, readable, and reaching into the model."""

from __future__ import annotations

import json
from typing import Any

import pytest

from diffagiqa.errors import ConfigError
from diffagiqa.training.config import (
    TrainingConfig,
    load_recipe,
    override,
    recipe_names,
)


def test_every_recipe_can_be_read() -> None:
    assert {"agiqa-1k", "agiqa-3k", "aigciqa2023", "aigiqa-20k", "mixed"} <= set(recipe_names())
    for name in recipe_names():
        assert load_recipe(name).epochs > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs is 0; expected greater than or equal to 1"),
        ({"split_seed": -1}, "split_seed is -1; expected greater than or equal to 0"),
        ({"init": 3}, "init is 3; expected a valid string"),
        ({"loss": "mse"}, "unknown configuration key loss"),
        ({"relation": "triplet"}, "expected 'none', 'plcc' or 'fidelity'"),
        ({"batch_size": 5, "accumulation": 2}, "not a multiple of accumulation"),
        ({"clip_norm": 0.0}, "clip_norm is 0.0; expected greater than 0"),
        ({"task_weights": [-1.0]}, "task_weights.0 is -1.0; expected greater than or equal to 0"),
        ({"task_weights": [0.0, 0.0]}, "not all 0"),
        ({"task_weights": [1.0, float("inf")]}, "task_weights.1 is inf; expected a finite number"),
        ({"task_weights": [1.0, "x"]}, "task_weights.1 is 'x'; expected a valid number"),
        ({"pair_margin": 0.1, "pair_loss": "thurstone"}, 'expected 0 or "bradley-terry"'),
        ({"regression_weight": 0.0, "relation": "none", "pair_weight": 0.0}, "nothing would be"),
        ({"model": {"image_size": 100}}, "multiple of 32"),
        ({"model": 3}, "model is 3; expected an object"),
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
    assert override(config, {"init": "none"}).init is None
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


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"epochs": "3"}, "epochs is '3'; expected a valid integer"),
        ({"databases": "agiqa-3k"}, "databases is 'agiqa-3k'; expected a valid tuple"),
        ({"flip": "no"}, "flip is 'no'; expected a valid boolean"),
        ({"model": {}}, "model is {}; expected an instance of ModelConfig"),
        ({"split": None}, "split is None; expected 'prompt', 'image'"),
        ({"clip_norm": float("nan")}, "clip_norm is nan; expected a finite number"),
        ({"lr_heads": float("nan")}, "lr_heads is nan; expected a finite number"),
    ],
)
def test_a_wrong_value_from_python_is_said_in_one_sentence(
    values: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError) as fault:
        TrainingConfig(**values)
    assert str(fault.value).startswith(said)
