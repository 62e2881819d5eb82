"""The torchmetrics metric: the mean of the scores, on one process and on two."""

from __future__ import annotations

import ast
import math
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import unlike_pictures

from diffagiqa import Scorer

pytest.importorskip("torchmetrics")

from diffagiqa.integrations.torchmetrics_metric import DiffAGIQAMetric


@pytest.fixture(scope="session")
def scorer(tiny_scorer: Scorer) -> Scorer:
    return tiny_scorer


@pytest.fixture(scope="session")
def pictures() -> torch.Tensor:
    """(4, 3, 64, 64) in [0, 1]."""
    return torch.from_numpy(np.stack(unlike_pictures(4, 64))).permute(0, 3, 1, 2) / 255


def test_mean_over_batches(scorer: Scorer, pictures: torch.Tensor) -> None:
    metric = DiffAGIQAMetric(scorer)
    metric.update(pictures[:3], ["a", "b", "c"])
    metric.update(pictures[3:], "d")
    with torch.no_grad():
        plain = scorer.score_tensor(pictures, ["a", "b", "c", "d"])
    assert all(float(scores.max() - scores.min()) > 0.05 for scores in plain.values())
    for task, value in metric.compute().items():
        assert float(value) == pytest.approx(float(plain[task].mean()), abs=1e-3)
    assert metric.higher_is_better
    metric.update(pictures[:1], "")  # has no alignment
    again = metric.compute()["alignment"]
    assert float(again) == pytest.approx(float(plain["alignment"].mean()), abs=1e-3)
    metric.reset()
    with pytest.warns(UserWarning, match="before"):
        assert math.isnan(metric.compute()["alignment"])


def test_forward_and_clone_share_the_model(scorer: Scorer, pictures: torch.Tensor) -> None:
    metric = DiffAGIQAMetric(scorer)
    batch = metric(pictures[:2], "a fox")
    assert metric.clone().scorer is scorer
    assert batch == metric.compute()


def test_two_processes_give_the_mean_of_one(
    scorer: Scorer, pictures: torch.Tensor, tiny_model: Path, tmp_path: Path
) -> None:
    """Unequal shares, so a mean of means would be wrong."""
    torch.save(pictures, tmp_path / "pictures.pt")
    code = textwrap.dedent("""
        import os, sys, torch, torch.distributed as dist
        from diffagiqa import Scorer
        from diffagiqa.integrations.torchmetrics_metric import DiffAGIQAMetric
        rank, model, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3]
        torch.set_num_threads(1)
        dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
        metric = DiffAGIQAMetric(Scorer.from_pretrained(model, device="cpu", dtype="float32"))
        pictures = torch.load(f"{folder}/pictures.pt")
        metric.update(pictures[:1] if rank == 0 else pictures[1:], "a fox")
        found = {task: float(value) for task, value in metric.compute().items()}
        print(found, metric.count.tolist(), flush=True)
        dist.barrier()
        os._exit(0)  # gloo's threads may abort a process that winds down while they run
    """)
    command = [sys.executable, "-c", code]
    both = [
        subprocess.Popen(
            [*command, str(rank), str(tiny_model), str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        for rank in (0, 1)
    ]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert said[0].split("}")[0] == said[1].split("}")[0]
    with torch.no_grad():
        plain = scorer.score_tensor(pictures, "a fox")
    found = ast.literal_eval(said[0].split("}")[0] + "}")
    for task, value in found.items():
        assert value == pytest.approx(float(plain[task].mean()), abs=1e-3)
