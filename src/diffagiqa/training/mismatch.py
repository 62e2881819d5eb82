"""Rated pictures with prompts of other pictures: extra training rows that show no alignment.

Databases hold few pictures that have nothing to do with their prompt, so a head can do well on them
without reading the prompt. Nobody rated these rows. Their alignment label is a share of the picture's
own, the other labels stay as they are, and no test or validation part holds any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from diffagiqa.data.splits import prompt_key
from diffagiqa.errors import TrainingError
from diffagiqa.training.data import Rows

TASK = "alignment"
KEPT = 0.2
"""Share of a picture's own alignment label that is left with a wrong prompt."""


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
    if share == 0 or TASK not in rows.task_names:
        return rows
    column = rows.task_names.index(TASK)
    numbers = np.random.default_rng(seed)
    keys = [prompt_key(prompt) for prompt in rows.prompts]
    made_of = []
    for number, name in enumerate(rows.names):
        if among and name not in among:
            continue
        own = np.flatnonzero((rows.sources == number).numpy())
        chosen = numbers.permutation(own)[: round(share * len(own))]
        for picture, other in zip(chosen, numbers.choice(own, len(chosen)), strict=True):
            if keys[picture] != keys[other] and not rows.labels[picture, column].isnan():
                made_of.append((int(picture), int(other)))
    pictures = [picture for picture, _ in made_of]
    labels = rows.labels[pictures].clone()
    labels[:, column] *= KEPT
    samples = [replace(rows.samples[p], prompt=rows.samples[o].prompt) for p, o in made_of]
    return replace(
        rows,
        samples=(*rows.samples, *samples),
        labels=torch.cat([rows.labels, labels]),
        sources=torch.cat([rows.sources, rows.sources[pictures]]),
        made_of=tuple(made_of),
    )


def usable(rows: Rows, train: list[int]) -> list[int]:
    """The mismatched rows whose picture and prompt are both of the training part."""
    known, first = set(train), len(rows) - len(rows.made_of)
    return [first + i for i, (p, o) in enumerate(rows.made_of) if p in known and o in known]
