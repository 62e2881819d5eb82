"""One sample -> one row of results: the only schema of an output, wherever it is written or shown."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffagiqa.data.images import read_image_bytes
from diffagiqa.data.prompts import find_prompt
from diffagiqa.data.samples import Sample, local_path
from diffagiqa.errors import DiffAGIQAError, ImageError, PromptError
from diffagiqa.overlap import in_order

if TYPE_CHECKING:
    from torch import Tensor

    from diffagiqa.model.config import ModelConfig
    from diffagiqa.scorer import Score, Scorer

Row = dict[str, Any]
Decoded = tuple[Sample, "Tensor | None"]
"""A sample with its prompt, and its image as ``Scorer.prepare`` gives it; None where it has an error."""
Launch = Callable[[Any], Callable[[], list[Any]]]
"""``Scorer.launch``, or what begins a batch otherwise."""

SMALL = 100_000_000
"""Parameters of a backbone whose passes are too short to be worth splitting over threads; Stable
Diffusion 1.5 has a billion."""
SHORT = 64
"""Bytes of a prompt that every text encoder reads whole: a token has one or more, and their limits are
77 tokens and more."""
MOST_READ, MOST_WORDS = 8192, 512
"""Characters and words of a prompt beyond which no text encoder with a limit reads."""
MAX_AT_ONCE = 16
"""Batches at the same time: Python's lock keeps more threads from being of use."""


_SAMPLE: dict[str, type] = {
    "row": int, "image": str, "file": str, "prompt": str, "prompt_source": str, "prompt_read": str,
}  # fmt: skip
_DOUBT: dict[str, type] = {"doubtful": str, "unfamiliar": str}
_RUN: dict[str, type] = {"seed": int, "model": str, "error": str}
ANSWER = ("scores", "mos", "prompt", "prompt_source", "prompt_read", *_DOUBT, *_RUN)
"""What a service says of an image: a row with its scores nested by task, see ``answer_of``."""


def score_columns(config: ModelConfig) -> dict[str, type]:
    """What is said of a score, in order: name -> type. The tasks are in [0, 1], ``TASK_mos`` on the
    scale of the ratings; ``doubtful`` (tasks) and ``unfamiliar`` are names joined by "+"."""
    tasks = config.task_names
    return dict.fromkeys((*tasks, *(f"{task}_mos" for task in tasks)), float) | _DOUBT


def row_columns(config: ModelConfig) -> dict[str, type]:
    """Columns of every output, in order: name -> type. A cell with nothing to say is empty (None).

    ``image`` is the name that the user gave, ``file`` where the image lies from the output's folder;
    ``prompt_source`` says where and in which format the prompt was found, ``prompt_read`` how much of it
    the model reads where that is not all ("58 of 93 words").
    """
    return _SAMPLE | score_columns(config) | _RUN


def answer_of(row: Row, tasks: Sequence[str]) -> dict[str, Any]:
    """A row as ``ANSWER`` names it: both kinds of scores by task, None for an image that has none."""
    scores = {task: row[task] for task in tasks}
    mos = {task: row[f"{task}_mos"] for task in tasks}
    scored = row["error"] is None
    nested = {"scores": scores if scored else None, "mos": mos if scored else None}
    return {name: nested[name] if name in nested else row[name] for name in ANSWER}


def notice_of(config: ModelConfig) -> str:
    """What a reader of a model's scores must know: its notice, else which it does not stand behind."""
    return config.notice or (doubt_sentence(config.doubtful) if config.doubtful else "")


def doubt_sentence(tasks: Sequence[str]) -> str:
    """What a reader must know of scores that their model itself does not stand behind.

    >>> doubt_sentence(["alignment"])
    'the model that made these scores does not stand behind its alignment'
    """
    return f"the model that made these scores does not stand behind its {' and '.join(tasks)}"


