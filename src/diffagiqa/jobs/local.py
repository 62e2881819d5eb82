"""The engine of one process: decode on threads, score batch by batch, or several batches at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import torch

from diffagiqa.jobs.chunks import Chunk
from diffagiqa.jobs.job import ChunkResult, Inputs, Layout, own_chunks
from diffagiqa.jobs.journal import Done
from diffagiqa.jobs.model_spec import arithmetic
from diffagiqa.jobs.rows import Launch, Row, launch_rows, prepare_ahead
from diffagiqa.jobs.stop import StopRequest
from diffagiqa.overlap import in_order
from diffagiqa.scorer import Scorer

SMALL = 100_000_000
"""Parameters of a backbone whose passes are too short to be worth splitting over threads: ours has 16
million, Stable Diffusion 1.5 a billion."""
MAX_AT_ONCE = 16
"""Batches at the same time: Python's lock keeps more threads from being of use."""


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
        at_once = batches_at_once(self.scorer)

        def begun(launch: Launch) -> Iterator[Callable[[], ChunkResult]]:
            for chunk, prepared in prepare_ahead(
                self.scorer, chunks, threads=self.threads, need_prompt=inputs.need_prompt
            ):
                stop.check()
                rows = None
                if prepared is not None:
                    rows = launch_rows(self.scorer, prepared, stop, launch)
                yield partial(_result, chunk, rows, kind)

        if at_once == 1:
            yield from in_order(begun(self.scorer.launch), self.scorer.ahead)
            return
        ahead = -(-at_once * layout.batch_size // layout.chunk_rows)
        with side_by_side(self.scorer, at_once) as launch:
            yield from in_order(begun(launch), ahead)


def batches_at_once(scorer: Scorer) -> int:
    """How many batches are best scored at the same time, on a thread each.

    On a CPU a small network gains little from several threads within a pass, and they wait for each
    other wherever a decoder takes a core: 20 ms a picture on two cores, 13 with a batch on each.
    """
    parameters = sum(one.numel() for one in scorer.backbone.parameters())
    alone = scorer.device.type != "cpu" or parameters > SMALL
    return 1 if alone else min(MAX_AT_ONCE, torch.get_num_threads())


@contextmanager
def side_by_side(scorer: Scorer, count: int) -> Iterator[Launch]:
    """A ``Scorer.launch`` that scores ``count`` batches at once on a CPU, every one on one thread.

    PyTorch's number of threads is the process's, so other work in it has one, too, meanwhile.
    """
    one = partial(torch.set_num_threads, 1)  # in every thread: it takes the process's number late
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(count, thread_name_prefix="score", initializer=one)
    one()
    try:
        yield lambda batch: pool.submit(scorer.score_prepared, batch).result
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)


def _result(chunk: Chunk, rows: Callable[[], list[Row]] | None, kind: str) -> ChunkResult:
    found = None if rows is None else rows()
    return ChunkResult(chunk.index, chunk.digest, chunk.rows, found, kind)
