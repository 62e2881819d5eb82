"""Cache what the default's heads are trained on: features of AGIQA-3K and of altered copies of it.

    python research/default_features.py AGIQA3K CLASS_NAMES.py CACHE

``AGIQA3K`` and ``CLASS_NAMES.py``: as in build_fit.py. About 12,600 images at 0.1 s each on one core;
run it several times at once to use several cores. A stopped run goes on where it was.

``CACHE`` holds, one row per image or copy (``copies``): ``grids.npy``, means and deviations of 14 stages
within the cells of a 4x4 grid, (rows, scale, kind, 784, 16), and ``heads.npy``, the head's maps of both
scales averaged, (rows, 2560); ``text.safetensors``, embeddings of prompts, words and class names.
"""

from __future__ import annotations

import argparse
import fcntl
from collections import Counter
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from build_fit import class_names
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file

from diffagiqa.backbones.compact import GRID, SCALES, CompactBackbone, load_compact
from diffagiqa.backbones.efficientnet import CHANNELS, HEAD_CHANNELS
from diffagiqa.training.damages import DEFECTS, HELD_OUT_DEFECTS, TRAIN_DEFECTS, damage
from diffagiqa.training.distortions import sampled

Pixels = NDArray[np.uint8]
STAGES = tuple(str(number) for number in range(1, 8))
WIDTHS = tuple(CHANNELS[stage] for stage in STAGES)
COPIED = 1890
"""Images with copies for training; the others are trained on as they are."""
BLOCK = 10


@dataclass(frozen=True)
class Copy:
    """An image as it is or altered; ``use``: "rated", "test" or which copy of it for training."""

    image: int
    kind: str
    severity: float
    seed: int
    use: str


