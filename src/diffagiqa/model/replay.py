"""A pass over one picture as a CUDA graph: its kernels take less time than starting them one by one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from diffagiqa.model.backbone import Prompts
from diffagiqa.model.scoring import Judgement

Judge = Callable[[Tensor, Prompts], Judgement]


@dataclass
class _Recorded:
    graph: torch.cuda.CUDAGraph
    images: Tensor
    prompts: Prompts
    judged: Judgement


class Replays:
    """``judge``, recorded the second time that it is asked of inputs of one shape, then replayed.

    The same kernels in the same order, so the same scores. What cannot be recorded goes on as it was.
    Without gradients only, and on CUDA; safe to call from several threads.
    """

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._lock = threading.Lock()
        self._recorded: dict[tuple[int, ...], _Recorded | None] = {}
        self._seen: set[tuple[int, ...]] = set()

    def __call__(self, images: Tensor, prompts: Prompts) -> Judgement:
        """(B, 3, S, S) on the device, and B prompts -> their scores."""
        shape = (*images.shape, *prompts.text.shape)
        with self._lock:
            if shape not in self._seen:  # compiles, allocates, picks algorithms: not to be recorded
                self._seen.add(shape)
                return self._judge(images, prompts)
            if shape not in self._recorded:
                self._recorded[shape] = self._record(images, prompts)
            known = self._recorded[shape]
            if known is None:
                return self._judge(images, prompts)
            known.images.copy_(images)
            known.prompts.text.copy_(prompts.text)
            known.prompts.words.copy_(prompts.words)
            known.graph.replay()
            scores = {task: value.clone() for task, value in known.judged.scores.items()}
            distance = known.judged.distance
            return Judgement(scores, None if distance is None else distance.clone())

    def _record(self, images: Tensor, prompts: Prompts) -> _Recorded | None:
        graph = torch.cuda.CUDAGraph()
        given = images.clone(), Prompts(prompts.text.clone(), prompts.words.clone())
        torch.cuda.synchronize(images.device)
        try:
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                judged = self._judge(*given)
        except RuntimeError:  # a model that waits for the device on its way, or no memory left
            return None
        return _Recorded(graph, *given, judged)
