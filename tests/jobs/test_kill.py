"""kill -9 at random moments of the work, and the signals that ask politely, on a real model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from scale_made import make_pictures, read_rows

# Loads the model once, then forks runs of one job: one in peace, then some that are killed and one that
# ends. A run is killed soon after so many chunks are on the disk, however long that takes. Forking spares
# the seconds that every process takes to import PyTorch; what is killed is a whole process with its
# decoding threads and open files all the same.
RUNS = """
import os, random, re, signal, sys, time, traceback
import torch
torch.set_num_threads(1)
from diffagiqa.data.images import DEFAULT_LIMITS
from diffagiqa.jobs.inputs import Inputs
from diffagiqa.jobs.chunks import Layout
from diffagiqa.jobs.job import run_job
from diffagiqa.jobs.local import LocalEngine
from diffagiqa.jobs.model_spec import ModelFacts, ModelSpec
from diffagiqa.jobs.stop import StopRequest

model, images, whole, killed, kills, chunks = sys.argv[1:]
scorer = ModelSpec(model, device="cpu", dtype="float32", batch_size=2).load()

def start(out):
    child = os.fork()
    if child:
        return child
    try:
        run_job(LocalEngine(scorer), Inputs((images,)), out, layout=Layout(2, 4, 20),
                facts=ModelFacts.of(scorer), stop=StopRequest())
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)

def ended(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def chunks_done():
    job = os.path.join(killed, "_job")
    names = os.listdir(job) if os.path.isdir(job) else []
    parts = sum(bool(re.fullmatch(r"part-\\d+\\.json", name)) for name in names)
    folders = [os.path.join(job, name) for name in names if re.fullmatch(r"part-\\d+", name)]
    try:
        return 5 * parts + sum(len(os.listdir(folder)) for folder in folders)
    except FileNotFoundError:  # it has just become a part
        return 5 * parts

assert ended(start(whole)) == 0
chance = random.Random(4)
for target in sorted(chance.randrange(int(chunks)) for _ in range(int(kills))):
    child = start(killed)
    while chunks_done() < target:
        time.sleep(0.001)
    time.sleep(chance.uniform(0.0, 0.01))
    os.kill(child, signal.SIGKILL)
    ended(child)
assert ended(start(killed)) == 0
"""


@pytest.mark.parametrize(
    ("count", "kills"), [(16, 3), pytest.param(64, 20, marks=pytest.mark.slow)]
)
def test_killed_at_random_moments(tiny_model: Path, tmp_path: Path, count: int, kills: int) -> None:
    images = make_pictures(tmp_path / "in", count)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    arguments = map(str, (tiny_model, images, whole, killed, kills, count // 4))
    run = subprocess.run(
        [sys.executable, "-c", RUNS, *arguments],
        capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    rows = read_rows(killed)
    assert [row["row"] for row in rows] == list(range(count))
    assert rows == read_rows(whole)  # every score bit for bit
    assert len({row["perception"] for row in rows}) > count / 2
    assert not list(killed.glob(".*"))


def command(model: Path, pictures: Path, out: Path, *more: str) -> list[str]:
    code = "from diffagiqa.cli.main import main; main()"
    options = ["--batch-size", "2", "--dtype", "float32", "--device", "cpu", *more]
    paths = [str(pictures), "--model", str(model), "--out", str(out)]
    return [sys.executable, "-c", code, "score", *paths, *options]


@pytest.mark.slow
def test_sigterm_ends_in_order_and_the_same_command_goes_on(
    tiny_model: Path, tmp_path: Path
) -> None:
    pictures = make_pictures(tmp_path / "in", 40)
    out = tmp_path / "scores.csv"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command(tiny_model, pictures, out), stderr=subprocess.PIPE, text=True, env=environment
    )
    while process.poll() is None and not list(tmp_path.glob("scores.csv.job/_job/part-00000/*")):
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert "stopped by SIGTERM after" in errors
    assert "give the same command again to continue" in errors
    assert not out.exists()
    again = subprocess.run(
        command(tiny_model, pictures, out, "--json"),
        capture_output=True,
        text=True,
        env=environment,
    )
    summary = json.loads(again.stdout)
    assert again.returncode == 1  # the picture that is rubbish
    assert summary["reused"] > 0
    assert (summary["rows"], summary["failed"]) == (40, 1)
    assert [int(row["row"]) for row in read_rows(out)] == list(range(40))
