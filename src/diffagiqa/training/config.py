"""What a training run is, as data: one readable JSON file per recipe, every key a flag as well."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from diffagiqa.errors import ConfigError
from diffagiqa.model.config import ModelConfig, check_range, check_types, from_dict

RECIPES = Path(__file__).parent / "recipes"
Regression = Literal["mse", "huber", "l1"]
Relation = Literal["none", "plcc", "margin", "fidelity"]
Precision = Literal["auto", "float32", "bfloat16"]
SplitBy = Literal["prompt", "image", "official", "generators"]
Unreadable = Literal["stop", "skip"]


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides the result of a training run, apart from data and library versions.

    Raises:
        ConfigError: a value is of the wrong type or out of range, or values contradict each other.
    """

    databases: tuple[str, ...] = ("agiqa-3k",)
    """Names of databases, or tables of ratings; several are mixed, each scale mapped to [0, 1]."""
    split: SplitBy = "prompt"
    """"prompt": no prompt in two parts; "image": images at random; "official": as published;
    "generators": one is left out of training, another by every seed, and tested on new prompts."""
    split_seed: int = 0
    """Of the random split."""
    test_fraction: float = 0.2
    """Share of the test set, 0 to 0.9."""
    validation_fraction: float = 0.1
    """Share of the rest for early stopping, 0 to 0.9; the test set is scored once, at the end."""

    test_prompts: str | None = None
    """Prompts that the test set may be drawn from, such as those that the backbone has never seen: a
    file with one per line, or the name of a list in ``recipes/``. Default: any."""

    seed: int = 0
    """Of initial weights, data order, noise, flips and dropout."""
    epochs: int = 30
    """Passes over the training set."""
    batch_size: int = 32
    """Images per optimiser step, over all processes and micro-batches."""
    accumulation: int = 1
    """Micro-batches per batch; BatchNorm and the relation loss see one at a time."""
    freeze_prompters: bool = False
    """Train pyramid and heads only, on features that are computed once and cached."""
    init: str | None = None
    """Folder or hub id of a trained model to start from; default: random weights."""

    regression: Regression = "huber"
    """Loss between score and label on the scale [0, 1] ("huber" with delta 0.1, divided by 0.1)."""
    regression_weight: float = 1.0
    """Of that loss."""
    relation: Relation = "plcc"
    """Loss between the images of a batch, within each database: on correlation ("plcc") or on order
    ("margin", "fidelity")."""
    relation_weight: float = 0.5
    """Of that loss."""
    task_weights: tuple[float, ...] = ()
    """One per task, in the model's order; empty: 1 each."""
    naming_weight: float = 0.0
    """Of an auxiliary task: every head classifies the generator of the image. Its layers are not kept."""

    lr_heads: float = 1e-3
    """Peak learning rate of pyramid and heads (AdamW)."""
    lr_prompters: float = 1e-4
    """Peak learning rate of the visual prompters (AdamW)."""
    weight_decay: float = 1e-2
    """Of pyramid and heads (AdamW); biases, norms and prompters are not decayed."""
    warmup: float = 0.05
    """Share of all steps over which the learning rates rise from 0, followed by a cosine to 0."""
    clip_norm: float = 1.0
    """Largest norm of the gradient."""
    ema: float = 0.99
    """Decay of the moving average of the weights that is validated and saved; 0: no averaging."""
    patience: int = 8
    """Epochs without a better validation SRCC after which training stops; 0: never."""

    precision: Precision = "auto"
    """Of the trained parts: "bfloat16" is autocast over float32 weights; "auto" follows
    ``accelerate launch --mixed_precision``, else float32."""
    backbone_dtype: str = "auto"
    """Of the frozen parts: "float32", "bfloat16", "float16"; "auto": as the scorer chooses."""
    checkpoint_activations: bool = False
    """Recompute the frozen parts' activations in the backward pass: about a third more time, and
    512 x 512 fits a 24 GB GPU."""
    checkpoint_every: int = 0
    """Optimiser steps between checkpoints within an epoch; 0: one per epoch."""

    mismatched: float = 0.0
    """Training rows added with another image's prompt and a fifth of their alignment label, per rated
    row, 0 to 1."""
    mismatched_in: tuple[str, ...] = ()
    """Databases that get such rows; empty: all."""
    damaged: float = 0.0
    """Share of the rated images, 0 to 1, that get two damaged copies, mild and strong, which must score
    below them (``ordering``)."""
    damaged_weight: float = 1.0
    """Of the loss on that order."""
    flip: bool = True
    """Mirror half of the images, except where the prompt says left or right."""
    cached_draws: int = 1
    """Noise draws cached per image with ``freeze_prompters``, 1 to 64; a step takes one of them."""
    unreadable: Unreadable = "stop"
    """For an image that cannot be decoded: "stop" with its name, or "skip" it."""
    workers: int = 2
    """Threads that decode the next images."""

    model: ModelConfig = field(default_factory=ModelConfig)
    """The model to train."""

    def __post_init__(self) -> None:
        check_types(self)
        for name, low, high in (
            ("epochs", 1, 100_000),
            ("batch_size", 1, 65_536),
            ("accumulation", 1, 65_536),
            ("cached_draws", 1, 64),
            ("workers", 1, 256),
            ("patience", 0, 100_000),
            ("checkpoint_every", 0, 10**9),
            ("seed", 0, 2**31 - 1),
            ("split_seed", 0, 2**31 - 1),
            ("test_fraction", 0.0, 0.9),
            ("validation_fraction", 0.0, 0.9),
            ("lr_heads", 0.0, 10.0),
            ("lr_prompters", 0.0, 10.0),
            ("weight_decay", 0.0, 10.0),
            ("warmup", 0.0, 1.0),
            ("mismatched", 0.0, 1.0),
            ("damaged", 0.0, 1.0),
            ("ema", 0.0, 0.999999),
            ("regression_weight", 0.0, 1e6),
            ("relation_weight", 0.0, 1e6),
            ("naming_weight", 0.0, 1e6),
            ("damaged_weight", 0.0, 1e6),
        ):
            check_range(name, getattr(self, name), low, high)
        if not 0 < self.clip_norm < math.inf:
            raise ConfigError(f"clip_norm is {self.clip_norm}; expected a positive number")
        if self.batch_size % self.accumulation:
            raise ConfigError(
                f"batch_size {self.batch_size} is not a multiple of accumulation "
                f"{self.accumulation}; choose them so that the micro-batches are equal"
            )
        if self.task_weights and not (
            min(self.task_weights) >= 0 and 0 < sum(self.task_weights) < math.inf
        ):
            raise ConfigError(
                f"task_weights are {self.task_weights}; expected numbers of 0 or more, not all 0"
            )
        if self.regression_weight == 0 and (self.relation == "none" or self.relation_weight == 0):
            raise ConfigError(
                "regression_weight and relation are both off; nothing would be learnt"
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
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{where} is not valid JSON ({error})") from None
        if not isinstance(values, dict):
            raise ConfigError(f"{where} holds no JSON object")
        model = values.pop("model", {})
        if not isinstance(model, dict):
            raise ConfigError(f"{where}: model is no JSON object")
        config: TrainingConfig = from_dict(cls, values)
        return replace(config, model=from_dict(ModelConfig, model))


def recipe_names() -> list[str]:
    return sorted(file.stem for file in RECIPES.glob("*.json"))


def load_recipe(name_or_path: str) -> TrainingConfig:
    """A recipe of this package by name, or a JSON file of one's own.

    >>> load_recipe("agiqa-3k").databases
    ('agiqa-3k',)
    """
    file, text = _read_beside(name_or_path, "json", "recipe", "a JSON file")
    return TrainingConfig.from_json(text, str(file))


def prompts_to_test(config: TrainingConfig) -> list[str] | None:
    """The prompts of ``config.test_prompts``; None where any may be tested."""
    return None if config.test_prompts is None else read_prompts(config.test_prompts)


def read_prompts(name_or_path: str) -> list[str]:
    """A list of prompts of this package by name, or a file of one's own; empty lines are skipped."""
    what = ("the list of prompts", "a text file, one prompt a line,")
    _, text = _read_beside(name_or_path, "txt", *what)
    return [line.strip() for line in text.splitlines() if line.strip()]


def _read_beside(name_or_path: str, ending: str, what: str, expected: str) -> tuple[Path, str]:
    """A file of ``recipes/`` by its name, or one of the user's by its path, and the text of it."""
    known = sorted(file.stem for file in RECIPES.glob(f"*.{ending}"))
    file = RECIPES / f"{name_or_path}.{ending}"
    if name_or_path not in known:
        file = Path(name_or_path).expanduser()
    try:
        return file, file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise ConfigError(
            f"{what} {name_or_path} cannot be read; expected {expected} or one of {', '.join(known)}"
        ) from None


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
