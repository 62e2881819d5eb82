"""What goes to the device and what comes back: pictures, prompts once each, scores.

On a GPU nothing here waits for the work that is queued, but ``Queued.values``.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from diffagiqa.model.backbone import Prompts
from diffagiqa.model.scoring import Judgement


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
