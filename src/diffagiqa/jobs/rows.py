"""One sample -> one row of the output: read, find its prompt, decode, score, or say why not."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from diffagiqa.data.images import read_image_bytes
from diffagiqa.data.prompts import clean_prompt, find_prompt
from diffagiqa.data.samples import PromptSource, Sample
from diffagiqa.errors import DiffAGIQAError, ImageError, PromptError
from diffagiqa.jobs.chunks import Chunk
from diffagiqa.jobs.stop import StopRequest
from diffagiqa.overlap import in_order

if TYPE_CHECKING:
    from torch import Tensor

    from diffagiqa.jobs.model_spec import ModelFacts
    from diffagiqa.scorer import Scorer

Row = dict[str, Any]
Launch = Callable[[Any], Callable[[], list[Any]]]
"""``Scorer.launch``, or what begins a batch otherwise."""
_GIVEN = ("row", "image", "prompt", "prompt_source")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A sample that is ready for the network, or the reason why it never will be."""

    image: str
    row: int
    prompt: str | None
    prompt_source: PromptSource
    tensor: Tensor | None = None
    error: str | None = None


def row_columns(facts: ModelFacts) -> dict[str, type]:
    """Columns of every output, in order: name -> type."""
    tasks = facts.config.task_names
    return {
        "row": int,
        "image": str,
        "prompt": str,
        "prompt_source": str,
        **dict.fromkeys(tasks, float),
        **{f"{task}_mos": float for task in tasks},
        "seed": int,
        "model": str,
        "error": str,
    }


def prepare_sample(scorer: Scorer, sample: Sample, need_prompt: bool = False) -> Prepared:
    """Read and decode one sample; every fault of the row becomes its ``error``.

    A picture without any prompt is scored against the empty one and says so (``prompt_source``
    "none"), unless ``need_prompt``: then that is its error.
    """
    prompt, source = sample.prompt, sample.prompt_source
    try:
        prompt = None if prompt is None else clean_prompt(prompt)
        if sample.error:
            raise ImageError(sample.error)
        data = read_image_bytes(sample.source, scorer.limits)
        if prompt is None:
            beside = None if sample.data is not None else sample.location or sample.image
            prompt, source = find_prompt(beside, data, limits=scorer.limits)
        if prompt is None and need_prompt:
            raise PromptError(
                "no prompt was given, and none is beside the image or in its metadata."
            )
        prompt = prompt or ""
        tensor = scorer.prepare(data)
    except DiffAGIQAError as fault:
        # Bytes have no name of their own; the row's image column gives it.
        error = str(fault).replace("the image data", "the file")
        return Prepared(sample.image, sample.row, prompt, source, error=error)
    return Prepared(sample.image, sample.row, prompt, source, tensor)


def prepare_ahead(
    scorer: Scorer, chunks: Iterable[tuple[Chunk, bool]], *, threads: int, need_prompt: bool = False
) -> Iterator[tuple[Chunk, list[Prepared] | None]]:
    """Chunks with their samples prepared on threads, in order, one chunk ahead of the scoring.

    Chunks marked as done come with None. Memory: the pictures of two chunks; the chunks that come
    out hold no samples any more.
    """
    pool = ThreadPoolExecutor(max(1, threads), thread_name_prefix="decode")

    def begun() -> Iterator[Callable[[], tuple[Chunk, list[Prepared] | None]]]:
        for chunk, done in chunks:
            futures = None
            if not done:
                futures = [
                    pool.submit(prepare_sample, scorer, sample, need_prompt)
                    for sample in chunk.samples
                ]
            yield partial(_finished, chunk.without_samples(), futures)

    try:
        yield from in_order(begun(), ahead=1)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _finished(
    chunk: Chunk, futures: list[Future[Prepared]] | None
) -> tuple[Chunk, list[Prepared] | None]:
    return chunk, None if futures is None else [future.result() for future in futures]


def score_rows(scorer: Scorer, chunk: Sequence[Prepared], stop: StopRequest) -> list[Row]:
    """Rows of one chunk; ``launch_rows`` and the wait for it."""
    return launch_rows(scorer, chunk, stop)()


def launch_rows(
    scorer: Scorer, chunk: Sequence[Prepared], stop: StopRequest, launch: Launch | None = None
) -> Callable[[], list[Row]]:
    """Begin to score one chunk, in batches that depend on nothing but the chunk itself; what comes
    back, once called, waits for the rows. ``launch`` begins a batch, by default ``Scorer.launch``.

    A score's last bits may depend on the pictures in its batch. Since no batch leaves its chunk,
    a resumed, sharded or distributed run computes the very numbers of an uninterrupted one.
    """
    begin: Launch = launch or scorer.launch
    good = [item for item in chunk if item.tensor is not None]
    launched: list[tuple[list[Prepared], Callable[[], list[Any]]]] = []
    for start in range(0, len(good), scorer.batch_size):
        stop.check()
        batch = good[start : start + scorer.batch_size]
        pairs = [(item.tensor, item.prompt or "") for item in batch]
        launched.append((batch, begin(pairs)))

    def rows() -> list[Row]:
        results: dict[int, Any] = {}
        for batch, scores in launched:
            results |= {item.row: score for item, score in zip(batch, scores(), strict=True)}
        return [_row(scorer, item, results.get(item.row)) for item in chunk]

    return rows


def _row(scorer: Scorer, item: Prepared, score: Any) -> Row:
    row: Row = {name: getattr(item, name) for name in _GIVEN}
    if score is not None and not isinstance(score, DiffAGIQAError):
        row |= score.scores
        row |= {f"{task}_mos": value for task, value in score.mos.items()}
        if score.unfamiliar:
            row["unfamiliar"] = score.unfamiliar
    error = str(score) if isinstance(score, DiffAGIQAError) else item.error
    if not all(math.isfinite(row.get(task, 0.0)) for task in scorer.tasks):
        error = "its score is not a finite number; score it with --dtype float32."
        row = {name: value for name, value in row.items() if name in _GIVEN}
    return row | {"seed": scorer.seed, "model": scorer.fingerprint, "error": error}
