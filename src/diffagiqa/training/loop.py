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

import torch
from torch import Tensor

from diffagiqa.data.wording import counted
from diffagiqa.errors import TrainingError
from diffagiqa.model.scoring import DiffAGIQA
from diffagiqa.training.config import TrainingConfig
from diffagiqa.training.data import TrainingData, data_order
from diffagiqa.training.determinism import Step, seed_dropout
from diffagiqa.training.generators import GeneratorClassifier, generators_of
from diffagiqa.training.inputs import Inputs
from diffagiqa.training.objective import Objective
from diffagiqa.training.optimiser import (
    averaged,
    make_optimiser,
    make_schedule,
    trained_parameters,
)
from diffagiqa.training.processes import Processes, share_batch_norm
from diffagiqa.training.run_folder import Parts, RunFolder
from diffagiqa.training.validation import agreement, can_be_ranked, predict

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
    """The best model of a run, its validation (see ``validate``), and one mapping per epoch."""

    model: DiffAGIQA
    best_validation: float
    best_epoch: int
    history: list[dict[str, float]]
    test_scores: dict[str, list[float]] = field(default_factory=dict)
    """Scores in [0, 1] of ``split["test"]`` by the best model, by task; empty without a test part."""
    test_rows: list[int] = field(default_factory=list)
    """Those rows; images that could not be read are not among them."""


def fit(
    model: DiffAGIQA, inputs: Inputs, data: TrainingData, split: Parts, config: TrainingConfig, *,
    processes: Processes | None = None, run: RunFolder | None = None, resume: bool = False,
    log: Callable[[str], None] = print,
) -> Fitted:  # fmt: skip
    """Train ``model`` on ``split["train"]``; the epoch that is best on ``split["validation"]`` counts.

    ``inputs`` turns rows into scores; ``run`` is where checkpoints and metrics go (None keeps all in
    memory). Raises ``TrainingError`` on a loss that is not finite, a full disk or an unreadable
    image; the checkpoints written before stay whole.
    """
    trainer = Trainer(model, inputs, data, split, config, processes or Processes(), run, log)
    if resume:
        trainer.restore()
    while not trainer.finished:
        trainer.train_epoch()
        trainer.validate()
    return trainer.fitted()


