"""The cluster gives the rows of one process, also where a worker and a whole node are killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from scale_made import make_pictures, make_table, read_rows, run

from diffagiqa.errors import ConfigError, TableError
from diffagiqa.jobs.chunks import Layout
from diffagiqa.jobs.inputs import Inputs
from diffagiqa.jobs.journal import Done
from diffagiqa.jobs.local import LocalEngine
from diffagiqa.jobs.model_spec import ModelFacts, ModelSpec
from diffagiqa.jobs.ray_engine import ChunkScorer, RayEngine

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """In every process: sums over another number of threads differ in their last digits."""
    threads, before = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    yield
    torch.set_num_threads(threads)
    del os.environ["OMP_NUM_THREADS"]
    if before is not None:
        os.environ["OMP_NUM_THREADS"] = before


@pytest.fixture(scope="module")
def cluster(one_thread: None) -> Iterator[Any]:
    """Two nodes on this machine."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": 10**8},
    )
    second = cluster.add_node(num_cpus=1, object_store_memory=10**8)
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster, second
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="module")
def spec(tiny_model: Path) -> ModelSpec:
    return ModelSpec(str(tiny_model), device="cpu", dtype="float32", batch_size=2)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pictures(tmp_path_factory.mktemp("ray") / "in", 40)


@pytest.fixture(scope="module")
def whole(spec: ModelSpec, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The rows of the local engine."""
    out = tmp_path_factory.mktemp("ray") / "local"
    scorer = spec.load()
    run(pictures, out, LocalEngine(scorer), ModelFacts.of(scorer))
    return read_rows(out)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_equal_rows_with_a_killed_worker_and_a_killed_node(
    cluster: Any, spec: ModelSpec, pictures: Path, whole: list[Any], tmp_path: Path
) -> None:
    facts = spec.describe()
    engine = RayEngine(spec, workers="2")
    chunks = 0
    killed: list[str] = []

    def kill(done: int, reused: int) -> None:
        nonlocal chunks
        chunks += 1
        if chunks == 2:
            pid = _an_actor_process()
            os.kill(pid, signal.SIGKILL)
            killed.append("worker")
        if chunks == 5:
            cluster[0].remove_node(cluster[1], allow_graceful=False)
            cluster[0].add_node(num_cpus=1, object_store_memory=10**8)  # as an autoscaler would
            killed.append("node")

    totals = run(pictures, tmp_path / "out", engine, facts, on_rows=kill)
    assert killed == ["worker", "node"]
    assert (totals.rows, totals.failed) == (40, 1)
    assert read_rows(tmp_path / "out") == whole  # scores bit for bit
    reused: list[int] = []
    run(pictures, tmp_path / "out", engine, facts, on_rows=lambda _, r: reused.append(r))
    assert sum(reused) == 40  # the finished job scores nothing again


def _an_actor_process() -> int:
    """The id of a process on this machine that holds a model."""
    import psutil

    while True:
        for process in psutil.process_iter(["cmdline"]):
            line = " ".join(process.info["cmdline"] or [])
            if line.startswith("ray::") and "ChunkScorer" in line:
                return int(process.pid)
        time.sleep(0.1)


def test_what_a_worker_does(spec: ModelSpec, pictures: Path, whole: list[Any]) -> None:
    """The same path without a cluster: chunks pickled, scored, as JSON."""
    import json

    import numpy as np

    layout = Layout(2, 4, 12, "jsonl")
    done = Done(layout, frozenset([0]), frozenset([4]))
    worker = ChunkScorer(spec, spec.describe(), fallback="")
    rows = []
    from diffagiqa.jobs.ray_source import pickled_chunks

    for chunk in pickled_chunks(Inputs((str(pictures),)), layout, done):
        batch = {name: np.array(values, dtype=object) for name, values in chunk.items()}
        result = worker(batch)
        if result["rows"][0]:
            rows += json.loads(result["rows"][0])
    for row in [*rows, *whole]:
        row["file"] = Path(row["file"]).name  # a job makes it relative to its output
    assert rows == [row for row in whole if row["row"] >= 12 and row["row"] // 4 != 4]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_faults_on_workers_are_one_sentence(cluster: Any, spec: ModelSpec, tmp_path: Path) -> None:
    table = make_table(tmp_path / "table.jsonl", 3)
    table.write_text('{"picture": "a.png"}\n')
    facts = spec.describe()
    with pytest.raises(TableError, match="has no image column") as caught:
        run(table, tmp_path / "out", RayEngine(spec, workers="1"), facts)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("workers", ["0", "3:1", "many", "1:2:3", "-1"])
def test_wrong_workers(spec: ModelSpec, workers: str) -> None:
    with pytest.raises(ConfigError, match="expected N, or MIN:MAX"):
        RayEngine(spec, workers=workers)
