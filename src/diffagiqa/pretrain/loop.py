"""The training loop of both stages: steps until time or steps run out, EMA, checkpoints, a CSV log."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffagiqa.errors import TrainingError
from diffagiqa.training.checkpoint import load_state, save_state

LOG_EVERY = 20
Losses = dict[str, Tensor]
Step = Callable[[int], Losses]
"""Step number -> named losses; "loss" is the one that is minimised."""


@dataclass
class Progress:
    """How far a stage has come."""

    step: int = 0
    seconds: float = 0.0

    def share(self, minutes: float, steps: int) -> float:
        return min(1.0, max(self.seconds / (60.0 * minutes), self.step / steps))


@dataclass
class Stage:
    """One stage: its trained module, its averaged copy, and when to stop."""

    name: str
    module: nn.Module
    folder: Path
    learning_rate: float
    weight_decay: float
    ema: float
    minutes: float
    steps: int
    warmup: int = 100
    checkpoint_minutes: float = 3.0
    marks: tuple[float, ...] = ()
    """Shares of the training at which ``on_mark`` is called."""
    on_mark: Callable[[float], None] | None = None
    progress: Progress = field(default_factory=Progress)

    def run(self, step: Step, resume: bool = False) -> nn.Module:
        """Train, then return the module with its averaged weights in place."""
        self.folder.mkdir(parents=True, exist_ok=True)
        parameters = [p for p in self.module.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(
            parameters, lr=self.learning_rate, betas=(0.9, 0.99), weight_decay=self.weight_decay
        )
        average = [p.detach().clone() for p in parameters]
        if resume and self._checkpoint.exists():
            self._load(optimizer, average)
        rank, count = processes()
        name = f"{self.name}.csv" if rank == 0 else f".{self.name}.{rank}.csv"
        log = _Log(self.folder / name, self.progress.step)
        began, before = time.monotonic(), self.progress.seconds
        saved = began
        while (share := self.progress.share(self.minutes, self.steps)) < 1.0:
            rate = self.learning_rate * schedule(self.progress.step, share, self.warmup)
            for group in optimizer.param_groups:
                group["lr"] = rate
            losses = step(self.progress.step * count + rank)
            optimizer.zero_grad(set_to_none=True)
            losses["loss"].backward()  # type: ignore[no-untyped-call]
            seconds = before + time.monotonic() - began
            shared = share_gradients(parameters, seconds, float(losses["loss"].detach()))
            self.progress.seconds, loss = shared
            # Of all processes, so that all stop alike: the others would wait for one that stopped alone.
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the loss of the {self.name} is not finite at step {self.progress.step}; "
                    "resume from the last checkpoint with a lower learning rate"
                )
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            self.progress.step += 1
            decay = min(self.ema, (1 + self.progress.step) / (10 + self.progress.step))
            torch._foreach_lerp_(average, [p.detach() for p in parameters], 1 - decay)
            if rank == 0:
                log.add(self.progress, losses)
            now = self.progress.share(self.minutes, self.steps)
            if rank == 0 and time.monotonic() - saved > 60 * self.checkpoint_minutes:
                self._save(optimizer, average)
                saved = time.monotonic()
            if self.on_mark is not None and rank == 0:
                for mark in [m for m in self.marks if share < m <= now]:
                    with _swapped(parameters, average):
                        self.on_mark(mark)
        log.close()
        if rank == 0:
            self._save(optimizer, average)
        _assign(parameters, average)
        return self.module

    @property
    def _checkpoint(self) -> Path:
        return self.folder / f"{self.name}.checkpoint.pt"

    def _save(self, optimizer: torch.optim.Optimizer, average: list[Tensor]) -> None:
        state = {
            "module": self.module.state_dict(),
            "optimizer": optimizer.state_dict(),
            "average": average,
            "step": self.progress.step,
            "seconds": self.progress.seconds,
        }
        save_state(state, self._checkpoint)

    def _load(self, optimizer: torch.optim.Optimizer, average: list[Tensor]) -> None:
        state = load_state(self._checkpoint)
        try:
            self.module.load_state_dict(state["module"])
            optimizer.load_state_dict(state["optimizer"])
            _assign(average, state["average"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise TrainingError(
                f"{self._checkpoint} does not fit this configuration ({error}); "
                "resume with the options the run began with"
            ) from None
        self.progress.step, self.progress.seconds = int(state["step"]), float(state["seconds"])


def processes() -> tuple[int, int]:
    """(rank, number of processes); (0, 1) unless torch.distributed was set up."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def share_gradients(
    parameters: list[nn.Parameter], seconds: float, loss: float
) -> tuple[float, float]:
    """Average the gradients over the processes, in place; returns the means of time taken and loss.

    The mean loss is not finite where that of any process is not.
    """
    _, count = processes()
    if count == 1:
        return seconds, loss
    import torch.distributed as dist

    for p in parameters:
        if p.grad is None:
            p.grad = torch.zeros_like(p)
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients] + [gradients[0].new_tensor([seconds, loss])])
    dist.all_reduce(flat)
    flat /= count
    *pieces, means = flat.split([g.numel() for g in gradients] + [2])
    for gradient, piece in zip(gradients, pieces, strict=True):
        gradient.copy_(piece.view_as(gradient))
    return float(means[0]), float(means[1])


