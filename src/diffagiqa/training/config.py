"""What a training run is, as data: one readable JSON file per recipe, every key a flag as well."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from diffagiqa.errors import ConfigError
from diffagiqa.model.checked import checked, from_json
from diffagiqa.model.config import ModelConfig

RECIPES = Path(__file__).parent / "recipes"
Regression = Literal["mse", "huber", "l1"]
Relation = Literal["none", "plcc", "fidelity"]
PairLoss = Literal["bradley-terry", "thurstone"]
Count = Annotated[int, Field(ge=1, le=100_000)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
Share = Annotated[float, Field(ge=0, le=1)]
Part = Annotated[float, Field(ge=0, le=0.9)]
Rate = Annotated[float, Field(ge=0, le=10)]
Weight = Annotated[float, Field(ge=0, le=1e6)]


@checked
class TrainingConfig:
    """Everything that decides the result of a training run, apart from data and library versions.

    Raises:
        ConfigError: a value is of the wrong type or out of range, or values contradict each other.
    """

    databases: tuple[str, ...] = ("agiqa-3k",)
    """Names of databases, or tables of ratings; several are mixed, each scale mapped to [0, 1]."""
    split: Literal["prompt", "image", "official", "generators"] = "prompt"
    """"prompt": no prompt in two parts; "image": images at random; "official": as published;
    "generators": one is left out of training, another by every seed, and tested on new prompts."""
    split_seed: Seed = 0
    """Of the random split."""
    test_fraction: Part = 0.2
    """Share of the test set, 0 to 0.9."""
    validation_fraction: Part = 0.1
    """Share of the rest for early stopping, 0 to 0.9; the test set is scored once, at the end."""

    folds: Annotated[int, Field(ge=0, le=100)] = 5
    """Of the cross-validation that replaces a test part of fewer than 30 rows, with ``freeze_prompters``;
    the model then learns from all rows. 0 or 1: none."""

    seed: Seed = 0
    """Of initial weights, data order, noise, flips and dropout."""
    epochs: Count = 30
    """Passes over the training set; of a small one, so many times ``min_steps`` asks for."""
    min_steps: Annotated[int, Field(ge=0, le=10**9)] = 600
    """Least optimiser steps of all epochs together: an epoch makes several passes over few images."""
    batch_size: Count = 32
    """Images per optimiser step, over all processes and micro-batches."""
    accumulation: Count = 1
    """Micro-batches per batch; BatchNorm and the relation loss see one at a time."""
    freeze_prompters: bool = False
    """Train pyramid and heads only, on features that are computed once and cached."""
    solve_up_to: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Most training rows that are learnt by a ridge regression on the start's pyramid (``training.few``)
    instead of an optimiser's steps; with ``freeze_prompters`` and ``init``, for ratings."""
    init: str | None = None
    """Trained model to start from: a folder, a hub id, or "default" for the package's own; None: random
    weights. Scores that it does not have start from its first one."""

    regression: Regression = "huber"
    """Loss between score and label on the scale [0, 1] ("huber" with delta 0.1, divided by 0.1)."""
    regression_weight: Weight = 1.0
    """Of that loss."""
    relation: Relation = "plcc"
    """Loss between the images of a batch, within each database: on correlation ("plcc") or on order
    ("fidelity")."""
    relation_weight: Weight = 0.5
    """Of that loss."""
    task_weights: tuple[Weight, ...] = ()
    """One per task, in the model's order; empty: 1 each."""
    database_weights: tuple[Weight, ...] = ()
    """One per database, for its ratings and its pairs; empty: 1 each."""
    pair_loss: PairLoss = "bradley-terry"
    """On pairs of images of which people preferred one (``pairs``); ties count half for each."""
    pair_weight: Weight = 1.0
    """Of that loss."""
    pair_margin: Share = 0.0
    """By how much the preferred image should win, on the scale [0, 1]; "bradley-terry" only."""
    generator_weight: Weight = 0.0
    """Of an auxiliary task: every head classifies the generator of the image. Its layers are not kept,
    and it is left out where fewer than two generators are known."""

    lr_heads: Rate = 1e-3
    """Peak learning rate of pyramid and heads (AdamW)."""
    lr_prompters: Rate = 1e-4
    """Peak learning rate of the visual prompters (AdamW)."""
    weight_decay: Rate = 1e-2
    """Of pyramid and heads (AdamW); biases, norms and prompters are not decayed."""
    warmup: Share = 0.05
    """Share of all steps over which the learning rates rise from 0, followed by a cosine to 0."""
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of the gradient."""
    ema: Annotated[float, Field(ge=0, le=0.999999)] = 0.99
    """Decay of the moving average of the weights that is validated and saved; 0: no averaging."""
    patience: Annotated[int, Field(ge=0, le=100_000)] = 8
    """Epochs without a better validation after which training stops; 0: never. It is the mean SRCC over
    scores, and of pairs 2 x accuracy - 1."""

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the trained parts: "bfloat16" is autocast over float32 weights; "auto" follows
    ``accelerate launch --mixed_precision``, else float32."""
    backbone_dtype: str = "auto"
    """Of the frozen parts: "float32", "bfloat16", "float16"; "auto": as the scorer chooses."""
    checkpoint_activations: bool = False
    """Recompute the frozen parts' activations in the backward pass: about a third more time, and
    512 x 512 fits a 24 GB GPU."""
    checkpoint_every: Annotated[int, Field(ge=0, le=10**9)] = 0
    """Optimiser steps between checkpoints within an epoch; 0: one per epoch."""

    mismatched: Share = 0.0
    """Training rows added with another image's prompt and a fifth of their alignment label, per rated
    row, 0 to 1."""
    damaged: Share = 0.0
    """Share of the rated images, 0 to 1, that get two damaged copies, mild and strong, which must score
    below them (``damage_ranking``)."""
    damaged_weight: Weight = 1.0
    """Of the loss on that order."""
    flip: bool = True
    """Mirror half of the images, except where the prompt says left or right."""
    cached_draws: Annotated[int, Field(ge=1, le=64)] = 1
    """Noise draws cached per image with ``freeze_prompters``, 1 to 64; a step takes one of them."""
    unreadable: Literal["stop", "skip"] = "stop"
    """For an image that cannot be decoded: "stop" with its name, or "skip" it."""
    workers: Annotated[int, Field(ge=1, le=256)] = 2
    """Threads that decode the next images."""

    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    """The model to train."""

    def __post_init__(self) -> None:
        if self.batch_size % self.accumulation:
            raise ConfigError(
                f"batch_size {self.batch_size} is not a multiple of accumulation "
                f"{self.accumulation}; choose them so that the micro-batches are equal"
            )
        for name in ("task_weights", "database_weights"):
            weights = getattr(self, name)
            if weights and not any(weights):
                raise ConfigError(f"{name} are {weights}; expected numbers of 0 or more, not all 0")
        if self.pair_margin and self.pair_loss != "bradley-terry":
            raise ConfigError(
                f'pair_margin is {self.pair_margin} and pair_loss "{self.pair_loss}"; expected 0 or '
                '"bradley-terry"'
            )
        rated = self.regression_weight or (self.relation != "none" and self.relation_weight)
        if not rated and not self.pair_weight:
            raise ConfigError(
                "regression_weight, relation and pair_weight are all off; nothing would be learnt"
            )

    def to_json(self) -> str:
        """The configuration as the text of a recipe."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = "the recipe") -> TrainingConfig:
        """Read a recipe; ``where`` names it in errors.

        >>> TrainingConfig.from_json(TrainingConfig().to_json()) == TrainingConfig()
        True

        Raises:
            ConfigError: it is no valid JSON object, a key is unknown, or a value is not as expected.
        """
        return from_json(cls, text, where)


def recipe_names() -> list[str]:
    return sorted(file.stem for file in RECIPES.glob("*.json"))


def load_recipe(name_or_path: str) -> TrainingConfig:
    """A recipe of this package by name, or a JSON file of one's own.

    >>> load_recipe("agiqa-3k").databases
    ('agiqa-3k',)
    """
    file = RECIPES / f"{name_or_path}.json"
    if name_or_path not in recipe_names():
        file = Path(name_or_path).expanduser()
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise ConfigError(
            f"recipe {name_or_path} cannot be read; expected a JSON file or one of "
            f"{', '.join(recipe_names())}"
        ) from None
    return TrainingConfig.from_json(text, str(file))


def override(config: TrainingConfig, changes: dict[str, Any]) -> TrainingConfig:
    """Replace keys; ``model.image_size`` reaches into the model. Values may be text, as flags are.

    >>> override(TrainingConfig(), {"epochs": "3", "model.image_size": 256}).model.image_size
    256
    """
    values = json.loads(config.to_json())
    for key, value in changes.items():
        inner, name = (values["model"], key[6:]) if key.startswith("model.") else (values, key)
        if name not in inner or name == "model":
            known = [*(k for k in values if k != "model"), *(f"model.{k}" for k in values["model"])]
            raise ConfigError(f"unknown key {key}; known are {', '.join(known)}")
        kind = _KINDS["model"][name] if inner is values["model"] else _KINDS["training"][name]
        inner[name] = _parsed(value, inner[name], kind) if isinstance(value, str) else value
    model = values["model"]
    if "model.features" in changes and "model.feature_channels" not in changes:
        model["feature_channels"] = [1] * len(model["features"])  # until the backbone is read
    return TrainingConfig.from_json(json.dumps(values), "the changed configuration")


_KINDS = {
    "training": {field.name: str(field.type) for field in dataclasses.fields(TrainingConfig)},
    "model": {field.name: str(field.type) for field in dataclasses.fields(ModelConfig)},
}


def _parsed(text: str, now: Any, kind: str) -> Any:
    """Text of a flag -> the kind of value that stands there now; lists are separated by commas.

    A key that may be nothing becomes so by "none", "null" or no text.
    """
    if "None" in kind and text in ("none", "null", ""):
        return None
    if isinstance(now, list):
        try:
            return json.loads(text if text.startswith("[") else f"[{text}]")
        except ValueError:
            return [part.strip() for part in text.split(",") if part.strip()]
    if isinstance(now, str) or now is None:
        return text
    try:
        return json.loads(text.lower())
    except ValueError:
        return text  # the strict reader says what was expected
