"""Databases -> what to train on: images, labels in [0, 1] by task, preferences; order and mirroring.

Augmentation is horizontal mirroring only. It moves every pixel and changes none, so quality stays;
it would change what "left" and "right" in a prompt mean, so such rows are never mirrored. Blur, noise,
compression, colour and contrast changes alter the very thing that was rated, crops and shifts may cut
off what the prompt names: none of them is used.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffagiqa.data.preferences import (
    PREFERENCE,
    Pairs,
    PreferenceGroup,
    pairs_of,
    renumbered,
)
from diffagiqa.data.prompts import clean_prompt
from diffagiqa.data.samples import Sample
from diffagiqa.errors import ImageError, PromptError, TrainingError
from diffagiqa.model.config import TaskConfig
from diffagiqa.training.damages import Damage

if TYPE_CHECKING:
    import pandas as pd

Scales = Mapping[str, tuple[float, float]]
_SIDES = re.compile(r"\b(left|right|leftmost|rightmost|clockwise|counterclockwise)\b", re.I)


@dataclass(frozen=True)
class Augmentation:
    """Of a row that nobody rated: the rows whose image and whose prompt it has."""

    image: int
    prompt: int
    damage: Damage | None = None


class Labelled(NamedTuple):
    """One database: its images, the MOS scale of each task, and preferences between the images."""

    samples: Sequence[Sample]
    scales: Scales
    groups: Sequence[PreferenceGroup] = ()


@dataclass(frozen=True)
class TrainingData:
    """Images with their labels, one per row: what every part of training works on.

    Attributes:
        samples: one per row; prompts are set and clean.
        labels: (N, tasks) float32 in [0, 1], NaN where a row has no label of that task.
        tasks: names and MOS scales, in the order of the columns.
        sources: (N,) number of the database that a row is from.
        names: the databases' names, in the order of those numbers.
        groups: preferences between rows.
        augmentations: of the rows at the end that nobody rated.
    """

    samples: tuple[Sample, ...]
    labels: Tensor
    tasks: tuple[TaskConfig, ...]
    sources: Tensor
    names: tuple[str, ...]
    groups: tuple[PreferenceGroup, ...] = ()
    augmentations: tuple[Augmentation, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    @cached_property
    def prompts(self) -> list[str]:
        return [sample.prompt or "" for sample in self.samples]

    @cached_property
    def image_hashes(self) -> tuple[str, ...]:
        """SHA-256 of each row's file, "unreadable" without one; every file is read once for all who ask.

        0.4 s for the 2390 JPEG of AGIQA-3K.
        """
        from diffagiqa.data.images import read_image_bytes

        def hashed(source: str | bytes) -> str:
            try:
                return hashlib.sha256(read_image_bytes(source)).hexdigest()
            except ImageError:
                return "unreadable"

        sources = dict.fromkeys(sample.source for sample in self.samples)  # copies share a file
        with ThreadPoolExecutor(4) as pool:
            hashes = dict(zip(sources, pool.map(hashed, sources), strict=True))
        return tuple(hashes[sample.source] for sample in self.samples)

    @property
    def task_names(self) -> tuple[str, ...]:
        return tuple(task.name for task in self.tasks)

    @cached_property
    def rated_tasks(self) -> list[str]:
        """The tasks that some row has a rating of."""
        rated = (~self.labels.isnan()).any(0).tolist()
        return [task for task, known in zip(self.task_names, rated, strict=True) if known]

    def table(self) -> pd.DataFrame:
        """Image (with the database's name, where there are several), prompt and generator."""
        import pandas as pd

        several = len(self.names) > 1
        return pd.DataFrame(
            {
                "image": [
                    f"{self.names[int(source)]}/{sample.image}" if several else sample.image
                    for sample, source in zip(self.samples, self.sources, strict=True)
                ],
                "prompt": self.prompts,
                "generator": [sample.generator or "unknown" for sample in self.samples],
            }
        )

    @property
    def originals(self) -> TrainingData:
        """The rows that people rated."""
        count = len(self) - len(self.augmentations)
        return replace(
            self,
            samples=self.samples[:count],
            labels=self.labels[:count],
            sources=self.sources[:count],
            augmentations=(),
        )

    @property
    def augmented(self) -> dict[int, Augmentation]:
        """The rows that nobody rated, and what they are made of."""
        return dict(enumerate(self.augmentations, len(self) - len(self.augmentations)))

    @property
    def damages(self) -> dict[int, Damage]:
        """Of the rows whose image is a damaged copy."""
        return {row: made.damage for row, made in self.augmented.items() if made.damage}

    @cached_property
    def pairs(self) -> Pairs:
        """All pairs of the groups, in rows."""
        return pairs_of(self.groups, shares=True)

    def groups_within(self, rows: Sequence[int]) -> list[PreferenceGroup]:
        """The groups whose images are all among some rows."""
        known = set(rows)
        return [group for group in self.groups if known.issuperset(group.rows)]

    def without(self, rows: Sequence[int]) -> TrainingData:
        """The same rows, with the labels and preferences of some taken away: they no longer count."""
        labels = self.labels.clone()
        labels[list(rows)] = float("nan")
        gone = set(rows)
        left = {row: row for row in range(len(self)) if row not in gone}
        return replace(self, labels=labels, groups=renumbered(self.groups, left))

    def counting(self, rows: Sequence[int]) -> list[int]:
        """Those of some rows that have a rating or are in a group."""
        compared = {row for group in self.groups for row in group.rows}
        rated = (~self.labels.isnan()).any(1).tolist()
        return [row for row in rows if rated[row] or row in compared]


def make_data(
    databases: Mapping[str, Labelled | tuple[Sequence[Sample], Scales]],
) -> TrainingData:
    """Join databases, given by name.

    Every rated task is learnt, and those that are compared by themselves. Comparisons of "preference"
    beside ratings teach the mean of the rated scores, and make a score of their own where nothing is
    rated. A task whose scale is the same in all databases keeps it for the scores that users see;
    otherwise those are in 0..1. Rows without any label are left out.
    """
    joined = {name: Labelled(*database) for name, database in databases.items()}
    rated = dict.fromkeys(task for database in joined.values() for task in database.scales)
    compared = dict.fromkeys(g.task for database in joined.values() for g in database.groups)
    wanted = [task for task in rated | compared if task in rated or task != PREFERENCE or not rated]
    samples: list[Sample] = []
    labels: list[list[float]] = []
    sources: list[int] = []
    groups: list[PreferenceGroup] = []
    for number, (name, database) in enumerate(joined.items()):
        positions: dict[int, int] = {}
        in_groups = {row for group in database.groups for row in group.rows}
        for position, sample in enumerate(database.samples):
            values = [_label(sample, task, database.scales, name) for task in wanted]
            if all(map(math.isnan, values)) and position not in in_groups:
                continue
            try:
                prompt = clean_prompt(sample.prompt or "")
            except PromptError as error:
                raise TrainingError(f"{name}, row {sample.row} ({sample.image}): {error}") from None
            positions[position] = len(samples)
            samples.append(replace(sample, prompt=prompt))
            labels.append(values)
            sources.append(number)
        groups += renumbered(database.groups, positions)
    if not samples:
        raise TrainingError(
            f"{', '.join(joined)} hold no labelled row; there is nothing to train on"
        )
    configs = []
    for task in wanted:
        scales = {d.scales[task] for d in joined.values() if task in d.scales}
        configs.append(TaskConfig(task, *(scales.pop() if len(scales) == 1 else (0.0, 1.0))))
    return TrainingData(
        tuple(samples),
        torch.tensor(labels, dtype=torch.float32),
        tuple(configs),
        torch.tensor(sources),
        tuple(joined),
        tuple(groups),
    )


def _label(sample: Sample, task: str, scales: Scales, name: str) -> float:
    """One opinion score mapped to [0, 1] by its database's scale."""
    value = sample.labels.get(task)
    if value is None or task not in scales or math.isnan(value):
        return float("nan")
    low, high = scales[task]
    score = (value - low) / (high - low)
    if not -0.05 <= score <= 1.05:
        raise TrainingError(
            f"{name}, row {sample.row} ({sample.image}): {task} is {value}, and the scale is "
            f"{low} to {high}; correct the label or the scale"
        )
    return min(max(score, 0.0), 1.0)


def data_order(
    seed: int, epoch: int, rows: Sequence[int], groups: Sequence[PreferenceGroup] = ()
) -> list[int]:
    """The rows in the order of one epoch: a function of seed and epoch.

    The images of a group stay together, so that a batch holds their pairs (but for those that its end
    cuts); an image of several groups comes once with each.

    >>> data_order(0, 1, [4, 5, 6]) == data_order(0, 1, [4, 5, 6])
    True
    """
    compared = {row for group in groups for row in group.rows}
    units = [group.rows for group in groups] + [(row,) for row in rows if row not in compared]
    shuffled = np.random.default_rng([seed, epoch]).permutation(len(units))
    return [row for i in shuffled for row in units[i]]


def may_flip(prompt: str) -> bool:
    """Whether mirroring keeps what the prompt asks for.

    >>> may_flip("a cat"), may_flip("a cat to the Left of a dog")
    (True, False)
    """
    return _SIDES.search(prompt) is None
