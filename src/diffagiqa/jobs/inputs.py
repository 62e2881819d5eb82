"""What to score, as plain values that travel to workers, and whether it can be scored at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from glob import has_magic

from diffagiqa.data.images import DEFAULT_LIMITS, ImageLimits
from diffagiqa.data.samples import Sample, local_path, printable, suffix
from diffagiqa.data.tables import read_samples
from diffagiqa.errors import TableError

MOST_CHECKED = 100
"""Inputs that are opened before a model is loaded; a shell may make a hundred thousand of a pattern."""


@dataclass(frozen=True)
class Inputs:
    """The arguments of ``read_samples``; ``out`` is no part of a job's description."""

    names: tuple[str, ...]
    prompt: str | None = None
    prompts_file: str | None = None
    image_column: str | None = None
    prompt_column: str | None = None
    root: str | None = None
    recursive: bool = True
    need_prompt: bool = False
    limits: ImageLimits = DEFAULT_LIMITS
    out: str | None = None

    def samples(self) -> Iterator[Sample]:
        """The rows to score, in order; see ``read_samples``."""
        return self._samples(*self.names)

    def _samples(self, *names: str) -> Iterator[Sample]:
        ours = ("names", "need_prompt")
        return read_samples(names, **{k: v for k, v in vars(self).items() if k not in ours})

    @property
    def fallback(self) -> str | None:
        """The prompt of an image that comes without one; None makes that an error."""
        return None if self.need_prompt else ""

    @property
    def are_files(self) -> bool:
        """Whether every input is an image, a folder or a pattern: samples without anything in them."""
        return not any(suffix(name) in (".tar", ".parquet") for name in self.names)

    def check(self) -> None:
        """Look at the first row of every input, before a model is loaded for nothing.

        Raises:
            TableError, PromptError: an input does not exist, is empty or lacks a column.
        """
        for name in self.names[:MOST_CHECKED]:
            try:
                path = local_path(name)
            except TableError:  # its row says so, and others can be scored
                continue
            if path is not None and not has_magic(path) and not os.path.lexists(path):
                raise TableError(f"{printable(name)} does not exist; check the path.")
        # A file of prompts belongs to all inputs together.
        for names in (
            [self.names] if self.prompts_file else [(n,) for n in self.names[:MOST_CHECKED]]
        ):
            next(self._samples(*names), None)
