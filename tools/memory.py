"""Resident memory of long runs: many small images, a service under load, many explanations.

    python tools/memory.py --plot docs/images/scale/memory.png

Every run is a process of its own, by the package's model, watched twice a second until it ends; the
three run one after another. Printed is the mean of four equal spans of each, after its start.
"""

from __future__ import annotations

import argparse
import io
import re
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from serve_bench import COMMAND, Client, made_pictures, wait_until_ready

WORDS = ("red", "blue", "old", "small", "fox", "house", "tree", "boat", "moon", "river")
PER_SHARD = 1000
EXPLAIN = """
import sys, io
from PIL import Image
from diffagiqa import Scorer
from diffagiqa.explain import explain
scorer, (file, count) = Scorer.from_pretrained(device="cpu"), sys.argv[1:]
for _ in range(int(count)):
    explain(scorer, Image.open(file), "a red fox in the snow, oil painting")
"""


def make_shards(folder: Path, rows: int, size: int) -> None:
    """Tar shards of smooth noise, image number i under the name i; made again they are equal."""
    for start in range(0, rows, PER_SHARD):
        with tarfile.open(folder / f"{start:07d}.tar", "w") as tar:
            for i in range(start, min(rows, start + PER_SHARD)):
                rng = np.random.default_rng(i)
                small = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
                file = io.BytesIO()
                small.resize((size, size)).save(file, "PNG", compress_level=1)
                prompt = " ".join(WORDS[n] for n in rng.integers(0, len(WORDS), 2))
                for suffix, data in ((".png", file.getvalue()), (".txt", prompt.encode())):
                    member = tarfile.TarInfo(f"{i:07d}{suffix}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))


def memory_of(pid: int) -> float:
    """Resident megabytes of a process; 0 where it has just ended."""
    status = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(status[1]) / 1024 if status else 0.0


def watch(process: subprocess.Popen[str]) -> list[float]:
    """Resident megabytes of a process, twice a second, until it ends."""
    seen: list[float] = []
    while process.poll() is None:
        try:
            seen.append(memory_of(process.pid))
        except OSError:
            break
        time.sleep(0.5)
    if process.wait():
        raise SystemExit(f"a run ended with {process.returncode}")
    return [memory for memory in seen if memory]


def score(folder: Path, options: argparse.Namespace) -> list[float]:
    make_shards(folder, options.rows, options.size)
    arguments = ["score", f"{folder}/*.tar", "--out", str(folder / "out")]
    return watch(subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.DEVNULL, text=True))


def serve(folder: Path, options: argparse.Namespace) -> list[float]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    service = subprocess.Popen([*COMMAND, "serve", "--port", str(port)], text=True)
    client = Client(port, made_pictures(64, options.size))

    def load() -> None:
        wait_until_ready(port, service)
        client.closed_loop(8, options.seconds)
        service.send_signal(signal.SIGTERM)

    clients = threading.Thread(target=load, daemon=True)
    clients.start()
    seen = watch(service)
    clients.join()
    statuses = [status for status, _ in client.answers]
    print(f"{len(statuses)} requests, {statuses.count('200')} answered with 200")
    return seen


def explain(folder: Path, options: argparse.Namespace) -> list[float]:
    file = folder / "image.png"
    file.write_bytes(made_pictures(1, 256)[0])
    arguments = [sys.executable, "-c", EXPLAIN, str(file), str(options.explanations)]
    return watch(subprocess.Popen(arguments, text=True))


def plot(runs: dict[str, list[float]], file: Path) -> None:
    """Resident memory against the share of the run, a line per run."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.2), constrained_layout=True)
    for name, seen in runs.items():
        axes.plot(np.linspace(0, 100, len(seen)), seen, lw=1.2, label=name)
    axes.set(xlabel="% of the run's time", ylabel="resident memory, MB", ylim=(0, None))
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("runs", nargs="*", help="score, serve, explain; default: all three")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=600, help="of load on the service")
    parser.add_argument("--explanations", type=int, default=200)
    parser.add_argument("--size", type=int, default=64, help="pixels per side")
    parser.add_argument("--plot", type=Path, help="PNG of memory over time")
    options = parser.parse_args()
    kinds: dict[str, Callable[[Path, argparse.Namespace], list[float]]] = {
        f"score, {options.rows:,} images": score,
        f"serve, {options.seconds:g} s of load": serve,
        f"explain, {options.explanations} times": explain,
    }
    runs: dict[str, list[float]] = {}
    for name, run in kinds.items():
        if options.runs and run.__name__ not in options.runs:
            continue
        with tempfile.TemporaryDirectory() as folder:
            runs[name] = seen = run(Path(folder), options)
        steady = np.array_split(seen[len(seen) // 10 :], 4)
        means = ", ".join(f"{span.mean():.0f}" for span in steady)
        print(f"{name}: {means} MB, {max(seen):.0f} MB at most", flush=True)
    if options.plot:
        plot(runs, options.plot)


if __name__ == "__main__":
    main()