def score_row(scorer: Scorer, sample: Sample, score: Score | DiffAGIQAError | None) -> Row:
    """The row of a sample with its prompt, and its score or the reason why it has none.

    A score that is about the prompt is empty where there is none.
    """
    config = scorer.config
    row: Row = dict.fromkeys(row_columns(config))
    row |= {
        "row": sample.row,
        "image": sample.image,
        "file": None if sample.data is not None else sample.location or sample.image,
        "prompt": sample.prompt,
        "prompt_source": sample.prompt_source,
        "seed": scorer.seed,
        "model": scorer.fingerprint,
        "error": str(score) if isinstance(score, DiffAGIQAError) else sample.error,
    }
    if score is None or isinstance(score, DiffAGIQAError):
        return row
    known = [t for t in config.tasks if sample.prompt or t.name not in config.about_prompt]
    if not known:
        return row | {"error": "it has no prompt, and every score of this model is about one."}
    if not all(math.isfinite(score[task.name]) for task in known):
        return row | {"error": "its score is not a finite number; score it with --dtype float32."}
    row["prompt_read"] = words_read(scorer, sample.prompt or "")
    for task in known:
        row |= {task.name: score[task.name], f"{task.name}_mos": score.mos[task.name]}
    doubtful = [task.name for task in known if task.name in config.doubtful]
    return row | {"doubtful": "+".join(doubtful) or None, "unfamiliar": score.unfamiliar or None}


def words_read(scorer: Scorer, prompt: str) -> str | None:
    """How much of a prompt the model reads, "58 of 93 words"; None for all, or where it is not known."""
    if len(prompt.encode()) < SHORT:
        return None
    words = [match.span() for match in re.finditer(r"\S+", prompt)]
    near = [span for span in words[:MOST_WORDS] if span[1] <= MOST_READ]
    positions = scorer.backbone.word_positions(prompt[:MOST_READ], near, scorer.config.long_prompts)
    read = max((number for number, places in enumerate(positions, start=1) if places), default=0)
    return f"{read} of {len(words)} words" if 0 < read < len(near) else None


def seen_from(file: str | None, folder: str) -> str | None:
    """Where a file lies from a folder, with forward slashes; in a store, or from there, as it stands.

    >>> seen_from("renders/a.png", "renders/scores"), seen_from("s3://bucket/a.png", "scores")
    ('../a.png', 's3://bucket/a.png')
    """
    try:
        if file and local_path(folder) is not None and (path := local_path(file)) is not None:
            return Path(os.path.relpath(path, folder)).as_posix()
    except (ValueError, DiffAGIQAError):  # another drive; no address that can be opened
        pass
    return file


def decode_sample(scorer: Scorer, sample: Sample, fallback: str | None = "") -> Decoded:
    """Read and decode one sample, and find its prompt; every fault becomes its ``error``.

    ``fallback`` is the prompt of an image that comes without one; None makes that an error.
    """
    prompt, source = sample.prompt, sample.prompt_source
    tensor = error = None
    try:
        if sample.error:
            raise ImageError(sample.error)
        data = read_image_bytes(sample.source, scorer.limits)
        if prompt is None:
            beside = None if sample.data is not None else sample.location or sample.image
            prompt, source = find_prompt(beside, data, limits=scorer.limits)
        if prompt is None and fallback is None:
            raise PromptError(
                "no prompt was given, and none is beside the image or in its metadata."
            )
        if prompt is None:
            prompt, source = fallback, "argument" if fallback else "none"
        tensor = scorer.prepare(data)
    except DiffAGIQAError as fault:
        # Bytes have no name of their own; the row's image column gives it.
        error = str(fault).replace("the image data", "the file")
    done = replace(sample, prompt=prompt, prompt_source=source, error=error)
    return (done if sample.data is None else replace(done, data=b"")), tensor


