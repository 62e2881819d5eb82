"""Make pictures, score them, kill the run on the way, and check that every row is there once.

    python tools/soak.py --rows 100000 --kills 5 --model FOLDER --plot docs/images/scale/memory.png

Pictures go into tar shards of 1,000 with their prompts beside them. ``diffagiqa score`` runs as a
process of its own; its resident memory is noted against the rows that it has done, and SIGKILL comes
at random moments. At the end every row is looked up, and with ``--compare`` a second, uninterrupted
run, beside the first on the other half of the cores, must have given the same numbers to the last bit.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from pyarrow import parquet

COMMAND = [sys.executable, "-c", "from diffagiqa.cli.main import main; main()"]
WORDS = ("red", "blue", "old", "small", "fox", "house", "tree", "boat", "moon", "river")
PER_SHARD = 1000
_MEGABYTE = 1 << 20


def make_shards(folder: Path, rows: int, size: int) -> None:
    """Tar shards of smooth noise, picture number i under the name i; made again they are equal."""
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


def rows_done(out: Path, chunk_rows: int) -> int:
    """Rows in finished parts and chunks of a running job."""
    done = 0
    for entry in out.glob("_job/part-*"):
        try:
            if entry.suffix == ".json":
                done += json.loads(entry.read_text())["rows"]
            elif entry.is_dir() and not entry.with_suffix(".json").exists():
                done += chunk_rows * sum(1 for _ in entry.iterdir())
        except (OSError, ValueError):
            continue  # it changed under our hands
    return done


def memory_of(pid: int) -> float:
    """Resident megabytes of a process."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def start(shards: Path, out: Path, options: argparse.Namespace) -> subprocess.Popen[str]:
    """``diffagiqa score`` in a process of its own, on as many threads as there are for it."""
    arguments = ["score", f"{shards}/*.tar", "--out", str(out), "--json"]
    arguments += ["--batch-size", str(options.batch_size)]
    arguments += ["--model", options.model] if options.model else []
    threads = max(1, (os.cpu_count() or 1) // (2 if options.compare else 1))
    own = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    return subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, text=True, env=own)


def score(
    shards: Path, out: Path, options: argparse.Namespace, kills: int
) -> tuple[list[list[tuple[int, float]]], float]:
    """Run, kill and resume until the job is done; (rows, MB) of each run, and all its seconds."""
    chance = random.Random(options.seed)
    stops = sorted(chance.uniform(0.02, 0.98) * options.rows for _ in range(kills))
    runs: list[list[tuple[int, float]]] = []
    begin = time.monotonic()
    while True:
        process = start(shards, out, options)
        seen: list[tuple[int, float]] = []
        while process.poll() is None:
            time.sleep(0.5)
            done = rows_done(out, 4 * options.batch_size)
            try:
                if memory := memory_of(process.pid):
                    seen.append((done, memory))
            except OSError:
                break
            if stops and done >= stops[0]:
                time.sleep(chance.uniform(0, 0.5))
                process.kill()
                process.wait()
                print(f"kill -9 after {done:,} rows", flush=True)
                stops.pop(0)
        runs.append(seen)
        text = process.communicate()[0]
        if process.returncode == -9:
            continue
        if process.returncode:
            raise SystemExit(f"the run ended with {process.returncode}: {text}")
        print("summary:", text.strip())
        return runs, time.monotonic() - begin


def check(out: Path, rows: int) -> None:
    """Every picture once, in order, with scores."""
    seen = 0
    for file in sorted(out.glob("part-*")):
        for row in parquet.read_table(file).to_pylist():
            name = row["image"].rpartition("::")[2]
            if row["row"] != seen or name != f"{seen:07d}.png":
                raise SystemExit(f"row {seen} is {row['row']} {name}")
            if row["error"] or not row["prompt"] or row["perception"] is None:
                raise SystemExit(f"row {seen} was not scored: {row}")
            seen += 1
    if seen != rows:
        raise SystemExit(f"{seen} rows instead of {rows}")
    print(f"every one of {rows:,} rows is there once and was scored")


def plot(runs: list[list[tuple[int, float]]], file: Path) -> None:
    """Resident memory against rows, a line per run."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.2), constrained_layout=True)
    for number, seen in enumerate(runs):
        if seen:
            done, memory = zip(*seen, strict=True)
            axes.plot(done, memory, lw=1.2, label=f"run {number + 1}")
    axes.set(xlabel="rows done", ylabel="resident memory, MB", ylim=(0, None))
    axes.legend(frameon=False, fontsize=8, ncols=4)
    axes.spines[["top", "right"]].set_visible(False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=130)


def report(runs: list[list[tuple[int, float]]]) -> None:
    for number, seen in enumerate(runs):
        # a run that resumes passes over what is done first; loading the model is no growth either
        steady = [memory for _, memory in seen[len(seen) // 4 :]]
        if len(steady) > 8:
            first, last = np.mean(steady[: len(steady) // 4]), np.mean(steady[-len(steady) // 4 :])
            print(
                f"run {number + 1}: rows {seen[0][0]:,} to {seen[-1][0]:,}, resident {first:.0f} MB "
                f"early, {last:.0f} MB late, {max(m for _, m in seen):.0f} MB at most"
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--size", type=int, default=64, help="pixels per side")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--model", help="model folder; default: the embedded model")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument(
        "--compare", action="store_true", help="run again without kills, and compare"
    )
    parser.add_argument("--plot", type=Path, help="PNG of memory against rows")
    parser.add_argument(
        "--keep", type=Path, help="folder for pictures and output; default: removed"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as ending:
        folder = options.keep or Path(temporary)
        shards, out = folder / "shards", folder / "out"
        shards.mkdir(parents=True, exist_ok=True)
        make_shards(shards, options.rows, options.size)
        total = sum(file.stat().st_size for file in shards.iterdir()) / _MEGABYTE
        print(
            f"{options.rows:,} pictures of {options.size} x {options.size}, {total:.0f} MB of tars"
        )
        begin = time.monotonic()
        beside = start(shards, folder / "whole", options) if options.compare else None
        if beside is not None:
            ending.callback(beside.kill)  # where a check fails, it must not go on alone
        runs, seconds = score(shards, out, options, options.kills)
        print(
            f"{seconds:.0f} s with {options.kills} kills, {options.rows / seconds:.1f} rows per second"
        )
        check(out, options.rows)
        report(runs)
        if options.plot:
            plot(runs, options.plot)
        if beside is not None:
            text = beside.communicate()[0]
            if beside.returncode:
                raise SystemExit(f"the uninterrupted run ended with {beside.returncode}: {text}")
            same = sum(
                parquet.read_table(part) == parquet.read_table(folder / "whole" / part.name)
                for part in out.glob("part-*")
            )
            parts = len(list((folder / "whole").glob("part-*")))
            print(
                f"uninterrupted, beside it: both done after {time.monotonic() - begin:.0f} s; "
                f"{same} of {parts} parts are equal in every bit"
            )
            if same != parts:
                raise SystemExit(1)


if __name__ == "__main__":
    main()
