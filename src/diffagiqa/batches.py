"""Passes over batches: what goes to the device, what fits there, what comes back.

On a GPU nothing here waits for the work that is queued, but ``Queued.values``.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from diffagiqa.device import (
    current,
    exact_float32,
    own_dtypes,
    ran_out_of_memory,
    release_memory,
)
from diffagiqa.errors import DeviceError
from diffagiqa.model.backbone import Backbone, Prompts
from diffagiqa.model.noise import Noise
from diffagiqa.model.replay import Replays
from diffagiqa.model.scoring import DiffAGIQA, Judgement

FULL_PASSES = 64
"""After so many at the largest size that fitted, one of twice the size is tried again."""


def together(images: Sequence[Tensor], device: torch.device) -> Tensor:
    """Pictures (3, S, S) of the CPU -> (B, 3, S, S) on ``device``, whose work goes on meanwhile."""
    if device.type != "cuda" or images[0].is_cuda:
        return torch.stack(list(images)).to(device)
    pinned = torch.empty((len(images), *images[0].shape), dtype=images[0].dtype, pin_memory=True)
    return torch.stack(list(images), out=pinned).to(device, non_blocking=True)


class LastUsed:
    """The results of a function of texts, one each; the least recently used are dropped first.

    Safe to call from several threads.
    """

    def __init__(self, function: Callable[[Sequence[str]], list[Prompts]], size: int) -> None:
        self._function = function
        self._size = size
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Prompts] = OrderedDict()

    def __call__(self, texts: Sequence[str]) -> list[Prompts]:
        with self._lock:
            return self._look_up(texts)

    def _look_up(self, texts: Sequence[str]) -> list[Prompts]:
        distinct = dict.fromkeys(texts)
        missing = [text for text in distinct if text not in self._kept]
        self._kept |= dict(zip(missing, self._function(missing), strict=True))
        for text in distinct:
            self._kept.move_to_end(text)
        found = [self._kept[text] for text in texts]
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)
        return found


class Queued:
    """Scores of one pass, on their way from the device."""

    def __init__(self, judged: Judgement) -> None:
        self.tasks = list(judged.scores)
        columns = [*judged.scores.values()]
        if judged.distance is not None:
            columns.append(judged.distance)
        self.count = len(columns[0])
        # (B, tasks and distance)
        table = torch.stack([column.float() for column in columns], dim=1)
        self._table = table.to("cpu", non_blocking=table.is_cuda)
        self._there: torch.cuda.Event | None = None
        if table.is_cuda:
            self._there = torch.cuda.Event()
            self._there.record(torch.cuda.current_stream(table.device))

    def values(self) -> Iterator[tuple[dict[str, float], float]]:
        """Scores by task and distance (0 where the model knows none) of every picture; waits."""
        if self._there is not None:
            self._there.synchronize()
        for row in self._table.tolist():
            yield dict(zip(self.tasks, row, strict=False)), (*row, 0.0)[len(self.tasks)]


class Passes:
    """Passes of a model over pictures, on its backbone's device and within the memory there."""

    def __init__(self, model: DiffAGIQA, backbone: Backbone, noises: Sequence[Noise]) -> None:
        self.model = model
        self.backbone = backbone
        self.noises = noises
        self.most = sys.maxsize
        """Pictures per pass: halved where they do not fit, doubled when as many have fitted for long."""
        self._full = 0
        self._alone = Replays(self._pass)

    def judge(self, images: Tensor, prompts: Prompts) -> Judgement:
        """(B, 3, S, S) on the device and B prompts -> their scores; a picture alone by its recording."""
        alone = images.is_cuda and len(images) == 1 and not torch.is_grad_enabled()
        device = self.backbone.device
        # Trainers call their rewards within their own autocast, which is none of a score's business.
        with current(device), exact_float32(device), own_dtypes(device):
            return (self._alone if alone else self._pass)(images, prompts)

    def queue(self, images: Sequence[Tensor], prompts: Sequence[Prompts]) -> Iterator[Queued]:
        """Judge pictures of the CPU in pieces that fit the memory, in their order.

        Raises:
            DeviceError: a single picture does not fit.
        """
        start = 0
        while start < len(images):
            piece = slice(start, min(start + self.most, len(images)))
            judged = self._try(images[piece], prompts[piece])
            count = piece.stop - start
            if judged is None:
                self.most, self._full = count // 2, 0
                continue
            self._full += count == self.most
            if self._full >= FULL_PASSES:  # two threads may have counted at once
                self.most, self._full = 2 * self.most, 0
            yield Queued(judged)
            start = piece.stop

    def _pass(self, images: Tensor, prompts: Prompts) -> Judgement:
        return self.model.judge(images, prompts, self.backbone, self.noises)

    def _try(self, images: Sequence[Tensor], prompts: Sequence[Prompts]) -> Judgement | None:
        """None where several pictures do not fit the memory."""
        device = self.backbone.device
        try:
            return self.judge(together(images, device), Prompts.stack(prompts))
        except (RuntimeError, MemoryError) as error:
            if not ran_out_of_memory(error):
                raise
            if len(images) == 1:
                size = self.model.config.image_size
                raise DeviceError(
                    f"one picture of {size} x {size} does not fit the free memory of {device}; "
                    "free some, or use another --device or --dtype bfloat16"
                ) from None
        self.release()  # here the exception, which holds on to tensors, is gone
        return None

    def release(self) -> None:
        """Give back the memory that is only kept for speed: recordings, and freed blocks."""
        self._alone.forget()
        release_memory(self.backbone.device)