class PendingRows:
    """Rows of one chunk, whose scores are on their way, in batches that depend on the chunk alone.

    A score's last bits may depend on the images in its batch. Since no batch leaves its chunk, a
    resumed, sharded or distributed run computes the very numbers of an uninterrupted one.
    """

    def __init__(self, scorer: Scorer, chunk: Sequence[Decoded], launch: Launch) -> None:
        self.scorer = scorer
        self.samples = [sample for sample, _ in chunk]
        good = [(sample, tensor) for sample, tensor in chunk if tensor is not None]
        if scorer.prompts.first:
            scorer.prompts.ahead(sample.prompt or "" for sample, _ in good)
        self._batches: list[tuple[list[int], Callable[[], list[Any]]]] = []
        for start in range(0, len(good), scorer.batch_size):
            batch = good[start : start + scorer.batch_size]
            pairs = [(tensor, sample.prompt or "") for sample, tensor in batch]
            self._batches.append(([sample.row for sample, _ in batch], launch(pairs)))

    def result(self) -> list[Row]:
        """Wait, then give the rows in the order of the samples."""
        scores: dict[int, Any] = {}
        for numbers, pending in self._batches:
            scores |= zip(numbers, pending(), strict=True)
        return [score_row(self.scorer, s, scores.get(s.row)) for s in self.samples]


def score_chunks(
    scorer: Scorer,
    chunks: Iterable[Sequence[Sample]],
    *,
    chunk_rows: int,
    threads: int | None = None,
    fallback: str | None = "",
) -> Iterator[list[Row]]:
    """The rows of every chunk, in order, while the next one is decoded on ``threads``.

    Args:
        scorer: the model; a small one on a CPU scores several batches at once.
        chunks: samples, whose prompts are clean already.
        chunk_rows: the most samples in a chunk.
        threads: that decode; default: one per CPU, at most 8.
        fallback: prompt of an image that comes without one; None: that is an error.
    """
    apart = scorer.prompts.first  # then a chunk's images are done before the next one's prompts
    at_once = 1 if apart else batches_at_once(scorer)
    ahead = scorer.ahead if at_once == 1 else -(-at_once * scorer.batch_size // chunk_rows)
    pool = ThreadPoolExecutor(threads or min(8, os.cpu_count() or 1), "decode")
    decode = partial(decode_sample, scorer, fallback=fallback)
    begun = (partial(_results, [pool.submit(decode, s) for s in chunk]) for chunk in chunks)
    try:
        with side_by_side(scorer, at_once) as launch:
            decoded = in_order(begun, ahead=1)
            pending = (PendingRows(scorer, chunk, launch).result for chunk in decoded)
            yield from in_order(pending, 0 if apart else ahead)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _results(futures: Sequence[Future[Decoded]]) -> list[Decoded]:
    return [future.result() for future in futures]


def chunked(samples: Iterable[Sample], rows: int) -> Iterator[list[Sample]]:
    """Successive samples, ``rows`` at a time.

    >>> [len(chunk) for chunk in chunked([Sample("a.png", "", "none", 0)] * 5, 2)]
    [2, 2, 1]
    """
    remaining = iter(samples)
    while chunk := list(islice(remaining, rows)):
        yield chunk


def batches_at_once(scorer: Scorer) -> int:
    """How many batches are best scored at the same time, on a thread each.

    On a CPU a small network gains little from several threads within a pass, and they wait for each
    other wherever a decoder takes a core.
    """
    import torch

    alone = scorer.device.type != "cpu" or weight_count(scorer) > SMALL
    return 1 if alone else min(MAX_AT_ONCE, torch.get_num_threads())


def weight_count(scorer: Scorer) -> int:
    """Weights of the backbone."""
    return sum(parameter.numel() for parameter in scorer.backbone.parameters())


@contextmanager
def side_by_side(scorer: Scorer, count: int) -> Iterator[Launch]:
    """A ``Scorer.launch`` that scores ``count`` batches at once on a CPU, every one on one thread.

    PyTorch's number of threads is the process's, so other work in it has one, too, meanwhile.
    """
    import torch

    if count == 1:
        yield scorer.launch
        return
    one_thread = partial(torch.set_num_threads, 1)  # in every thread: it takes the process's late
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(count, thread_name_prefix="score", initializer=one_thread)
    one_thread()
    try:
        yield lambda batch: pool.submit(scorer.score_prepared, batch).result
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)
