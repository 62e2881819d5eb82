"""The inputs as a Ray datasource: one task that walks them once and emits a block per chunk."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from ray.data import Datasource, ReadTask
from ray.data.block import BlockMetadata

from diffagiqa.jobs.chunks import Layout
from diffagiqa.jobs.inputs import Inputs
from diffagiqa.jobs.job import own_chunks
from diffagiqa.jobs.journal import Done

SCHEMA = pa.schema(
    [
        ("chunk", pa.int64()),
        ("digest", pa.string()),
        ("count", pa.int64()),
        ("samples", pa.binary()),
    ]
)


class ChunkSource(Datasource):
    """Rows are chunks: index, digest, number of rows, pickled samples.

    Reading again gives the same blocks, so that Ray may read again what a lost machine held.
    """

    def __init__(self, inputs: Inputs, layout: Layout, done: Done) -> None:
        super().__init__()
        self._arguments = inputs, layout, done

    def get_name(self) -> str:
        return "Inputs"

    def estimate_inmemory_data_size(self) -> int | None:
        return None

    def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[ReadTask]:
        arguments = self._arguments

        def read() -> Iterator[pa.Table]:
            for chunk in pickled_chunks(*arguments):
                yield pa.table(chunk, schema=SCHEMA)

        return [ReadTask(read, BlockMetadata(None, None, None, None))]


def pickled_chunks(inputs: Inputs, layout: Layout, done: Done) -> Iterator[dict[str, list[Any]]]:
    """Chunks as rows of a table; those that are done come without samples."""
    for chunk, is_done in own_chunks(inputs, layout, done):
        yield {
            "chunk": [chunk.index],
            "digest": [chunk.digest],
            "count": [chunk.rows],
            "samples": [b"" if is_done else pickle.dumps(chunk.samples)],
        }