def schedule(step: int, share: float, warmup: int) -> float:
    """Learning-rate factor: linear warm-up, flat until 40 % of the run, then a cosine to 2 %.

    >>> schedule(0, 0.0, 10), schedule(100, 0.3, 10), round(schedule(100, 1.0, 10), 3)
    (0.1, 1.0, 0.02)
    """
    rise = min(1.0, (step + 1) / max(1, warmup))
    fall = max(0.0, (share - 0.4) / 0.6)
    return rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * fall)))


def generator_for(seed: int, stage: int, step: int) -> torch.Generator:
    """The random stream of one step: a function of (seed, stage, step), so a resumed run is the same."""
    mixed = (seed * 1_000_003 + stage) * 1_000_000_007 + step
    return torch.Generator().manual_seed(mixed % (2**63))


class Ahead:
    """``make(number)``, with the next step's result made by a thread while this step computes."""

    def __init__(self, make: Callable[[int], Any]) -> None:
        self.make = make
        self.pool = ThreadPoolExecutor(1)
        self.coming: dict[int, Future[Any]] = {}

    def __call__(self, number: int) -> Any:
        stride = processes()[1]  # each process takes every stride-th number
        now = self.coming.pop(number, None) or self.pool.submit(self.make, number)
        self.coming = {number + stride: self.pool.submit(self.make, number + stride)}
        return now.result()


class _Log:
    """Averages of the losses over 20 steps, one CSV row each; a resumed run cuts what it repeats."""

    def __init__(self, file: Path, step: int) -> None:
        self.sums: dict[str, float] = {}
        self.count = 0
        kept = []
        if step and file.exists():
            with file.open(newline="") as old:
                kept = [row for row in csv.DictReader(old) if int(row["step"]) <= step]
        self.file = file.open("w", newline="")
        self.writer: Any = None
        for row in kept:
            self._write(row)

    def add(self, progress: Progress, losses: Losses) -> None:
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value.detach())
        self.count += 1
        if self.count == LOG_EVERY:
            row: dict[str, Any] = {"step": progress.step, "seconds": round(progress.seconds, 1)}
            row |= {name: f"{total / self.count:.5f}" for name, total in self.sums.items()}
            self._write(row)
            self.sums, self.count = {}, 0

    def _write(self, row: dict[str, Any]) -> None:
        if self.writer is None:
            self.writer = csv.DictWriter(self.file, list(row))
            self.writer.writeheader()
        self.writer.writerow(row)
        self.file.flush()

    def close(self) -> None:
        self.file.close()


@contextmanager
def _swapped(parameters: list[nn.Parameter], average: list[Tensor]) -> Iterator[None]:
    """The averaged weights in place of the trained ones, for the length of a block."""
    kept = [p.detach().clone() for p in parameters]
    _assign(parameters, average)
    try:
        yield
    finally:
        _assign(parameters, kept)


def _assign(targets: Any, values: Any) -> None:
    with torch.no_grad():
        for target, value in zip(targets, values, strict=True):
            target.copy_(value)
