"""Figures for few rows: each is scored by a model that has not seen it; none is kept from learning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from diffagiqa.backbones.base import Backbone
from diffagiqa.data.splits import prompt_key
from diffagiqa.data.wording import counted
from diffagiqa.errors import TrainingError
from diffagiqa.training.augmented import mismatches_within
from diffagiqa.training.config import TrainingConfig
from diffagiqa.training.data import TrainingData
from diffagiqa.training.features import CachedFeatures
from diffagiqa.training.run_folder import Parts
from diffagiqa.training.train import train

MIN_TEST = 30
"""Rows below which a test part is no measure: its SRCC is off by 0.2 and more."""


def fold_splits(data: TrainingData, count: int, seed: int) -> list[Parts]:
    """``count`` splits of about one size that each test other rated rows and train on the rest.

    The rows of a prompt are tested together, rows without a prompt one by one. Raises ``TrainingError``
    where prompts are too few.
    """
    of_prompt: dict[str, list[int]] = {}
    for row, prompt in enumerate(data.originals.prompts):
        of_prompt.setdefault(prompt_key(prompt) or f"\n{row}", []).append(row)
    if len(of_prompt) < count:
        raise TrainingError(
            f"{counted(len(of_prompt), 'prompt')} cannot be parted in {count} for a cross-validation; "
            "give images of more prompts, or --split image"
        )
    prompts = list(of_prompt.values())
    folds: list[list[int]] = [[] for _ in range(count)]
    for number in np.random.default_rng(seed).permutation(len(prompts)):
        min(folds, key=len).extend(prompts[number])
    splits: list[Parts] = []
    for fold in map(sorted, folds):
        train = [row for other in map(sorted, folds) if other != fold for row in other]
        train += mismatches_within(data, train)
        splits.append({"train": train, "validation": [], "test": fold})
    return splits


def cross_validate(
    config: TrainingConfig, data: TrainingData, splits: Sequence[Parts], *,
    features: CachedFeatures, backbone: Backbone, device: str | None = None,
    log: Callable[[str], None] = print,
) -> tuple[dict[str, list[float]], list[int]]:  # fmt: skip
    """Scores in [0, 1] by task of all tested rows, by the models of their splits; and the rows.

    Without a validation part, as the last epoch counts; nothing is written.
    """
    scores: dict[str, list[float]] = {task: [] for task in data.task_names}
    rows: list[int] = []
    for number, split in enumerate(splits, 1):
        fitted = train(
            replace(config, patience=0), data, split, device=device, features=features,
            backbone=backbone, log=lambda text: None,
        )  # fmt: skip
        log(f"cross-validation: {number} of {len(splits)} done")
        rows += fitted.test_rows
        for task, values in fitted.test_scores.items():
            scores[task] += values
    return scores, rows
