"""Images of many requests, scored together by one model."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from diffagiqa.data.samples import Sample
from diffagiqa.jobs.model_spec import ModelSpec
from diffagiqa.rows import PendingRows, answer_of, decode_sample

Sent = tuple[bytes, "str | None"]
"""The bytes of an image file, and its prompt where one was given."""


class BatchScorer:
    """Images of many requests -> what is said of each, in one forward pass; blocking."""

    def __init__(self, spec: ModelSpec) -> None:
        self.scorer = spec.load()
        self.pool = ThreadPoolExecutor(4)

    def __call__(self, images: list[Sent]) -> list[dict[str, Any]]:
        """``rows.ANSWER`` for every image, with ``error`` where it cannot be scored."""
        samples = [
            Sample("", prompt, "argument" if prompt is not None else "none", row, data=data)
            for row, (data, prompt) in enumerate(images)
        ]
        decoded = list(self.pool.map(partial(decode_sample, self.scorer), samples))
        rows = PendingRows(self.scorer, decoded, self.scorer.launch).result()
        return [answer_of(row, self.scorer.tasks) for row in rows]


class LocalBackend:
    """The backend of one process: images wait in one queue and are scored in batches on a thread."""

    def __init__(self, scorer: BatchScorer, batch_size: int, batch_wait: float) -> None:
        self.scorer = scorer
        self.batch_size = batch_size
        self.batch_wait = batch_wait
        self._waiting: list[tuple[Sent, asyncio.Future[Mapping[str, Any]]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def score(self, data: bytes, prompt: str | None) -> Mapping[str, Any]:
        """Wait for the batch that this image goes with."""
        answer: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append(((data, prompt), answer))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await answer

    async def ready(self) -> bool:
        """The model was loaded before the first request could come."""
        return True

    async def _work(self) -> None:
        """Score until nothing waits."""
        while self._waiting:
            if len(self._waiting) < self.batch_size:
                await asyncio.sleep(self.batch_wait)
            batch = self._waiting[: self.batch_size]
            del self._waiting[: self.batch_size]
            batch = [(sent, answer) for sent, answer in batch if not answer.done()]
            if not batch:  # all were given up
                continue
            try:
                answers = await asyncio.to_thread(self.scorer, [sent for sent, _ in batch])
            except Exception as fault:  # of the machine, such as its memory: each request says so
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(fault)
                continue
            for (_, answer), said in zip(batch, answers, strict=True):
                if not answer.done():
                    answer.set_result(said)
