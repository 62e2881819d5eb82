"""Training pictures and their captions: a folder in the AGIQA-3K layout, the made world, or both."""

from __future__ import annotations

import csv
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffagiqa.errors import DatabaseError


@dataclass(frozen=True)
class Pictures:
    """Images as uint8 arrays (H, W, 3) with one caption each; nothing else of a database is kept."""

    images: list[np.ndarray]
    captions: list[str]
    near: list[tuple[str, ...]] = field(default_factory=list)
    """Captions that nearly fit, per picture, where they are known; empty where none are."""

    def __len__(self) -> int:
        return len(self.images)


def read_folder(root: Path, exclude: Collection[str] = ()) -> Pictures:
    """Read ``root/data.csv`` (columns name and prompt, ratings ignored) and ``root/images/``.

    Rows whose prompt is in ``exclude`` are left out. Raises ``DatabaseError`` where files lack.
    """
    from PIL import Image

    table = root / "data.csv"
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = [(row["name"], row["prompt"]) for row in csv.DictReader(file)]
    except (OSError, KeyError) as error:
        raise DatabaseError(
            f"{table} cannot be read ({error!r}); expected a CSV with columns name and prompt"
        ) from None
    left_out = {_key(prompt) for prompt in exclude}
    images, captions = [], []
    for name, prompt in rows:
        if _key(prompt) in left_out:
            continue
        try:
            with Image.open(root / "images" / name) as picture:
                images.append(np.asarray(picture.convert("RGB")))
        except OSError as error:
            raise DatabaseError(f"{root / 'images' / name} cannot be read ({error})") from None
        captions.append(prompt)
    if not images:
        raise DatabaseError(f"{table} leaves no picture after {len(left_out)} excluded prompts")
    return Pictures(images, captions)


def read_prompts(file: Path) -> list[str]:
    """One prompt per line; empty lines are skipped."""
    try:
        return [line.strip() for line in file.read_text("utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise DatabaseError(f"the prompt list {file} cannot be read ({error})") from None


def _key(prompt: str) -> str:
    return " ".join(prompt.casefold().split())


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


def view(
    image: np.ndarray, side: int, generator: np.random.Generator, *, native: bool | None = None
) -> np.ndarray:
    """A square of the picture as (side, side, 3).

    ``native`` True: a crop that is not resized; False: the whole or most of it; None: anything between.
    """
    from PIL import Image

    longest = min(image.shape[:2])
    kind = generator.random()
    if native or longest <= side or (native is None and kind < 0.3):
        return crop(image, side, generator)
    if kind < (0.5 if native is False else 0.6):
        cut = longest
    else:
        cut = int(generator.integers(side if native is None else longest * 3 // 4, longest + 1))
    piece = np.ascontiguousarray(crop(image, cut, generator))
    small = Image.fromarray(piece).resize((side, side), Image.Resampling.LANCZOS, reducing_gap=2)
    return np.asarray(small)
