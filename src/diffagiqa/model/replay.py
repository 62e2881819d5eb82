"""A pass over one picture as a CUDA graph: its kernels take less time than starting them one by one."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffagiqa.model.backbone import Prompts
from diffagiqa.model.scoring import Judgement

Judge = Callable[[Tensor, Prompts], Judgement]
MOST = 8
"""Shapes that are kept recorded: pictures of one size, prompts of up to so many lengths."""
_ONE_AT_A_TIME = threading.Lock()
"""PyTorch records one graph at a time in a process."""
_log = logging.getLogger(__name__)


@dataclass
class _Recorded:
    graph: torch.cuda.CUDAGraph
    images: Tensor
    prompts: Prompts
    judged: Judgement

    def __call__(self, images: Tensor, prompts: Prompts) -> Judgement:
        with torch.inference_mode():  # as they were recorded
            self.images.copy_(images)
            self.prompts.text.copy_(prompts.text)
            self.prompts.words.copy_(prompts.words)
            self.graph.replay()
        scores = {task: value.clone() for task, value in self.judged.scores.items()}
        distance = self.judged.distance
        return Judgement(scores, None if distance is None else distance.clone())


class Replays:
    """``judge``, recorded the second time that it is asked of inputs of one shape, then replayed.

    The same kernels in the same order, so the same scores. What cannot be recorded goes on as it was.
    Without gradients only, on the current CUDA device, with weights that stay in their places; safe to
    call from several threads that share a CUDA stream, as threads do by default.
    """

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._lock = threading.Lock()
        self._seen: set[tuple[int, ...]] = set()
        self._recorded: OrderedDict[tuple[int, ...], _Recorded | None] = OrderedDict()
        self._memory: Any = None

    def __call__(self, images: Tensor, prompts: Prompts) -> Judgement:
        """(B, 3, S, S) on the device, and B prompts -> their scores."""
        shape = (*images.shape, *prompts.text.shape)
        with self._lock:
            if shape not in self._seen:  # compiles, allocates, picks algorithms: not to be recorded
                self._seen.add(shape)
                return self._judge(images, prompts)
            if shape not in self._recorded:
                self._recorded[shape] = self._record(images, prompts)
            self._recorded.move_to_end(shape)
            while len(self._recorded) > MOST:
                self._recorded.popitem(last=False)
            return (self._recorded[shape] or self._judge)(images, prompts)

    def forget(self) -> None:
        """Drop all recordings, and with them the memory that they hold."""
        with self._lock:
            self._recorded.clear()
            self._memory = None

    def _record(self, images: Tensor, prompts: Prompts) -> _Recorded | None:
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        try:
            with _ONE_AT_A_TIME, torch.inference_mode():
                # All share their memory: none runs beside another, and what they give is copied at once.
                self._memory = self._memory or torch.cuda.graph_pool_handle()
                given = images.clone(), Prompts(prompts.text.clone(), prompts.words.clone())
                torch.cuda.synchronize()
                with torch.cuda.graph(graph, self._memory, capture_error_mode="thread_local"):
                    judged = self._judge(*given)
        except (
            RuntimeError
        ) as error:  # a model that waits for the device on its way, or no memory left
            _log.info("a single picture's pass cannot be recorded: %s", error)
            return None
        finally:
            torch.cuda.set_stream(stream)  # a recording that fails leaves its own one behind
        return _Recorded(graph, *given, judged)
