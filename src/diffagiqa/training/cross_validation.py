"""Figures for few rows: each is scored by a model that has not seen it; none is kept from learning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from diffagiqa.training.train import train

MIN_TEST = 30
"""Rows below which a test part is no measure: its SRCC is off by 0.2 and more."""


def fold_rows(data: TrainingData, count: int, seed: int) -> list[list[int]]:
    """The rated rows in ``count`` parts of about one size, those of a prompt in one part.

    Rows without a prompt are parted one by one. Raises ``TrainingError`` where prompts are too few.
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
    return [sorted(fold) for fold in folds]


def cross_validate(
    config: TrainingConfig, data: TrainingData, folds: Sequence[Sequence[int]], *,
    features: CachedFeatures, backbone: Backbone, device: str | None = None,
    log: Callable[[str], None] = print,
) -> tuple[dict[str, list[float]], list[int]]:  # fmt: skip
    """Scores in [0, 1] by task of all rows, each by a model trained on the other folds; and the rows.

    Without a validation part, as the last epoch counts; nothing is written.
    """
    scores: dict[str, list[float]] = {task: [] for task in data.task_names}
    rows: list[int] = []
    for number, split in enumerate(splits_of(data, folds), 1):
        fitted = train(
            replace(config, patience=0), data, split, device=device, features=features,
            backbone=backbone, log=lambda text: None,
        )  # fmt: skip
        log(f"cross-validation: {number} of {len(folds)} done")
        rows += fitted.test_rows
        for task, values in fitted.test_scores.items():
            scores[task] += values
    return scores, rows


def splits_of(
    data: TrainingData, folds: Sequence[Sequence[int]]
) -> list[Mapping[str, Sequence[int]]]:
    """Of each fold: the others to train on and it to test."""
    splits: list[Mapping[str, Sequence[int]]] = []
    for fold in folds:
        others = [row for other in folds if other is not fold for row in other]
        train = [*others, *mismatches_within(data, others)]
        splits.append({"train": train, "validation": [], "test": list(fold)})
    return splits
