"""Training pictures and their captions: a folder in the AGIQA-3K layout, synthetic ones, or both."""

from __future__ import annotations

import csv
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from diffagiqa.data.images import decode_image
from diffagiqa.data.samples import reason_of
from diffagiqa.data.splits import prompt_key
from diffagiqa.data.wording import counted
from diffagiqa.errors import DatabaseError, ImageError
from diffagiqa.pretrain.word_labels import (
    RealExample,
    SyntheticExample,
    common_words,
    real_example,
    synthetic_example,
)

if TYPE_CHECKING:
    from diffagiqa.synth.scene import Scene


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images as uint8 arrays (H, W, 3) with one caption each; nothing else of a database is kept."""

    images: list[np.ndarray]
    captions: list[str]
    scenes: list[tuple[Scene, Scene]] = field(default_factory=list)
    """Of synthetic pictures, what was asked for and what is shown; empty for real ones."""

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def common(self) -> frozenset[str]:
        """Words that many captions share (``word_labels.common_words``)."""
        return common_words(self.captions)

    def example(self, index: int, generator: np.random.Generator) -> SyntheticExample | RealExample:
        """Picture ``index`` with a caption, true or not."""
        other = int(generator.integers(len(self)))
        if self.scenes:
            return synthetic_example(*self.scenes[index], self.scenes[other][0], generator)
        own = self.captions[index]
        return real_example(
            own, None if generator.random() < 0.5 else self.captions[other], self.common
        )


def read_folder(root: Path, exclude: Collection[str] = ()) -> Pictures:
    """Read ``root/data.csv`` (columns name and prompt, ratings ignored) and ``root/images/``.

    Rows whose prompt is in ``exclude`` are left out, prompts compared as splits compare them. Raises
    ``DatabaseError`` where files lack.
    """
    table = root / "data.csv"
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = [(row["name"], row["prompt"]) for row in csv.DictReader(file)]
    except (OSError, ValueError, KeyError, csv.Error) as error:
        reason = f"no column {error}" if isinstance(error, KeyError) else reason_of(error)
        raise DatabaseError(
            f"{table} cannot be read ({reason}); expected a CSV in UTF-8 with columns name and prompt"
        ) from None
    left_out = {prompt_key(prompt) for prompt in exclude}
    images, captions = [], []
    for name, prompt in rows:
        if prompt_key(prompt) in left_out:
            continue
        try:
            images.append(decode_image(root / "images" / name))
        except ImageError as error:
            raise DatabaseError(
                f"{table} names a picture that cannot be read: {error} Repair it, or take its row out."
            ) from None
        captions.append(prompt)
    if not images:
        raise DatabaseError(
            f"{table} leaves no picture after {counted(len(left_out), 'excluded prompt')}"
        )
    return Pictures(images, captions)


def crop(image: np.ndarray, side: int, generator: np.random.Generator) -> np.ndarray:
    """A random crop at native detail, (side, side, 3); a smaller picture is mirrored at its edges."""
    height, width = image.shape[:2]
    if min(height, width) < side:
        pad = (max(0, side - height), max(0, side - width))
        image = np.pad(image, ((0, pad[0]), (0, pad[1]), (0, 0)), mode="symmetric")
        height, width = image.shape[:2]
    top = int(generator.integers(height - side + 1))
    left = int(generator.integers(width - side + 1))
    piece = image[top : top + side, left : left + side]
    return piece[:, ::-1] if generator.random() < 0.5 else piece


def to_tensor(images: Sequence[np.ndarray]) -> Tensor:
    """uint8 (H, W, 3) each -> (B, 3, H, W) in [-1, 1], channels last."""
    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)  # channels last in memory
    return stacked.float() / 127.5 - 1.0


def view(image: np.ndarray, side: int, generator: np.random.Generator) -> np.ndarray:
    """A square of the picture as (side, side, 3): anything between a native crop and the whole."""
    longest = min(image.shape[:2])
    kind = generator.random()
    if longest <= side or kind < 0.3:
        return crop(image, side, generator)
    cut = longest if kind < 0.6 else int(generator.integers(side, longest + 1))
    return whole(crop(image, cut, generator), side)


def whole(image: np.ndarray, side: int) -> np.ndarray:
    """The picture resized to (side, side, 3); its sides may change their ratio, as in scoring."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(image))
    return np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=3))
