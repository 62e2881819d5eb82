"""The engine of one process: decode on threads, score batch by batch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial

from diffagiqa.overlap import in_order
from diffagiqa.scale.chunks import Chunk
from diffagiqa.scale.job import ChunkResult, Inputs, Layout, own_chunks
from diffagiqa.scale.journal import Done
from diffagiqa.scale.model_spec import arithmetic
from diffagiqa.scale.rows import Row, launch_rows, prepare_ahead
from diffagiqa.scale.stop import StopRequest
from diffagiqa.scorer import Scorer


class LocalEngine:
    """Scores with one model in this process."""

    def __init__(self, scorer: Scorer, threads: int | None = None) -> None:
        self.scorer = scorer
        self.threads = threads or min(8, os.cpu_count() or 1)

    def results(
        self, inputs: Inputs, layout: Layout, done: Done, stop: StopRequest
    ) -> Iterator[ChunkResult]:
        """Results in the order of the rows."""
        kind = arithmetic(self.scorer)
        chunks = own_chunks(inputs, layout, done)

        def begun() -> Iterator[Callable[[], ChunkResult]]:
            for chunk, prepared in prepare_ahead(
                self.scorer, chunks, threads=self.threads, need_prompt=inputs.need_prompt
            ):
                stop.check()
                rows = None if prepared is None else launch_rows(self.scorer, prepared, stop)
                yield partial(_result, chunk, rows, kind)

        return in_order(begun(), self.scorer.ahead)


def _result(chunk: Chunk, rows: Callable[[], list[Row]] | None, kind: str) -> ChunkResult:
    found = None if rows is None else rows()
    return ChunkResult(chunk.index, chunk.digest, chunk.rows, found, kind)
