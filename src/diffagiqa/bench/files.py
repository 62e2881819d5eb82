"""From JPEG files to a table of scores: what ``diffagiqa score`` does, decoding and writing included."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from diffagiqa.jobs.job import Inputs, Layout, run_job
from diffagiqa.jobs.local import LocalEngine
from diffagiqa.jobs.model_spec import ModelFacts
from diffagiqa.jobs.stop import StopRequest
from diffagiqa.scorer import Scorer

DISTINCT = 32
SECONDS = 10
MOST = 1024


def measure_files(scorer: Scorer, prompt: str, seconds_per_image: float) -> dict[str, float]:
    """Images and seconds per image of a job over JPEG files of the model's size.

    As many as take ``SECONDS`` at the given speed, two batches at least and ``MOST`` at most.
    """
    batch, engine = scorer.batch_size, LocalEngine(scorer)
    count = min(MOST, max(2 * batch, round(SECONDS / seconds_per_image)))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "images"
        write_jpegs(folder, count, scorer.config.image_size)
        began = time.perf_counter()
        run_job(
            engine, Inputs((str(folder),), prompt, limits=scorer.limits), str(Path(scratch) / "scores"),
            layout=Layout(batch, 4 * batch), facts=ModelFacts.of(scorer),
            stop=StopRequest(),
        )  # fmt: skip
        return {"images": count, "seconds": (time.perf_counter() - began) / count}


def write_jpegs(folder: Path, count: int, size: int) -> None:
    """``count`` files of noise on soft colours, about a third of a byte per pixel, as a photograph has.

    Only ``DISTINCT`` are encoded, which would take longer than scoring; the others repeat them.
    """
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 255, (max(1, size // 32), max(1, size // 32), 3), np.uint8)
    soft = np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC))
    encoded: list[bytes] = []
    for index in range(count):
        file = folder / f"{index:05d}.jpg"
        if index < DISTINCT:
            grain = generator.integers(-6, 7, (size, size, 1))
            noisy = np.clip(soft.astype(np.int16) + grain, 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(file, quality=92)
            encoded.append(file.read_bytes())
        else:
            file.write_bytes(encoded[index % DISTINCT])
