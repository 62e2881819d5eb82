"""Configurations are strict, and survive the disk."""

from __future__ import annotations

import json
from typing import Any

import pytest

from diffagiqa.errors import ConfigError
from diffagiqa.model.config import ModelConfig, TaskConfig


def test_round_trip() -> None:
    config = ModelConfig(
        tasks=(TaskConfig("perception", 0, 100), TaskConfig("authenticity")),
        backbone="./backbone",
        features=("mid_block.attentions.0",),
        feature_channels=(64,),
        prompting="shared",
    )
    assert ModelConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": 500}, "multiple of 32"),
        ({"image_size": "512"}, "image_size is '512'"),
        ({"image_size": 10**9}, "image_size is 1000000000; expected less than or equal to 4096"),
        ({"timestep": 1000}, "timestep is 1000; expected less than or equal to 999"),
        ({"noise_draws": 0}, "noise_draws is 0"),
        ({"fit": "stretch"}, "expected 'resize', 'crop', 'pad' or 'native'"),
        ({"pyramid_kernels": [2]}, "kernel size 2 is even"),
        ({"features": ["a"]}, "features names 1 and feature_channels 5"),
        ({"features": ["a", "a"], "feature_channels": [1, 1]}, "holds a name twice"),
        ({"tasks": [{"name": "x y"}]}, "not an identifier"),
        ({"tasks": [{"name": "x", "mos_min": 5, "mos_max": 1}]}, "the first must be the smaller"),
        ({"tasks": [1]}, "tasks.0 is 1; expected an object"),
        ({"doubtful": ["beauty"]}, "doubtful names beauty; expected some of perception, alignment"),
        ({"tasks": []}, "tasks holds 0; expected at least 1"),
        ({"head_dropout": [0.5, 1.0]}, "head_dropout.1 is 1.0; expected less than 1"),
        ({"fusion_channels": [511, 256, 128]}, "does not divide"),
        ({"fusion_channels": [512, 256]}, "fusion_channels"),
        ({"use_text": 1}, "use_text"),
        ({"fit": ["crop"]}, "fit is .*; expected 'resize', 'crop'"),
        ({"pyramid_channels": True}, "pyramid_channels"),
        ({"colour": "red"}, "unknown configuration key colour"),
    ],
)
def test_bad_values_are_one_sentence(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        ModelConfig.from_json(json.dumps(json.loads(ModelConfig().to_json()) | change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "null", '{"tasks": {"a": 1}}'])
def test_hostile_json(text: str) -> None:
    with pytest.raises(ConfigError):
        ModelConfig.from_json(text)


def test_mos_scale() -> None:
    assert TaskConfig("perception", 1, 5).to_mos(0.5) == 3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pyramid_kernels": ()}, "pyramid_kernels holds 0; expected at least 1"),
        ({"features": (), "feature_channels": ()}, "features holds 0; expected at least 1"),
        (
            {
                "long_prompts": "released",
                "tasks": (TaskConfig("perception", use_text=False), TaskConfig("alignment")),
            },
            "expected all or none",
        ),
    ],
)
def test_settings_that_do_nothing_or_cannot_go_together(changes: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ModelConfig(**changes)


def test_which_scores_are_about_the_prompt() -> None:
    tasks = TaskConfig("alignment"), TaskConfig("beauty"), TaskConfig("fit", needs_prompt=True)
    assert [task.is_about_the_prompt for task in tasks] == [True, False, True]
    assert not TaskConfig("alignment", needs_prompt=False).is_about_the_prompt
