"""Load-test ``diffagiqa serve`` on the loopback, and kill a replica under load.

Starts the service, measures the offline rate of ``diffagiqa score`` on the same pictures, then full
load (as many clients as the queue takes), half of the rate that gave, and full load while one of the
replicas is killed with SIGKILL. Ends with SIGTERM under load, and the exit code of the service.

    python tools/serve_bench.py --model FOLDER --seconds 20 --replicas 2
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

COMMAND = [sys.executable, "-c", "from diffagiqa.cli.main import main; main()"]


def made_pictures(count: int, size: int) -> list[bytes]:
    """PNG files of smooth noise."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        file = io.BytesIO()
        small.resize((size, size)).save(file, "PNG")
        found.append(file.getvalue())
    return found


class Client:
    """Sends one picture per request and notes status and seconds."""

    def __init__(self, port: int, pictures: list[bytes]) -> None:
        self.port = port
        self.pictures = pictures
        self.answers: list[tuple[str, float]] = []
        self._next = 0
        self._lock = threading.Lock()

    def send(self) -> str:
        with self._lock:
            picture = self.pictures[self._next % len(self.pictures)]
            self._next += 1
        body = (
            b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\na fox\r\n'
            b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
            + picture
            + b"\r\n--b--\r\n"
        )
        begin = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            headers = {"Content-Type": "multipart/form-data; boundary=b"}
            connection.request("POST", "/v1/score", body, headers)
            answer = connection.getresponse()
            answer.read()
            status = str(answer.status)
        except OSError as fault:
            status = type(fault).__name__
        finally:
            connection.close()
        self.answers.append((status, time.monotonic() - begin))
        return status

    def closed_loop(self, clients: int, seconds: float) -> None:
        """Each client sends its next request when it has the answer to the last."""
        until = time.monotonic() + seconds

        def work() -> None:
            while time.monotonic() < until:
                if self.send() != "200":
                    time.sleep(0.2)

        _run([threading.Thread(target=work) for _ in range(clients)])

    def open_loop(self, rate: float, seconds: float) -> None:
        """Requests at random moments, ``rate`` per second on average, whatever the answers do."""
        rng, threads = np.random.default_rng(1), []
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            threads.append(threading.Thread(target=self.send))
            threads[-1].start()
            time.sleep(float(rng.exponential(1 / rate)))
        for thread in threads:
            thread.join()


def _run(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def measured(name: str, client: Client, run: Any) -> dict[str, Any]:
    """Rate, latency and statuses of one load."""
    client.answers = []
    begin = time.monotonic()
    run()
    seconds = time.monotonic() - begin
    good = [taken for status, taken in client.answers if status == "200"]
    statuses: dict[str, int] = {}
    for status, _ in client.answers:
        statuses[status] = statuses.get(status, 0) + 1
    p50, p99 = np.percentile(good, [50, 99]) if good else (float("nan"),) * 2
    return {
        "load": name,
        "per_second": round(len(good) / seconds, 2),
        "p50": round(float(p50), 3),
        "p99": round(float(p99), 3),
        "statuses": statuses,
    }


def offline_rate(model: list[str], pictures: list[bytes]) -> float:
    """Rows per second of ``diffagiqa score``, without its start."""
    with tempfile.TemporaryDirectory() as folder:
        for i, picture in enumerate(pictures):
            (Path(folder) / f"{i:05d}.png").write_bytes(picture)
        out = str(Path(folder) / "scores.csv")
        arguments = ["score", folder, "--prompt", "a fox", "--out", out, "--json", *model]
        run = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=True)
        summary = json.loads(run.stdout)
        return float(summary["rows"] / summary["seconds"])


def kill_a_replica(service: int) -> None:
    """SIGKILL to the first process that holds a model of the service, not of one beside it."""
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        ours = line.startswith(b"ray::ServeReplica:diffagiqa:Model")
        if ours and descends(int(entry.name), service):
            os.kill(int(entry.name), signal.SIGKILL)
            return
    raise RuntimeError("no replica was found")


def descends(pid: int, ancestor: int) -> bool:
    """Whether a process was started by another, or by one that it started."""
    while pid not in (0, ancestor):
        try:
            status = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return False
        pid = int(status.rpartition(")")[2].split()[1])
    return pid == ancestor


def wait_until_ready(port: int, process: subprocess.Popen[str]) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise RuntimeError(f"the service ended with {process.returncode}")
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            with contextlib.closing(connection):
                connection.request("GET", "/readyz")
                if connection.getresponse().status == 200:
                    return
        except OSError:
            pass
        time.sleep(0.5)
    raise RuntimeError("the service was not ready within five minutes")


def measure_loads(
    client: Client, service: subprocess.Popen[str], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Full load, half of its rate, full load while a replica is killed, and while SIGTERM comes."""

    def full_load(seconds: float) -> None:
        client.closed_loop(options.clients, seconds)

    seconds = options.seconds
    full_load(min(5.0, seconds))  # warm up
    full = measured(f"full, {options.clients} clients", client, lambda: full_load(seconds))
    rate = max(0.2, full["per_second"] / 2)
    half = measured(f"half, {rate:.2f} per second", client, lambda: client.open_loop(rate, seconds))
    threading.Timer(seconds / 4, kill_a_replica, [service.pid]).start()
    killed = measured("full, a replica killed", client, lambda: full_load(seconds))
    threading.Timer(seconds / 8, service.send_signal, [signal.SIGTERM]).start()
    ended = measured("full, then SIGTERM", client, lambda: full_load(seconds / 4))
    return [full, half, killed, ended]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", help="model folder; default: the embedded model")
    parser.add_argument("--seconds", type=float, default=20, help="per load")
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--clients", type=int, default=16, help="at full load")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--size", type=int, default=512, help="pixels per side")
    parser.add_argument("--count", type=int, default=64, help="pictures of the offline run")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    model = ["--batch-size", str(options.batch_size)]
    model += ["--model", options.model] if options.model else []
    pictures = made_pictures(options.count, options.size)
    rates = {"offline, one process": offline_rate(model, pictures)}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["serve", "--port", str(port), "--replicas", str(options.replicas), *model]
    service = subprocess.Popen([*COMMAND, *arguments], text=True)
    try:
        wait_until_ready(port, service)
        loads = measure_loads(Client(port, pictures), service, options)
        code = service.wait(timeout=120)
    finally:
        if service.poll() is None:
            service.kill()
    if options.json:
        print(json.dumps({"offline": rates, "loads": loads, "exit": code}))
        return
    for name, rate in rates.items():
        print(f"{name:28s} {rate:8.2f} per second")
    print(f"{'load':28s} {'per second':>10s} {'p50 s':>8s} {'p99 s':>8s}  answers")
    for load in loads:
        answers = ", ".join(f"{n} x {s}" for s, n in sorted(load["statuses"].items()))
        print(
            f"{load['load']:28s} {load['per_second']:10.2f} {load['p50']:8.3f} {load['p99']:8.3f}"
            f"  {answers}"
        )
    print(f"the service ended with exit code {code}")


if __name__ == "__main__":
    main()