class Ratings:
    """AGIQA-3K's table, with numbers of prompts, generators and families, and what is no use."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.table = pd.read_csv(root / "data.csv")
        self.names = list(self.table["name"])
        self.labels = self.table[["mos_quality", "mos_align"]].to_numpy() / 5
        self.generators = np.array([name.rsplit("_", 1)[0] for name in self.names])
        self.families = np.array([name.split("_")[0].lower() for name in self.names])
        keys = [" ".join(text.lower().split()) for text in self.table["prompt"]]
        order = sorted(set(keys))
        self.prompt = np.array([order.index(key) for key in keys])
        self.prompts = [self.table["prompt"][keys.index(key)].strip() for key in order]
        digests = [sha256((root / "images" / name).read_bytes()).digest() for name in self.names]
        count = Counter(digests)
        self.usable = np.array([count[digest] == 1 for digest in digests])

    def pixels(self, image: int) -> Pixels:
        return np.asarray(Image.open(self.root / "images" / self.names[image]).convert("RGB"))

    @cache  # noqa: B019  (one object per run)
    def copies(self) -> list[Copy]:
        """All rows of the cache: every image, copies for testing, copies for training."""
        numbers = np.random.default_rng(1)
        rows = [Copy(image, "clean", 0.0, 0, "rated") for image in range(len(self.names))]
        for prompt in range(len(self.prompts)):
            usable = np.flatnonzero((self.prompt == prompt) & self.usable)
            good = [i for i in usable if self.labels[i, 0] > 0.3] or usable
            image = int(numbers.choice(good))
            rows += [Copy(image, k, s, image, "test") for k in HELD_OUT_DEFECTS for s in (0.4, 0.9)]
            for kind in ("16 tiles", "upside down", "face swirl", "384 pixels", "256 pixels"):
                rows.append(Copy(image, kind, 1.0, image, "test"))
        kinds = [*TRAIN_DEFECTS, "pixelate", "tone"]
        usable = [int(i) for i in numbers.permutation(len(self.names)) if self.usable[i]]
        for image in usable[:COPIED]:
            kind = kinds[int(numbers.integers(len(kinds)))]
            for use, low, high in (("mild", 0.25, 0.55), ("strong", 0.65, 1.0)):
                rows.append(Copy(image, kind, float(numbers.uniform(low, high)), image, use))
            kind = ("tiles", "tiles", "upside down", "swirl")[int(numbers.integers(4))]
            rows.append(Copy(image, kind, float(numbers.uniform(0.4, 1)), image, "structure"))
            rows.append(Copy(image, "smaller", 0.0, image, "smaller"))
        return rows


def altered(pixels: Pixels, copy: Copy) -> Pixels:
    """(H, W, 3) -> the copy that is asked for."""
    numbers = np.random.default_rng([copy.seed, 7])
    height, width = pixels.shape[:2]
    kind, severity = copy.kind, copy.severity
    if kind == "clean":
        return pixels
    if kind in DEFECTS:
        return damage(pixels, kind, severity, numbers)[0]
    if kind == "16 tiles":
        return shuffled(pixels, 4, numbers)
    if kind == "tiles":
        return shuffled(pixels, int(numbers.choice([2, 3, 4, 5, 6, 8])), numbers)
    if kind == "upside down":
        return pixels[::-1].copy()
    if kind == "face swirl":  # where a face would be
        return swirled(pixels, 4.0, 0.5 * width, 0.42 * height, 0.25 * width)
    if kind == "swirl":
        turn = (1.5 + 3 * severity) * numbers.choice([-1, 1])
        x, y, radius = (numbers.uniform(*r) for r in ((0.3, 0.7), (0.3, 0.7), (0.12, 0.35)))
        return swirled(pixels, turn, width * x, height * y, width * radius)
    if kind.endswith("pixels"):
        return resized(pixels, int(kind.split()[0]), Image.Resampling.BOX)
    if kind == "smaller":
        side = int(numbers.choice([224, 256, 288, 320, 384, 448]))
        return resized(pixels, side, Image.Resampling.BOX)
    if kind == "pixelate":
        small = resized(pixels, round(256 * (16 / 256) ** severity), Image.Resampling.BOX)
        return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.NEAREST))
    assert kind == "tone", kind
    values = pixels.astype(np.float32) / 255
    way = numbers.integers(3)
    if way == 0:
        values = 0.5 + (values - 0.5) * (1 - 0.8 * severity)
    elif way == 1:
        values = values ** (1 + 2.5 * severity)
    else:
        values = 1 - (1 - values) ** (1 + 2.5 * severity)
    return (values * 255).round().astype(np.uint8)


def shuffled(pixels: Pixels, count: int, numbers: np.random.Generator) -> Pixels:
    """``count`` x ``count`` tiles in random order."""
    height, width = (side // count for side in pixels.shape[:2])
    cut = pixels[: height * count, : width * count]
    tiles = cut.reshape(count, height, count, width, 3).swapaxes(1, 2).reshape(-1, height, width, 3)
    tiles = tiles[numbers.permutation(len(tiles))].reshape(count, count, height, width, 3)
    return tiles.swapaxes(1, 2).reshape(cut.shape)


def swirled(pixels: Pixels, turn: float, x: float, y: float, radius: float) -> Pixels:
    """Turned by ``turn`` radians at (x, y), less with distance."""
    rows, columns = np.mgrid[: pixels.shape[0], : pixels.shape[1]].astype(np.float32)
    right, down = columns - x, rows - y
    angle = turn * np.exp(-((np.hypot(right, down) / radius) ** 2))
    c, s = np.cos(angle), np.sin(angle)
    moved = sampled(pixels.astype(np.float32), x + c * right - s * down, y + s * right + c * down)
    return np.clip(moved, 0, 255).astype(np.uint8)


def resized(pixels: Pixels, side: int, how: Image.Resampling) -> Pixels:
    """The longer side becomes ``side``."""
    share = side / max(pixels.shape[:2])
    height, width = (round(length * share) for length in pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((width, height), how))


@torch.inference_mode()
def features(backbone: CompactBackbone, pixels: Pixels) -> tuple[torch.Tensor, torch.Tensor]:
    """(H, W, 3) uint8 -> grids (2, 2, 784, 16) and pooled heads (2560,)."""
    image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    names = [
        f"{scale}.{stage}{end}" for scale in SCALES for end in ("", ".std") for stage in STAGES
    ]
    heads = [f"{scale}.head" for scale in SCALES]
    found = backbone.features(backbone.encode_image(image), None, None, 0, [*names, *heads])
    cells = torch.cat(
        [torch.nn.functional.adaptive_avg_pool2d(found[name], GRID).flatten(2)[0] for name in names]
    )
    pooled = torch.cat([found[name].mean((2, 3))[0] for name in heads])
    return cells.view(2, 2, sum(WIDTHS), GRID**2), pooled


def opened(file: Path, shape: tuple[int, ...], dtype: str) -> np.memmap:
    """An array on disk, made on first use."""
    mode = "r+" if file.exists() else "w+"
    return np.lib.format.open_memmap(file, mode, dtype, None if file.exists() else shape)  # type: ignore[return-value]


def claimed(folder: Path) -> int:
    """The first row of the next block that no other process has."""
    with (folder / "next").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        first = int(file.read() or 0)
        file.truncate(0)
        file.write(str(first + BLOCK))
    return first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("agiqa3k", "class_names", "cache"):
        parser.add_argument(name, type=Path)
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    package = Path(__file__).parents[1] / "src" / "diffagiqa" / "weights" / "compact"
    backbone = load_compact(package)
    ratings = Ratings(args.agiqa3k)
    if not (args.cache / "text.safetensors").exists():
        prompts = backbone.encode_prompts(ratings.prompts)
        names = backbone.encode_prompts(class_names(args.class_names))
        tensors = {
            "names": torch.stack([name.pooled for name in names]),  # type: ignore[misc]
            "prompts": torch.stack([prompt.pooled for prompt in prompts]),  # type: ignore[misc]
            "words": torch.cat([prompt.text[prompt.words] for prompt in prompts]),
            "counts": torch.tensor([int(prompt.words.sum()) for prompt in prompts]),
        }
        save_file(tensors, args.cache / "text.safetensors")
    copies = ratings.copies()
    rows = len(copies)
    shape = (rows, len(SCALES), 2, sum(WIDTHS), GRID**2)
    grids = opened(args.cache / "grids.npy", shape, "float16")
    heads = opened(args.cache / "heads.npy", (rows, 2 * HEAD_CHANNELS), "float32")
    done = opened(args.cache / "done.npy", (rows,), "int8")
    while (first := claimed(args.cache)) < rows:
        for row in range(first, min(first + BLOCK, rows)):
            copy = copies[row]
            cells, pooled = features(backbone, altered(ratings.pixels(copy.image), copy))
            grids[row], heads[row], done[row] = cells.numpy(), pooled.numpy(), 1
        print(f"{min(first + BLOCK, rows)} of {rows}", flush=True)


if __name__ == "__main__":
    main()
