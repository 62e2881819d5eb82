"""A run killed with SIGKILL and resumed ends bit for bit where an undisturbed one ends."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from made_up import made_up_rows, small_config, thirds

from diffagiqa.errors import TrainingError
from diffagiqa.training.train import train

COUNT = 12
QUIET = lambda text: None  # noqa: E731


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)  # sums of another number of threads differ in the last bit


def test_kill_and_resume(tmp_path: Path) -> None:
    config = small_config(epochs=3, checkpoint_every=1, generator_weight=0.1)
    pictures, run = tmp_path / "pictures", tmp_path / "run"
    (tmp_path / "config.json").write_text(config.to_json())
    fourth = "4"  # checkpoint, in the second epoch
    killed = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("made_up.py")), str(tmp_path / "config.json"),
         str(pictures), str(COUNT), str(run), fourth],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL
    assert list(run.glob(".state.pt.*.part"))
    assert len(list(csv.DictReader((run / "metrics.csv").open()))) == 1

    rows = made_up_rows(pictures, COUNT)
    train(config, rows, thirds(COUNT), run, resume=True, device="cpu", log=QUIET)
    train(config, rows, thirds(COUNT), tmp_path / "whole", device="cpu", log=QUIET)
    for name in ("best/model.safetensors", "last/model.safetensors", "best/config.json"):
        assert (run / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    first, second = (torch.load(f / "state.pt") for f in (run, tmp_path / "whole"))
    assert_equal(first["optimiser"], second["optimiser"])
    assert_equal(first["model"], second["model"])
    assert_equal(first["classifier"], second["classifier"])
    assert first["classifier"]
    assert first["progress"] == second["progress"]
    tables = [list(csv.DictReader((f / "metrics.csv").open())) for f in (run, tmp_path / "whole")]
    for row in (*tables[0], *tables[1]):
        row.pop("seconds")
    assert tables[0] == tables[1]
    assert len(tables[0]) == 3
    assert (run / "curves.png").stat().st_size > 1000

    # A finished run resumes to itself; another configuration or a fresh start is refused.
    train(config, rows, thirds(COUNT), run, resume=True, device="cpu", log=QUIET)
    with pytest.raises(TrainingError, match="begun with another epochs"):
        train(small_config(epochs=4, checkpoint_every=1), rows, thirds(COUNT), run, resume=True)
    with pytest.raises(TrainingError, match="holds a run already; give --resume"):
        train(config, rows, thirds(COUNT), run)
    with pytest.raises(TrainingError, match="holds no run to resume"):
        train(config, rows, thirds(COUNT), tmp_path / "nowhere", resume=True)


def assert_equal(first: object, second: object) -> None:
    if isinstance(first, torch.Tensor):
        assert isinstance(second, torch.Tensor)
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert isinstance(second, dict)
        assert first.keys() == second.keys()
        for key in first:
            assert_equal(first[key], second[key])
    elif isinstance(first, list):
        assert isinstance(second, list)
        for one, other in zip(first, second, strict=True):
            assert_equal(one, other)
    else:
        assert first == second
