"""The forward pass of one image as a CUDA graph: its kernels take less time than their launches."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffagiqa.backbones.base import Prompts
from diffagiqa.model.scoring import ModelOutput

Forward = Callable[[Tensor, Prompts], ModelOutput]
MAX_GRAPHS = 8
"""Shapes that are kept: images have one size, prompts may have several lengths."""
_CAPTURE_LOCK = threading.Lock()
"""PyTorch captures one graph at a time in a process."""
_log = logging.getLogger(__name__)


@dataclass
class _Captured:
    graph: torch.cuda.CUDAGraph
    images: Tensor
    prompts: Prompts
    output: ModelOutput

    def __call__(self, images: Tensor, prompts: Prompts) -> ModelOutput:
        with torch.inference_mode():  # as they were captured
            self.images.copy_(images)
            self.prompts.text.copy_(prompts.text)
            self.prompts.words.copy_(prompts.words)
            self.graph.replay()
        scores = {task: value.clone() for task, value in self.output.scores.items()}
        distance = self.output.distance
        return ModelOutput(scores, None if distance is None else distance.clone())


class CudaGraphs:
    """``forward``, captured at the second call with inputs of one shape, and replayed from then on.

    The same kernels in the same order, so the same scores. What cannot be captured is called as before.
    Without gradients only, on the current CUDA device, with weights that stay at their addresses; safe to
    call from several threads that share a CUDA stream, as threads do by default.
    """

    def __init__(self, forward: Forward) -> None:
        self._forward = forward
        self._lock = threading.Lock()
        self._seen: set[tuple[int, ...]] = set()
        self._captured: OrderedDict[tuple[int, ...], _Captured | None] = OrderedDict()
        self._pool: Any = None

    def __call__(self, images: Tensor, prompts: Prompts) -> ModelOutput:
        """(B, 3, S, S) on the device, and B prompts -> their scores."""
        shape = (*images.shape, *prompts.text.shape)
        with self._lock:
            if shape not in self._seen:  # compiles, allocates, picks algorithms: cannot be captured
                self._seen.add(shape)
                return self._forward(images, prompts)
            if shape not in self._captured:
                self._captured[shape] = self._capture(images, prompts)
            self._captured.move_to_end(shape)
            while len(self._captured) > MAX_GRAPHS:
                self._captured.popitem(last=False)
            return (self._captured[shape] or self._forward)(images, prompts)

    def clear(self) -> None:
        """Drop all graphs, and with them the memory that they hold."""
        with self._lock:
            self._captured.clear()
            self._pool = None

    def _capture(self, images: Tensor, prompts: Prompts) -> _Captured | None:
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        try:
            with _CAPTURE_LOCK, torch.inference_mode():
                # All share one pool: no two run at once, and what they return is copied at once.
                self._pool = self._pool or torch.cuda.graph_pool_handle()
                given = images.clone(), Prompts(prompts.text.clone(), prompts.words.clone())
                torch.cuda.synchronize()
                with torch.cuda.graph(graph, self._pool, capture_error_mode="thread_local"):
                    output = self._forward(*given)
        except RuntimeError as error:  # a model that waits for the device, or no memory left
            _log.info("the pass of a single image cannot be captured: %s", error)
            return None
        finally:
            torch.cuda.set_stream(stream)  # a capture that fails leaves its own one behind
        return _Captured(graph, *given, output)
