"""Rows that nobody rated: images with prompts of other images, and damaged copies of images.

Databases hold few images that have nothing to do with their prompt, so a head can do well on them
without reading the prompt. The alignment label of such a row is a share of the image's own, the other
labels stay as they are. Copies have no label (``damage_ranking``). No test or validation part holds any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from diffagiqa.data.databases.listing import ALIGNMENT, PERCEPTION
from diffagiqa.data.splits import prompt_key
from diffagiqa.training.config import TrainingConfig
from diffagiqa.training.damages import TRAIN_DEFECTS, Damage
from diffagiqa.training.data import Augmentation, TrainingData

KEPT = 0.2
"""Share of an image's own alignment label that is left with a wrong prompt."""
MILD, STRONG = (0.25, 0.55), (0.65, 1.0)
"""Severities of an image's two damaged copies are drawn from these."""


def with_augmentations(data: TrainingData, config: TrainingConfig) -> TrainingData:
    """``data`` and, after them, what ``config.mismatched`` and ``config.damaged`` ask for."""
    more = with_mismatches(data, config.mismatched, config.seed)
    return with_damages(more, config.damaged, config.seed)


def with_mismatches(data: TrainingData, share: float, seed: int) -> TrainingData:
    """``data`` and, for a ``share`` of them drawn by ``seed``, the image with another one's prompt.

    The other image is of the same database. Without the task "alignment" nothing is added.
    """
    if share == 0 or ALIGNMENT not in data.task_names:
        return data
    column = data.task_names.index(ALIGNMENT)
    numbers = np.random.default_rng(seed)
    keys = [prompt_key(prompt) for prompt in data.prompts]
    augmentations = []
    for number in range(len(data.names)):
        members = np.flatnonzero((data.sources == number).numpy())
        chosen = numbers.permutation(members)[: round(share * len(members))]
        for image, other in zip(chosen, numbers.choice(members, len(chosen)), strict=True):
            if keys[image] != keys[other] and not data.labels[image, column].isnan():
                augmentations.append(Augmentation(int(image), int(other)))
    labels = data.labels[[copy.image for copy in augmentations]].clone()
    labels[:, column] *= KEPT
    return _with(data, augmentations, labels)


def with_damages(data: TrainingData, share: float, seed: int) -> TrainingData:
    """``data`` and, for a ``share`` of the rated ones drawn by ``seed``, two damaged copies each.

    Both have the same defect, one of ``TRAIN_DEFECTS``, the second one stronger. They
    have no label, so they are in no part of a split; ``damage_ranking`` compares them with their image.
    Which labels the image has is no matter, but without the task "perception" nothing is added.
    """
    if share == 0 or PERCEPTION not in data.task_names:
        return data
    numbers = np.random.default_rng(seed)
    count = len(data.originals)
    augmentations = []
    for image in numbers.permutation(count)[: round(share * count)].tolist():
        defect = TRAIN_DEFECTS[int(numbers.integers(len(TRAIN_DEFECTS)))]
        for damage in mild_and_strong(defect, numbers, image):
            augmentations.append(Augmentation(image, image, damage))
    return _with(
        data, augmentations, torch.full((len(augmentations), len(data.tasks)), float("nan"))
    )


def mild_and_strong(defect: str, numbers: np.random.Generator, seed: int) -> tuple[Damage, Damage]:
    """One defect twice, severities drawn from ``MILD`` and ``STRONG``; ``seed`` decides its pattern."""
    mild, strong = (float(numbers.uniform(low, high)) for low, high in (MILD, STRONG))
    return Damage(defect, mild, seed), Damage(defect, strong, seed)


def mismatches_within(data: TrainingData, train: list[int]) -> list[int]:
    """The rows of wrong prompts whose image and prompt are both of the training part."""
    known = set(train)
    return [
        row
        for row, copy in data.augmented.items()
        if copy.damage is None and {copy.image, copy.prompt} <= known
    ]


def _with(
    data: TrainingData, augmentations: Sequence[Augmentation], labels: torch.Tensor
) -> TrainingData:
    images = [copy.image for copy in augmentations]
    samples = [
        replace(data.samples[copy.image], prompt=data.samples[copy.prompt].prompt)
        for copy in augmentations
    ]
    return replace(
        data,
        samples=(*data.samples, *samples),
        labels=torch.cat([data.labels, labels]),
        sources=torch.cat([data.sources, data.sources[images]]),
        augmentations=(*data.augmentations, *augmentations),
    )
