"""What the columns of a table of ratings are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class TableColumns:
    """Columns of a table of one's own ratings, in upper or lower case.

    Attributes:
        labels: {task: column of its opinion scores}; empty cells are missing labels.
        scales: {task: (lowest, highest possible score)}, one for every task.
        image, prompt: columns of the image's name and of its prompt; None for the latter where the
            table has no prompts.
        generator: column of the model that made the image, if there is one.
        split: column that says train, validation (or val) or test; becomes the official split.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    scales: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    image: str = "image"
    prompt: str | None = "prompt"
    generator: str | None = None
    split: str | None = None