class Trainer:
    """The state of a run, and what happens in an epoch; ``fit`` says in which order."""

    def __init__(
        self, model: DiffAGIQA, inputs: Inputs, data: TrainingData, split: Parts,
        config: TrainingConfig, processes: Processes, run: RunFolder | None, log: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.inputs, self.data, self.config = inputs, data, config
        self.processes, self.run, self.log = processes, run, log
        self.validation = split["validation"]
        self.train, self.groups = split["train"], data.groups_within(split["train"])
        self.model = model.to(processes.device)
        seed_dropout(self.model)
        if processes.count > 1:
            share_batch_norm(self.model)
        self.average = averaged(self.model, config.ema) if config.ema else None
        self.classifier = self._classifier()
        self.objective = Objective(self.model, inputs, data, config, processes, self.classifier)
        self.optimiser = make_optimiser(self.model, config, self.classifier)
        layers = [self.model, *([self.classifier] if self.classifier else [])]
        self.parameters = [parameter for part in layers for parameter in trained_parameters(part)]

        rows = len(data_order(config.seed, 0, self.train, self.groups))
        self.batch_size = _effective_batch_size(config, rows, processes)
        batches = rows // self.batch_size
        self.passes = max(1, math.ceil(config.min_steps / (config.epochs * batches)))
        """Over the training rows in an epoch; the rest of the last one waits: its order changes."""
        self.batches = self.passes * batches
        self.schedule = make_schedule(self.optimiser, config, config.epochs * self.batches)
        self.progress = Progress()
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Tensor] | None = None
        self.can_choose = can_be_ranked(data, self.validation)
        if self.validation and not self.can_choose:
            log(
                "validation: fewer than three rows or equal labels have no order, so the last epoch "
                "counts; give it more rows"
            )

    @property
    def validated_model(self) -> DiffAGIQA:
        """The one that is validated and saved: the averaged one, if there is one."""
        return self.average.module if self.average else self.model  # type: ignore[return-value]

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or the last ``patience`` ones were no better."""
        progress, patience = self.progress, self.config.patience
        return progress.epoch >= self.config.epochs or bool(
            patience and progress.waited >= patience
        )

    def train_epoch(self) -> None:
        """The rest of an epoch, which a checkpoint may have cut."""
        progress, began = self.progress, time.perf_counter()
        self.began = logged = began
        order = self._order()
        self.model.train()
        for batch in range(progress.batch, self.batches):
            self._step(order, batch)
            progress.step, progress.batch = progress.step + 1, batch + 1
            every = self.config.checkpoint_every
            if every and progress.step % every == 0:
                self.checkpoint()
            if time.perf_counter() - logged > LOG_EVERY:
                logged = time.perf_counter()
                mean = progress.loss_sum / progress.batch
                self.log(
                    f"epoch {progress.epoch:3d}  step {progress.batch} of {self.batches}  loss {mean:.4f}"
                )

    def _order(self) -> list[int]:
        """The rows of this epoch, whole batches of each pass over them."""
        config, first = self.config, self.progress.epoch * self.passes
        order: list[int] = []
        for number in range(first, first + self.passes):
            rows = data_order(config.seed, number, self.train, self.groups)
            order += rows[: len(rows) // self.batch_size * self.batch_size]
        return order

    def _step(self, order: Sequence[int], batch: int) -> None:
        """One step of the optimiser, over micro-batches whose gradients add up."""
        config, progress, processes = self.config, self.progress, self.processes
        micro_batch = self.batch_size // config.accumulation
        first, last = processes.share(micro_batch)
        losses: list[tuple[Sequence[int], Tensor]] = []
        for part in range(config.accumulation):
            start = batch * self.batch_size + part * micro_batch
            stop = start + micro_batch
            self.inputs.prefetch(order[stop + first : stop + last])
            number = progress.step * config.accumulation + part
            step = Step(config.seed, number, micro_batch, first, last)
            loss = self.objective(order[start:stop], step)
            if loss.requires_grad:  # a micro-batch may hold no label at all
                (loss / config.accumulation).backward()
            losses.append((order[start:stop], loss.detach()))
        processes.sum_gradients(self.parameters)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, config.clip_norm)
        # Their values, with one wait for the GPU per step.
        *values, length = torch.stack([*(loss for _, loss in losses), norm.to(loss)]).tolist()
        for (rows, _), value in zip(losses, values, strict=True):
            self._check_finite(value, "loss", rows)
            progress.loss_sum += value / config.accumulation
        self._check_finite(length, "gradient", losses[-1][0])
        self.optimiser.step()
        self.schedule.step()
        self.optimiser.zero_grad(set_to_none=True)
        if self.average:
            self.average.update_parameters(self.model)

    def validate(self) -> None:
        """Score the validation part, and keep the model if it is the best so far."""
        progress, run = self.progress, self.run
        scores = predict(self.validated_model, self.inputs, self.validation, self.processes)
        row = {
            "epoch": float(progress.epoch),
            "loss": progress.loss_sum / self.batches,
            "lr": self.optimiser.param_groups[0]["lr"],
            **agreement(scores, self.data, self.validation),
            "seconds": time.perf_counter() - self.began,
        }
        self.history.append(row)
        progress.epoch, progress.batch, progress.loss_sum = progress.epoch + 1, 0, 0.0
        progress.waited += 1
        if row["validation"] > progress.best or not self.can_choose:  # then the last is the best
            progress.best, progress.best_epoch = row["validation"], int(row["epoch"])
            progress.waited = 0
            if run is None:
                state = self.validated_model.state_dict()
                self.best = {name: value.detach().cpu().clone() for name, value in state.items()}
            elif self.processes.main:
                run.save_best(self.validated_model)
        self.checkpoint()
        if run is not None and self.processes.main:
            run.log(self.history)
        self.log(_line(row, progress))

    def fitted(self) -> Fitted:
        """The best model, on the CPU."""
        best, epoch = self.progress.best, self.progress.best_epoch
        if self.run is None:
            self.model.load_state_dict(self.best or self.validated_model.state_dict())
            return Fitted(self.model.cpu().eval(), best, epoch, self.history)
        if self.processes.main:
            self.run.draw(self.history)
            self.run.close()
        self.processes.barrier()
        from diffagiqa.pretrained import load_model

        return Fitted(load_model(self.run.best), best, epoch, self.history)

    def checkpoint(self) -> None:
        """Save all that ``restore`` needs; nothing without a folder."""
        if self.run is not None and self.processes.main:
            state = {name: part.state_dict() for name, part in self._parts().items()}
            state |= {"progress": dict(self.progress.__dict__), "history": self.history}
            self.run.save(state, self.validated_model)

    def restore(self) -> None:
        """Go on where the last checkpoint of the folder stands."""
        if self.run is not None:
            state = self.run.load()
            for name, part in self._parts().items():
                part.load_state_dict(state[name])
            self.progress, self.history = Progress(**state["progress"]), state["history"]

    def _parts(self) -> dict[str, Any]:
        """What has a state of its own, by its name in a checkpoint."""
        parts = {
            "model": self.model, "average": self.average, "classifier": self.classifier,
            "optimiser": self.optimiser, "schedule": self.schedule,
        }  # fmt: skip
        return {name: part for name, part in parts.items() if part is not None}

    def _classifier(self) -> GeneratorClassifier | None:
        config = self.config
        if not config.generator_weight:
            return None
        if len(generators_of(self.data, self.train)) < 2:
            self.log(
                "generator_weight: left out, as the training rows name fewer than two generators"
            )
            return None
        made = GeneratorClassifier(self.model, self.data, self.train, config.seed)
        return made.to(self.processes.device)

    def _check_finite(self, value: float, what: str, rows: Sequence[int]) -> None:
        if math.isfinite(value):
            return
        names = ", ".join(self.data.samples[row].image for row in rows[:3])
        raise TrainingError(
            f"the {what} is {value} at step {self.progress.step} (epoch {self.progress.epoch}; first "
            f"images {names}); the checkpoints written before are whole, so lower lr_heads and "
            "lr_prompters, or use precision float32, and start again with --init FOLDER/best"
        )


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


def _line(row: Mapping[str, float], progress: Progress) -> str:
    parts = [f"epoch {int(row['epoch']):3d}", f"loss {row['loss']:.4f}"]
    tasks = [f"{k[:-5]} SRCC {v:.3f}" for k, v in row.items() if k.endswith("_srcc")]
    tasks += [f"{k[:-9]} pairs {v:.3f}" for k, v in row.items() if k.endswith("_accuracy")]
    if tasks:
        parts += ["validation", *tasks]
    parts.append(f"{row['seconds']:.1f} s")
    if tasks and progress.waited == 0:
        parts.append("best")
    return "  ".join(parts)
