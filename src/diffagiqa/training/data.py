"""Databases -> rows to train on: labels in [0, 1] by task, NaN where missing; order; mirroring.

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
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffagiqa.data.prompts import clean_prompt
from diffagiqa.data.samples import Sample
from diffagiqa.errors import ImageError, PromptError, TrainingError
from diffagiqa.model.config import TaskConfig

if TYPE_CHECKING:
    import pandas as pd

Scales = Mapping[str, tuple[float, float]]
_SIDES = re.compile(r"\b(left|right|leftmost|rightmost|clockwise|counterclockwise)\b", re.I)


@dataclass(frozen=True)
class Damage:
    """What was done to a picture: a defect of ``training.damages`` at a severity in (0, 1]."""

    defect: str
    severity: float
    seed: int

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) -> the same size; below 16 pixels a side, where no defect has room, unchanged."""
        from diffagiqa.training.damages import damage

        if min(image.shape[:2]) < 16:
            return image
        return damage(image, {self.defect: self.severity}, self.seed)[0]


@dataclass(frozen=True)
class Origin:
    """Of a row that nobody rated: the rows whose picture and whose prompt it has."""

    picture: int
    prompt: int
    damage: Damage | None = None


@dataclass(frozen=True)
class Rows:
    """Pictures with their labels: what every part of training works on.

    Attributes:
        samples: one per row; prompts are set and clean.
        labels: (N, tasks) float32 in [0, 1], NaN where a row has no label of that task.
        tasks: names and MOS scales, in the order of the columns.
        sources: (N,) number of the database that a row is from.
        names: the databases' names, in the order of those numbers.
    """

    samples: tuple[Sample, ...]
    labels: Tensor
    tasks: tuple[TaskConfig, ...]
    sources: Tensor
    names: tuple[str, ...]
    origins: tuple[Origin, ...] = ()
    """Of the rows at the end that nobody rated (``unrated``)."""

    def __len__(self) -> int:
        return len(self.samples)

    @cached_property
    def prompts(self) -> list[str]:
        return [sample.prompt or "" for sample in self.samples]

    @cached_property
    def picture_hashes(self) -> tuple[str, ...]:
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
            found = dict(zip(sources, pool.map(hashed, sources), strict=True))
        return tuple(found[sample.source] for sample in self.samples)

    @property
    def task_names(self) -> tuple[str, ...]:
        return tuple(task.name for task in self.tasks)

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
    def rated(self) -> Rows:
        """The rows that people rated."""
        count = len(self) - len(self.origins)
        return replace(
            self,
            samples=self.samples[:count],
            labels=self.labels[:count],
            sources=self.sources[:count],
            origins=(),
        )

    @property
    def unrated(self) -> dict[int, Origin]:
        """The rows that nobody rated, and where they come from."""
        return dict(enumerate(self.origins, len(self) - len(self.origins)))

    @property
    def damages(self) -> dict[int, Damage]:
        """Of the rows whose picture is a damaged copy."""
        return {row: origin.damage for row, origin in self.unrated.items() if origin.damage}

    def without_labels(self, rows: Sequence[int]) -> Rows:
        """The same rows, with the labels of some taken away: they no longer count."""
        labels = self.labels.clone()
        labels[list(rows)] = float("nan")
        return replace(self, labels=labels)


def make_rows(
    databases: Mapping[str, tuple[Sequence[Sample], Scales]], tasks: Sequence[str] | None = None
) -> Rows:
    """Join databases, given by name as (samples, MOS scale by task).

    ``tasks``: which to learn, in this order; default is every task found. A task whose scale is the
    same in all databases keeps it for the scores that users see; otherwise those are in 0..1.
    Rows without a label of any task are left out.
    """
    names = tuple(databases)
    found = list(dict.fromkeys(task for _, scales in databases.values() for task in scales))
    wanted = list(tasks or found)
    missing = [task for task in wanted if task not in found]
    if missing:
        raise TrainingError(
            f"no database has labels of {', '.join(missing)}; found are {', '.join(found)}"
        )
    samples: list[Sample] = []
    labels: list[list[float]] = []
    sources: list[int] = []
    for number, name in enumerate(names):
        rows, scales = databases[name]
        for sample in rows:
            values = [_label(sample, task, scales, name) for task in wanted]
            if all(math.isnan(value) for value in values):
                continue
            try:
                prompt = clean_prompt(sample.prompt or "")
            except PromptError as error:
                raise TrainingError(f"{name}, row {sample.row} ({sample.image}): {error}") from None
            samples.append(replace(sample, prompt=prompt))
            labels.append(values)
            sources.append(number)
    if not samples:
        raise TrainingError(
            f"{', '.join(names)} hold no labelled row; there is nothing to train on"
        )
    every = [scales for _, scales in databases.values()]
    configs = tuple(
        TaskConfig(task, *_common_scale([scales[task] for scales in every if task in scales]))
        for task in wanted
    )
    return Rows(
        tuple(samples),
        torch.tensor(labels, dtype=torch.float32),
        configs,
        torch.tensor(sources),
        names,
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


def _common_scale(scales: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return scales[0] if len(set(scales)) == 1 else (0.0, 1.0)


def data_order(seed: int, epoch: int, rows: Sequence[int]) -> list[int]:
    """The rows in the order of one epoch: a function of seed and epoch.

    >>> data_order(0, 1, [4, 5, 6]) == data_order(0, 1, [4, 5, 6])
    True
    """
    shuffled = np.random.default_rng([seed, epoch]).permutation(len(rows))
    return [rows[i] for i in shuffled]


def may_flip(prompt: str) -> bool:
    """Whether mirroring keeps what the prompt asks for.

    >>> may_flip("a cat"), may_flip("a cat to the Left of a dog")
    (True, False)
    """
    return _SIDES.search(prompt) is None
