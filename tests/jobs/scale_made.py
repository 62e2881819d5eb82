"""Made inputs, an engine without a network, and readers of outputs, for the tests of this folder."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pyarrow import parquet

from diffagiqa.jobs.chunks import Layout, Share
from diffagiqa.jobs.inputs import Inputs
from diffagiqa.jobs.job import ChunkResult, own_chunks, run_job
from diffagiqa.jobs.journal import Done
from diffagiqa.jobs.model_spec import ModelFacts
from diffagiqa.jobs.stop import StopRequest
from diffagiqa.jobs.totals import Totals
from diffagiqa.model.config import ModelConfig

FACTS = ModelFacts(ModelConfig(), "0123456789abcdef", 0)


def make_pictures(folder: Path, count: int, size: int = 64) -> Path:
    """Pictures 000.png and so on; every second with a prompt beside it, the fifth is rubbish."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        values = np.random.default_rng(i).integers(0, 256, (size, size, 3), dtype=np.uint8)
        Image.fromarray(values).save(folder / f"{i:03d}.png")
        if i % 2:
            (folder / f"{i:03d}.txt").write_text(f"picture number {i}")
    if count > 5:
        (folder / "005.png").write_bytes(b"rubbish")
    return folder


def make_table(file: Path, count: int) -> Path:
    """A JSONL table of pictures that nobody opens."""
    with file.open("w") as out:
        for i in range(count):
            out.write(json.dumps({"image": f"{i}.png", "prompt": f"prompt {i}"}) + "\n")
    return file


class ArithmeticEngine:
    """Scores are a function of the row; every seventh row fails."""

    kind = "cpu float32"

    def results(
        self, inputs: Inputs, layout: Layout, done: Done, stop: StopRequest
    ) -> Iterator[ChunkResult]:
        for chunk, is_done in own_chunks(inputs, layout, done):
            stop.check()
            rows = None if is_done else [self.row(s) for s in chunk.samples]
            yield ChunkResult(chunk.index, chunk.digest, chunk.rows, rows, self.kind)

    @staticmethod
    def row(sample: Any) -> dict[str, Any]:
        row = {"row": sample.row, "image": sample.image, "prompt": sample.prompt}
        row |= {"prompt_source": sample.prompt_source, "seed": 0, "model": FACTS.fingerprint}
        if sample.row % 7 == 6:
            return row | {"error": "the seventh row, on purpose."}
        value = 1 / (sample.row + 3)
        return row | {"perception": value, "perception_mos": 5 * value, "error": None}


def run(
    inputs: Path | str,
    out: Path | str,
    engine: Any = None,
    facts: ModelFacts = FACTS,
    **changes: Any,
) -> Totals:
    """``run_job`` with small chunks and parts."""
    cut = {"batch_size": 2, "chunk_rows": 4, "part_rows": 12, "format": "jsonl", "share": Share()}
    layout = Layout(**(cut | {name: changes.pop(name) for name in cut if name in changes}))
    restart = changes.pop("restart", False)
    stop = changes.pop("stop", StopRequest())
    on_rows = changes.pop("on_rows", lambda done, reused: None)
    return run_job(
        engine or ArithmeticEngine(),
        Inputs((str(inputs),), **changes),
        str(out),
        layout=layout,
        facts=facts,
        stop=stop,
        restart=restart,
        on_rows=on_rows,
    )


def read_rows(out: Path) -> list[dict[str, Any]]:
    """All rows of a file or folder, in the order of their number."""
    rows: list[dict[str, Any]] = []
    for file in sorted(out.glob("*part-*.*")) if out.is_dir() else [out]:
        if file.suffix == ".jsonl":
            rows += [json.loads(line) for line in file.read_text().splitlines()]
        elif file.suffix == ".parquet":
            rows += parquet.read_table(file).to_pylist()
        else:
            with file.open(newline="") as lines:
                rows += [{k: v or None for k, v in row.items()} for row in csv.DictReader(lines)]
    return sorted(rows, key=lambda row: int(row["row"]))
