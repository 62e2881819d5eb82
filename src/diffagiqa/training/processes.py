"""One or several processes on one batch, with the result of one process.

``accelerate launch`` starts the processes and chooses their devices; each computes its share of a
batch. Three things then make the result that of a single process: losses see the scores of the whole
batch, BatchNorm sees its statistics, and gradients are summed once per step.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from diffagiqa.device import choose_device
from diffagiqa.errors import MissingExtraError


class Processes:
    """Which of how many processes this is, its device, and the exchanges between them."""

    def __init__(self, device: str | torch.device | None = None) -> None:
        self.rank, self.count = 0, 1
        if "WORLD_SIZE" in os.environ or "ACCELERATE_MIXED_PRECISION" in os.environ:
            try:
                from accelerate import PartialState
            except ImportError:
                raise MissingExtraError("accelerate", "train") from None
            cpu = choose_device(device).type == "cpu"  # said, or no GPU is there
            state = PartialState(cpu=cpu or os.environ.get("ACCELERATE_USE_CPU") == "true")
            self.rank, self.count = state.process_index, state.num_processes
            # "cpu:0" is no device to safetensors.
            self.device: torch.device = torch.device("cpu") if cpu else state.device
        else:
            self.device = choose_device(device)

    @property
    def main(self) -> bool:
        return self.rank == 0

    def share(self, total: int) -> tuple[int, int]:
        """First and last + 1 of this process's rows of ``total``; ``total`` is a multiple of count."""
        size = total // self.count
        return self.rank * size, (self.rank + 1) * size

    def gather(self, local: Tensor) -> Tensor:
        """(b, ...) of each process -> (count * b, ...), in order; only the own part has a gradient.

        Every process then computes the same loss and its own part of the gradient; their sum is the
        gradient of the whole (``sum_gradients``).
        """
        if self.count == 1:
            return local
        parts = [torch.empty_like(local) for _ in range(self.count)]
        dist.all_gather(parts, local.detach().contiguous())
        parts[self.rank] = local
        return torch.cat(parts)

    def gather_objects(self, value: Any) -> list[Any]:
        """A value of each process, pickled, in order of rank."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value)
        return values

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum the gradients of all processes, in one exchange."""
        if self.count == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        sizes = [gradient.numel() for gradient in gradients]
        for gradient, part in zip(gradients, flat.split(sizes), strict=True):
            gradient.copy_(part.view_as(gradient))

    def barrier(self) -> None:
        if self.count > 1:
            dist.barrier()


class SharedBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm over the batch of all processes, on any device (``nn.SyncBatchNorm`` is CUDA only).

    Mean and variance are exchanged with their gradients, in two passes and float32, so the result is
    that of one process to rounding.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        if not self.training:
            return super().forward(inputs)
        values = inputs.float()
        count = dist.get_world_size() * inputs.numel() // inputs.shape[1]
        mean = _sum_over_processes(values.sum((0, 2, 3))) / count
        centred = values - mean[:, None, None]
        variance = _sum_over_processes(centred.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr,operator]
            rate = self.momentum if self.momentum is not None else 0.1
            self.running_mean.lerp_(mean, rate)  # type: ignore[union-attr]
            self.running_var.lerp_(variance * count / max(count - 1, 1), rate)  # type: ignore[union-attr]
        out = centred * (variance + self.eps).rsqrt()[:, None, None]
        if self.affine:
            out = out * self.weight[:, None, None] + self.bias[:, None, None]
        return out.to(inputs.dtype)


def share_batch_norm(model: nn.Module) -> None:
    """Let every BatchNorm of the model see the batches of all processes; weights and names stay."""
    for part in model.modules():
        if type(part) is nn.BatchNorm2d:
            part.__class__ = SharedBatchNorm2d


def _sum_over_processes(values: Tensor) -> Tensor:
    from torch.distributed.nn.functional import all_reduce

    return all_reduce(values)  # type: ignore[no-any-return,no-untyped-call]


def interleave(parts: Sequence[Sequence[Any]], total: int) -> list[Any]:
    """Undo ``rows[rank::count]``: the parts of all ranks back to one list.

    >>> interleave([[0, 2, 4], [1, 3]], 5)
    [0, 1, 2, 3, 4]
    """
    return [parts[i % len(parts)][i // len(parts)] for i in range(total)]
