"""Two processes end where one does: same batches, noise, dropout, BatchNorm statistics and losses."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from made_up import made_up_rows, small_config, thirds
from safetensors.torch import load_file

from diffagiqa.training.augmented import with_augmentations
from diffagiqa.training.train import train

COUNT = 12


def test_two_processes_equal_one(tmp_path: Path) -> None:
    config = small_config(
        epochs=2,
        batch_size=4,
        relation="fidelity",
        lr_heads=1e-2,
        generator_weight=0.1,
        damaged=0.5,
    )
    pictures = tmp_path / "pictures"
    rows = with_augmentations(made_up_rows(pictures, COUNT), config)
    (tmp_path / "config.json").write_text(config.to_json())
    # accelerate launch starts one process on a CPU, however many are asked for. Standalone: its port
    # is bound by who uses it.
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         str(Path(__file__).with_name("made_up.py")), str(tmp_path / "config.json"),
         str(pictures), str(COUNT), str(tmp_path / "two")],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert all(f"process {rank} of 2" in done.stdout for rank in (0, 1))
    assert done.stdout.count("epoch   0") == 1  # one process speaks
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the two have: sums in another order round otherwise
    try:
        train(config, rows, thirds(COUNT), tmp_path / "one", device="cpu", log=lambda text: None)
    finally:
        torch.set_num_threads(threads)
    one, two = (load_file(tmp_path / run / "last" / "model.safetensors") for run in ("one", "two"))
    start = initial(config, rows)
    for name in one:
        moved = (one[name].float() - start[name].float()).abs().max().item()
        apart = (one[name].float() - two[name].float()).abs().max().item()
        # AdamW turns rounding in a tiny gradient into a step, so compare with how far training went:
        # this tensor, or where it hardly moved, a thousandth of a step of the others (lr 0.01).
        # Most stay within 0.01 of it; a single number whose gradient is nearly 0 comes to 0.024.
        assert apart <= 0.05 * moved + 1e-5, (name, moved, apart)
    tables = [list(csv.DictReader((tmp_path / f / "metrics.csv").open())) for f in ("one", "two")]
    for first, second in zip(*tables, strict=True):
        assert float(first["loss"]) == pytest.approx(float(second["loss"]), rel=1e-3)


def initial(config, rows) -> dict[str, torch.Tensor]:  # type: ignore[no-untyped-def]
    from dataclasses import replace

    from diffagiqa.training.train import initial_model

    return initial_model(replace(config.model, tasks=rows.tasks), config.seed).state_dict()
