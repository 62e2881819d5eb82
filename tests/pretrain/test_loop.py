"""The loop of both stages: a fault of one process stops all, and a checkpoint is whole or refused."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from diffagiqa.errors import TrainingError
from diffagiqa.pretrain.loop import Losses, Stage


def stage(folder: Path, steps: int = 4) -> Stage:
    module = nn.Linear(3, 1)
    return Stage(
        "tiny",
        module,
        folder,
        learning_rate=0.1,
        weight_decay=0.0,
        ema=0.9,
        minutes=1.0,
        steps=steps,
    )


def one_meets_nan(rank: int, folder: Path) -> None:
    """A process of two; the second's third batch (number 5) has a loss that is not finite."""
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2,
        timeout=timedelta(seconds=20),
    )  # fmt: skip
    torch.manual_seed(0)
    mine = stage(folder)

    def step(number: int) -> Losses:
        loss = mine.module(torch.ones(2, 3)).square().mean()
        return {"loss": loss * float("nan") if number == 5 else loss}

    try:
        mine.run(step)
    except Exception as error:
        (folder / f"said.{rank}").write_text(f"{type(error).__name__}: {error}")
    dist.barrier()
    os._exit(0)  # gloo's threads may abort a process that winds down while they run


def test_a_loss_that_is_not_finite_stops_all_processes(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(one_meets_nan, (tmp_path,), nprocs=2)
    wanted = "TrainingError: the loss of the tiny is not finite at step 2; resume from the last"
    for rank in (0, 1):
        assert (tmp_path / f"said.{rank}").read_text().startswith(wanted)


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    mine = stage(tmp_path)
    mine.run(lambda number: {"loss": mine.module(torch.ones(2, 3)).square().mean()})
    file = tmp_path / "tiny.checkpoint.pt"
    assert not list(tmp_path.glob("*.part*"))
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(
        TrainingError, match=r"tiny\.checkpoint\.pt is damaged .*; start again in an"
    ):
        stage(tmp_path).run(lambda number: {}, resume=True)
