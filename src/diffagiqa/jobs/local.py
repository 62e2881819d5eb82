"""The engine of one process: decode on threads, score batch by batch, or several batches at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from diffagiqa.data.samples import Sample
from diffagiqa.jobs.chunks import Chunk, Layout
from diffagiqa.jobs.inputs import Inputs
from diffagiqa.jobs.job import ChunkResult, own_chunks
from diffagiqa.jobs.journal import Done
from diffagiqa.jobs.model_spec import arithmetic
from diffagiqa.jobs.stop import StopRequest
from diffagiqa.rows import score_chunks
from diffagiqa.scorer import Scorer


class LocalEngine:
    """Scores with one model in this process."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer

    def results(
        self, inputs: Inputs, layout: Layout, done: Done, stop: StopRequest
    ) -> Iterator[ChunkResult]:
        """Results in the order of the rows."""
        kind = arithmetic(self.scorer)
        begun: deque[tuple[Chunk, bool]] = deque()
        samples = _begin(own_chunks(inputs, layout, done), begun)
        for rows in score_chunks(
            self.scorer,
            samples,
            chunk_rows=layout.chunk_rows,
            fallback=inputs.fallback,
        ):
            chunk, is_done = begun.popleft()
            scored = None if is_done else rows
            yield ChunkResult(chunk.index, chunk.digest, chunk.rows, scored, kind)
            stop.check()


def _begin(
    chunks: Iterable[tuple[Chunk, bool]], begun: deque[tuple[Chunk, bool]]
) -> Iterator[Sequence[Sample]]:
    """The samples of every chunk, none for one that is done; the chunk itself is noted in ``begun``."""
    for chunk, is_done in chunks:
        begun.append((chunk.without_samples(), is_done))
        yield () if is_done else chunk.samples
