"""The whole service: in one process, and on Ray Serve through the documented load test."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from PIL import Image

from diffagiqa import Scorer

pytest.importorskip("uvicorn")

TOOL = Path(__file__).parents[2] / "tools" / "serve_bench.py"


def test_one_process_answers_and_ends_quietly(tiny_model: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = "from diffagiqa.cli.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "serve", "--model", str(tiny_model), "--port", str(port)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stderr is not None
    try:
        said = process.stderr.readline()
        assert said == f"ready on http://127.0.0.1:{port}, docs at /docs\n"
        Image.new("RGB", (64, 64), "red").save(tmp_path / "a.png")
        sent = {"image": ("a.png", (tmp_path / "a.png").read_bytes())}
        base = f"http://127.0.0.1:{port}"
        answer = httpx.post(f"{base}/v1/score", files=sent, data={"prompt": "a fox"}, timeout=None)
        (row,) = answer.json()["results"]
        expected = Scorer.from_pretrained(tiny_model)(str(tmp_path / "a.png"), "a fox")
        assert row["scores"] == pytest.approx(dict(expected.scores), abs=1e-3)
        bare = httpx.post(f"{base}/v1/score", files=sent, timeout=None).json()["results"][0]
        assert (bare["scores"]["alignment"], bare["error"]) == (None, None)
        assert httpx.get(f"{base}/readyz").json() == {"ready": True}
        process.send_signal(signal.SIGTERM)
        rest = process.communicate()
    finally:
        process.kill()
    assert process.returncode == 0
    assert rest == ("", "")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_no_request_is_lost_while_a_replica_is_killed(tiny_model: Path) -> None:
    pytest.importorskip("ray.serve")
    arguments = ["--seconds", "4", "--replicas", "2", "--clients", "4", "--batch-size", "4"]
    sizes = ["--size", "64", "--count", "16", "--json"]
    run = subprocess.run(
        [sys.executable, str(TOOL), "--model", str(tiny_model), *arguments, *sizes],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
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
