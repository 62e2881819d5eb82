"""The whole service on Ray Serve, through the documented load test at a small size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray.serve")

TOOL = Path(__file__).parents[2] / "tools" / "serve_bench.py"


@pytest.mark.slow
def test_no_request_is_lost_while_a_replica_is_killed(tiny_model: Path) -> None:
    arguments = ["--seconds", "4", "--replicas", "2", "--clients", "4", "--batch-size", "4"]
    sizes = ["--size", "64", "--count", "16", "--json"]
    run = subprocess.run(
        [sys.executable, str(TOOL), "--model", str(tiny_model), *arguments, *sizes],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=280,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    found = json.loads(run.stdout.splitlines()[-1])
    full, half, killed, ended = found["loads"]
    for load in (full, half, killed):
        assert set(load["statuses"]) == {"200"}, load
        assert load["statuses"]["200"] > 1
    # after SIGTERM: what was open is answered, what comes later is refused
    assert ended["statuses"]["200"] > 0
    assert found["exit"] == 0
