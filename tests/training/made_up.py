"""A made-up database that can be learnt: the contrast of stripes is the quality, the height they reach
the alignment. A random backbone blurs grain and colour away, so what is rated is coarse.
Also run as a program, by the tests that need processes of their own."""

from __future__ import annotations

import io
import itertools
import os
import signal
import sys
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image

from diffagiqa.data.samples import Sample
from diffagiqa.model.config import ModelConfig
from diffagiqa.training.augmented import with_augmentations
from diffagiqa.training.config import TrainingConfig
from diffagiqa.training.data import TrainingData, make_data
from diffagiqa.training.processes import Processes
from diffagiqa.training.train import train

BACKBONE = str(Path(__file__).parents[1] / "reference" / "backbone")


def small_model(**changes: object) -> ModelConfig:
    settings: dict[str, object] = {
        "backbone": BACKBONE,
        "image_size": 128,
        "posterior": "mean",  # the random encoder's posterior is four times wider than its mean moves
        "feature_channels": (128,) * 5,
        "pyramid_size": 4,
        "pyramid_channels": 8,
        "pyramid_kernels": (1, 3),
        "attention_channels": 2,
        "fusion_channels": (32, 16, 16),
        "head_channels": (16, 8),
        "head_dropout": (0.2, 0.0),
    }
    return ModelConfig(**(settings | changes))  # type: ignore[arg-type]


def small_config(model: dict[str, object] | None = None, **changes: object) -> TrainingConfig:
    settings: dict[str, object] = {
        "epochs": 2,
        "batch_size": 4,
        "backbone_dtype": "float32",
        "ema": 0.9,
        "patience": 0,
        "min_steps": 0,
        "folds": 0,
        "model": small_model(**(model or {})),
    }
    return TrainingConfig(**(settings | changes))  # type: ignore[arg-type]


def make_pictures(folder: Path, count: int) -> list[Sample]:
    """``count`` striped pictures of 128 x 128, rated 0..5 and 1..10."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, columns = np.mgrid[:128, :128]
    stripes = columns // 16 % 2 * 2 - 1
    samples = []
    for i in range(count):
        random = np.random.default_rng([7, i])
        contrast, height = random.random(2)
        grey = np.where(rows < 128 * (0.4 + 0.6 * height), 0.5 + 0.5 * contrast * stripes, 0.15)
        picture = grey[..., None] * random.uniform(0.7, 1, 3) + random.normal(
            0, 0.03, (128, 128, 3)
        )
        file = folder / f"{i:03d}.png"
        Image.fromarray((picture.clip(0, 1) * 255).astype(np.uint8)).save(file)
        labels = {"perception": 5 * contrast, "alignment": 1 + 9 * height}
        made_by = ("weak", "strong")[int(contrast > 0.5)]
        samples.append(Sample(str(file), f"stripes {i % 8}", "table", i, labels, made_by))
    return samples


SCALES = {"perception": (0.0, 5.0), "alignment": (1.0, 10.0)}


def made_up_rows(folder: Path, count: int) -> TrainingData:
    return make_data({"made-up": (make_pictures(folder, count), SCALES)})


def thirds(count: int) -> dict[str, list[int]]:
    """Two thirds to train on, one to validate on."""
    return {
        "train": [i for i in range(count) if i % 3],
        "validation": [i for i in range(count) if i % 3 == 0],
    }


def die_while_saving(number: int) -> None:
    """Kill this process when half of its checkpoint of this number is written."""
    save, saved = torch.save, itertools.count(1)

    def save_or_die(state: object, stream: BinaryIO) -> None:
        if next(saved) < number:
            return save(state, stream)
        whole = io.BytesIO()
        save(state, whole)
        stream.write(whole.getvalue()[: whole.tell() // 2])
        stream.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    torch.save = save_or_die


if __name__ == "__main__":
    # made_up.py CONFIG PICTURES COUNT RUN [NUMBER]: one run, on as many processes as there are;
    # it dies while it saves its checkpoint NUMBER
    torch.set_num_threads(1)
    for number in sys.argv[5:]:
        die_while_saving(int(number))
    config = TrainingConfig.from_json(Path(sys.argv[1]).read_text())
    count = int(sys.argv[3])
    rows = with_augmentations(made_up_rows(Path(sys.argv[2]), count), config)
    train(config, rows, thirds(count), sys.argv[4], device="cpu")
    own = Processes("cpu")
    print(f"process {own.rank} of {own.count}")
