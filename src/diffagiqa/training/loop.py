"""The training loop: read it from top to bottom.

Everything random is a function of (seed, epoch) or (seed, step), so a run that was killed and resumed
ends bit for bit where an undisturbed one ends (on a CPU), and several processes end where one does.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffagiqa.data.wording import counted
from diffagiqa.errors import TrainingError
from diffagiqa.evaluation.correlations import plcc, srcc
from diffagiqa.model.scoring import DiffAGIQA
from diffagiqa.training.config import TrainingConfig
from diffagiqa.training.data import Rows, data_order
from diffagiqa.training.determinism import Step, seed_dropout, set_step
from diffagiqa.training.losses import objective
from diffagiqa.training.naming import Naming
from diffagiqa.training.optimiser import (
    EMA,
    lr_factor,
    make_optimiser,
    set_lr,
    trained_parameters,
)
from diffagiqa.training.ordering import Ordering
from diffagiqa.training.processes import Processes, interleave, share_batch_norm
from diffagiqa.training.run_folder import Parts, RunFolder
from diffagiqa.training.sources import Source

LOG_EVERY = 60.0
"""Seconds between two lines about an epoch."""


@dataclass
class Progress:
    """Where a run stands; saved with every checkpoint."""

    epoch: int = 0
    batch: int = 0
    """Batches done in this epoch."""
    step: int = 0
    loss_sum: float = 0.0
    best: float = -math.inf
    best_epoch: int = -1
    waited: int = 0
    """Epochs since the best one."""


@dataclass(frozen=True)
class Fitted:
    """The best model of a run, its validation SRCC (mean over tasks), and one mapping per epoch."""

    model: DiffAGIQA
    best_srcc: float
    best_epoch: int
    history: list[dict[str, float]]
    test_scores: dict[str, list[float]] = field(default_factory=dict)
    """Scores in [0, 1] of ``split["test"]`` by the best model, by task; empty without a test part."""
    test_rows: list[int] = field(default_factory=list)
    """Those rows; pictures that could not be read are not among them."""


def fit(
    model: DiffAGIQA, source: Source, rows: Rows, split: Parts, config: TrainingConfig, *,
    processes: Processes | None = None, run: RunFolder | None = None, resume: bool = False,
    log: Callable[[str], None] = print,
) -> Fitted:  # fmt: skip
    """Train ``model`` on ``split["train"]``, stop early by the SRCC on ``split["validation"]``.

    ``source`` turns rows into scores; ``run`` is where checkpoints and metrics go (None keeps all in
    memory). Raises ``TrainingError`` on a loss that is not finite, a full disk or an unreadable
    picture; the checkpoints written before stay whole.
    """
    processes = processes or Processes()
    model = model.to(processes.device)
    seed_dropout(model)
    if processes.count > 1:
        share_batch_norm(model)
    ema = EMA(model, config.ema)
    naming = None
    if config.naming_weight:
        naming = Naming(model, rows, split["train"], config.seed).to(processes.device)
    loss_of = MicroBatchLoss(model, source, rows, config, processes, naming)
    optimiser = make_optimiser(model, config, naming)
    parameters = trained_parameters(model) + (trained_parameters(naming) if naming else [])
    progress = Progress()
    history: list[dict[str, float]] = []
    best: dict[str, Tensor] | None = None
    if resume and run is not None:
        progress, history = _restore(run.load(), model, ema, optimiser, naming)

    batch_size = _effective_batch_size(config, len(split["train"]), processes)
    batches = len(split["train"]) // batch_size  # the rest of an epoch waits: its order changes
    micro_batch = batch_size // config.accumulation
    first, last = processes.share(micro_batch)
    total_steps = config.epochs * batches
    ranked = _can_be_ranked(rows, split["validation"])
    if split["validation"] and not ranked:
        log(
            "validation: fewer than three rows or equal labels have no order, so the last epoch counts; "
            "give it more rows"
        )

    def checkpoint() -> None:
        if run is not None and processes.main:
            run.save(_state(progress, history, model, ema, optimiser, naming), ema.model)

    for epoch in range(progress.epoch, config.epochs):
        if _finished(progress, config):
            break
        started = logged = time.perf_counter()
        order = data_order(config.seed, epoch, split["train"])
        model.train()
        for batch in range(progress.batch, batches):
            set_lr(optimiser, lr_factor(progress.step, total_steps, config.warmup))
            losses: list[tuple[list[int], Tensor]] = []
            for part in range(config.accumulation):
                start = batch * batch_size + part * micro_batch
                stop = start + micro_batch
                chosen = order[start:stop]
                source.prefetch(order[stop + first : stop + last])
                number = progress.step * config.accumulation + part
                loss = loss_of(chosen, Step(config.seed, number, micro_batch, first, last))
                if loss.requires_grad:  # a micro-batch may hold no label at all
                    (loss / config.accumulation).backward()
                losses.append((chosen, loss.detach()))
            processes.sum_gradients(parameters)
            norm = torch.nn.utils.clip_grad_norm_(parameters, config.clip_norm)
            values, length = _to_floats([loss for _, loss in losses], norm)
            for (chosen, _), value in zip(losses, values, strict=True):
                _check_finite(value, "loss", progress, chosen, rows)
                progress.loss_sum += value / config.accumulation
            _check_finite(length, "gradient", progress, chosen, rows)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            progress.step += 1
            progress.batch = batch + 1
            ema.update(model, progress.step)
            if config.checkpoint_every and progress.step % config.checkpoint_every == 0:
                checkpoint()
            if time.perf_counter() - logged > LOG_EVERY:
                logged = time.perf_counter()
                mean = progress.loss_sum / progress.batch
                log(f"epoch {epoch:3d}  step {progress.batch} of {batches}  loss {mean:.4f}")

        scored = predict(ema.model, source, split["validation"], processes)
        row = {
            "epoch": float(epoch),
            "loss": progress.loss_sum / batches,
            "lr": optimiser.param_groups[0]["lr"],
            **correlations(scored, rows, split["validation"]),
            "seconds": time.perf_counter() - started,
        }
        history.append(row)
        progress.epoch, progress.batch, progress.loss_sum = epoch + 1, 0, 0.0
        progress.waited += 1
        if row["srcc"] > progress.best or not ranked:  # then the last is the best
            progress.best, progress.best_epoch, progress.waited = row["srcc"], epoch, 0
            if run is None:
                best = _copy(ema.model)
            elif processes.main:
                run.save_best(ema.model)
        checkpoint()
        if run is not None and processes.main:
            run.log(history)
        log(_line(row, progress))

    if naming:
        naming.remove()
    if run is not None:
        if processes.main:
            run.draw(history)
            run.close()
        processes.barrier()
        from diffagiqa.pretrained import load_model

        return Fitted(load_model(run.best), progress.best, progress.best_epoch, history)
    model.load_state_dict(best or ema.model.state_dict())
    return Fitted(model.cpu().eval(), progress.best, progress.best_epoch, history)


class MicroBatchLoss:
    """The loss of one micro-batch, over the scores of all processes."""

    def __init__(
        self, model: DiffAGIQA, source: Source, rows: Rows, config: TrainingConfig,
        processes: Processes, naming: Naming | None,
    ) -> None:  # fmt: skip
        self.model = model
        self.source = source
        self.rows = rows
        self.config = config
        self.processes = processes
        self.naming = naming
        self.ordering = Ordering(rows) if rows.damages and config.damaged_weight else None

    def __call__(self, chosen: Sequence[int], step: Step) -> Tensor:
        """``chosen``: rows of the micro-batch, of which this process computes those of ``step``."""
        model, rows, config, gather = self.model, self.rows, self.config, self.processes.gather
        set_step(model, step)
        scores = self.source.scores(model, chosen[step.start : step.stop], step)
        scores = {task: gather(value.float()) for task, value in scores.items()}
        labels, sources = rows.labels[chosen], rows.sources[chosen]
        loss = objective(scores, labels, sources, rows.task_names, config)
        if self.naming:
            logits = [gather(own) for own in self.naming.logits.values()]
            loss = loss + config.naming_weight * self.naming.loss(chosen, logits)
        if self.ordering:
            own = slice(step.start, step.stop)
            ordered = self.ordering.loss(model, self.source, chosen, own, self.processes)
            loss = loss + config.damaged_weight * ordered
        return loss


@torch.no_grad()
def predict(
    model: DiffAGIQA, source: Source, chosen: Sequence[int], processes: Processes | None = None,
    batch_size: int = 32,
) -> dict[str, Tensor]:  # fmt: skip
    """Scores of some rows by task, (len(chosen),) in [0, 1] on the CPU, with the fixed noise."""
    processes = processes or Processes()
    training = model.training
    model.eval()
    own = chosen[processes.rank :: processes.count]
    parts: list[dict[str, Tensor]] = []
    for start in range(0, len(own), batch_size):
        source.prefetch(own[start : start + 2 * batch_size])
        scores = source.scores(model, own[start : start + batch_size], None)
        parts.append({task: value.float().cpu() for task, value in scores.items()})
    model.train(training)
    tasks = model.config.task_names
    local = {
        task: torch.cat([part[task] for part in parts]).tolist() if parts else [] for task in tasks
    }
    everyone = processes.gather_objects(local)
    return {
        task: torch.tensor(interleave([values[task] for values in everyone], len(chosen)))
        for task in tasks
    }


def correlations(
    scores: Mapping[str, Tensor], rows: Rows, chosen: Sequence[int]
) -> dict[str, float]:
    """SRCC and PLCC by task, within each database and averaged by its rows; ``srcc`` is their mean.

    A constant score has no order, nor have one or two rows; they count as 0.
    """
    labels, sources = rows.labels[list(chosen)].numpy(), rows.sources[list(chosen)].numpy()
    found: dict[str, float] = {}
    for column, task in enumerate(rows.task_names):
        x, y = scores[task].numpy(), labels[:, column]
        known = ~np.isnan(y)
        sums = np.zeros(2)
        for source in np.unique(sources[known]):
            own = known & (sources == source)
            sums += own.sum() * np.nan_to_num([srcc(x[own], y[own]), plcc(x[own], y[own])])
        if known.sum() >= 3:
            found[f"{task}_srcc"] = float(sums[0] / known.sum())
            found[f"{task}_plcc"] = float(sums[1] / known.sum())
    each = [value for name, value in found.items() if name.endswith("_srcc")]
    return {**found, "srcc": float(np.mean(each)) if each else 0.0}


def _can_be_ranked(rows: Rows, chosen: Sequence[int]) -> bool:
    """Whether some database has three rows with labels of a task that are not all alike."""
    labels, sources = rows.labels[list(chosen)], rows.sources[list(chosen)]
    for source in sources.unique():
        for column in labels[sources == source].unbind(1):
            known = column[~column.isnan()]
            if len(known) >= 3 and len(known.unique()) > 1:
                return True
    return False


def _finished(progress: Progress, config: TrainingConfig) -> bool:
    return bool(config.patience) and progress.waited >= config.patience


def _effective_batch_size(config: TrainingConfig, rows: int, processes: Processes) -> int:
    """The batch size, a multiple of micro-batches times processes, at most the number of rows."""
    unit = config.accumulation * processes.count
    if config.batch_size % unit:
        raise TrainingError(
            f"batch_size {config.batch_size} is not a multiple of accumulation x processes "
            f"({config.accumulation} x {processes.count}); choose another"
        )
    size = min(config.batch_size, rows // unit * unit)
    if size < 2 * unit:
        raise TrainingError(
            f"{counted(rows, 'row to train on makes', 'rows to train on make')} no batch of "
            "at least two per micro-batch and process; add data or lower accumulation"
        )
    return size


def _to_floats(losses: Sequence[Tensor], norm: Tensor) -> tuple[list[float], float]:
    """Their values, with one wait for the GPU per step."""
    *each, length = torch.stack([*losses, norm.to(losses[0])]).tolist()
    return each, length


def _check_finite(
    value: float, what: str, progress: Progress, chosen: Sequence[int], rows: Rows
) -> None:
    if math.isfinite(value):
        return
    names = ", ".join(rows.samples[row].image for row in chosen[:3])
    raise TrainingError(
        f"the {what} is {value} at step {progress.step} (epoch {progress.epoch}; first pictures "
        f"{names}); the checkpoints written before are whole, so lower lr_heads and lr_prompters, or use "
        "precision float32, and start again with --init FOLDER/best"
    )


def _state(
    progress: Progress, history: list[dict[str, float]], model: DiffAGIQA, ema: EMA,
    optimiser: torch.optim.Optimizer, naming: Naming | None,
) -> dict[str, Any]:  # fmt: skip
    return {
        "progress": dict(progress.__dict__),
        "history": history,
        "model": model.state_dict(),
        "averaged": ema.model.state_dict() if ema.decay else {},
        "optimiser": optimiser.state_dict(),
        "naming": naming.state_dict() if naming else {},
    }


def _restore(
    state: dict[str, Any], model: DiffAGIQA, ema: EMA, optimiser: torch.optim.Optimizer,
    naming: Naming | None,
) -> tuple[Progress, list[dict[str, float]]]:  # fmt: skip
    model.load_state_dict(state["model"])
    if ema.decay:
        ema.model.load_state_dict(state["averaged"])
    optimiser.load_state_dict(state["optimiser"])
    if naming:
        naming.load_state_dict(state["naming"])
    return Progress(**state["progress"]), state["history"]


def _copy(model: DiffAGIQA) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


def _line(row: Mapping[str, float], progress: Progress) -> str:
    parts = [f"epoch {int(row['epoch']):3d}", f"loss {row['loss']:.4f}"]
    tasks = [f"{k[:-5]} {v:.3f}" for k, v in row.items() if k.endswith("_srcc")]
    if tasks:
        parts += ["validation SRCC", *tasks]
    parts.append(f"{row['seconds']:.1f} s")
    if tasks and progress.waited == 0:
        parts.append("best")
    return "  ".join(parts)
