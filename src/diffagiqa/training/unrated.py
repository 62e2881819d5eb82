"""Rows that nobody rated: pictures with prompts of other pictures, and damaged copies of pictures.

Databases hold few pictures that have nothing to do with their prompt, so a head can do well on them
without reading the prompt. The alignment label of such a row is a share of the picture's own, the other
labels stay as they are. Copies have no label (``ordering``). No test or validation part holds any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from diffagiqa.data.databases.listing import ALIGNMENT, PERCEPTION
from diffagiqa.data.splits import prompt_key
from diffagiqa.errors import TrainingError
from diffagiqa.training.config import TrainingConfig
from diffagiqa.training.damages import TRAIN_DEFECTS
from diffagiqa.training.data import Damage, Origin, Rows

KEPT = 0.2
"""Share of a picture's own alignment label that is left with a wrong prompt."""
MILD, STRONG = (0.25, 0.55), (0.65, 1.0)
"""Severities of a picture's two damaged copies are drawn from these."""


def with_unrated(rows: Rows, config: TrainingConfig) -> Rows:
    """``rows`` and, after them, what ``config.mismatched`` and ``config.damaged`` ask for."""
    more = with_mismatches(rows, config.mismatched, config.seed, config.mismatched_in)
    return with_damages(more, config.damaged, config.seed)


def with_mismatches(rows: Rows, share: float, seed: int, among: Sequence[str] = ()) -> Rows:
    """``rows`` and, for a ``share`` of them drawn by ``seed``, the picture with another one's prompt.

    The other picture is of the same database; ``among`` names those that get such rows, all without
    it. Without the task "alignment" nothing is added.

    Raises ``TrainingError`` where ``among`` names a database that is not there.
    """
    if unknown := [name for name in among if name not in rows.names]:
        raise TrainingError(
            f"mismatched_in names {unknown[0]}, and the databases are {', '.join(rows.names)}; "
            "name one of these"
        )
    if share == 0 or ALIGNMENT not in rows.task_names:
        return rows
    column = rows.task_names.index(ALIGNMENT)
    numbers = np.random.default_rng(seed)
    keys = [prompt_key(prompt) for prompt in rows.prompts]
    origins = []
    for number, name in enumerate(rows.names):
        if among and name not in among:
            continue
        own = np.flatnonzero((rows.sources == number).numpy())
        chosen = numbers.permutation(own)[: round(share * len(own))]
        for picture, other in zip(chosen, numbers.choice(own, len(chosen)), strict=True):
            if keys[picture] != keys[other] and not rows.labels[picture, column].isnan():
                origins.append(Origin(int(picture), int(other)))
    labels = rows.labels[[origin.picture for origin in origins]].clone()
    labels[:, column] *= KEPT
    return _with(rows, origins, labels)


def with_damages(rows: Rows, share: float, seed: int) -> Rows:
    """``rows`` and, for a ``share`` of the rated ones drawn by ``seed``, two damaged copies each.

    Both have the same defect, one of ``TRAIN_DEFECTS``, the second one stronger. They
    have no label, so they are in no part of a split; ``ordering`` compares them with their picture.
    Which labels the picture has is no matter, but without the task "perception" nothing is added.
    """
    if share == 0 or PERCEPTION not in rows.task_names:
        return rows
    numbers = np.random.default_rng(seed)
    count = len(rows.rated)
    origins = []
    for picture in numbers.permutation(count)[: round(share * count)].tolist():
        defect = TRAIN_DEFECTS[int(numbers.integers(len(TRAIN_DEFECTS)))]
        for damage in mild_and_strong(defect, numbers, picture):
            origins.append(Origin(picture, picture, damage))
    return _with(rows, origins, torch.full((len(origins), len(rows.tasks)), float("nan")))


def mild_and_strong(defect: str, numbers: np.random.Generator, seed: int) -> tuple[Damage, Damage]:
    """One defect twice, severities drawn from ``MILD`` and ``STRONG``; ``seed`` decides its pattern."""
    mild, strong = (float(numbers.uniform(low, high)) for low, high in (MILD, STRONG))
    return Damage(defect, mild, seed), Damage(defect, strong, seed)


def mismatches_within(rows: Rows, train: list[int]) -> list[int]:
    """The rows of wrong prompts whose picture and prompt are both of the training part."""
    known = set(train)
    return [
        row
        for row, origin in rows.unrated.items()
        if origin.damage is None and {origin.picture, origin.prompt} <= known
    ]


def _with(rows: Rows, origins: Sequence[Origin], labels: torch.Tensor) -> Rows:
    pictures = [origin.picture for origin in origins]
    samples = [
        replace(rows.samples[origin.picture], prompt=rows.samples[origin.prompt].prompt)
        for origin in origins
    ]  # fmt: skip
    return replace(
        rows,
        samples=(*rows.samples, *samples),
        labels=torch.cat([rows.labels, labels]),
        sources=torch.cat([rows.sources, rows.sources[pictures]]),
        origins=(*rows.origins, *origins),
    )
