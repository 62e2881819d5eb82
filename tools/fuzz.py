"""Coverage-guided fuzzing of everything that reads strangers' bytes, for a bounded time.

    pip install atheris
    python tools/fuzz.py --seconds 60            # every target, one after the other
    python tools/fuzz.py --target image --seconds 600

A finding (an exception that is not ours, a broken promise, a hang of over 20 seconds, more than
2 GB) stops its target and is kept in ``tests/fuzz/corpus/TARGET/``, which the tests replay.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests" / "fuzz"
sys.path[:0] = [str(TESTS), str(ROOT / "src")]


def fuzz_one(name: str, arguments: list[str]) -> None:
    """Run libFuzzer on one target; it never returns."""
    import atheris

    with atheris.instrument_imports(include=["diffagiqa", "PIL", "tarfile", "csv", "json"]):
        from targets import TARGETS

    target = TARGETS[name]
    atheris.Setup([sys.argv[0], *arguments], target)
    atheris.Fuzz()


def run_target(name: str, seconds: int) -> tuple[int, str]:
    """Fuzz one target in a process of its own; its exit code and a line of figures."""
    from seeds import seeds

    kept = TESTS / "corpus" / name
    with tempfile.TemporaryDirectory() as folder:
        work, found = Path(folder) / "work", Path(folder) / "found"
        work.mkdir()
        found.mkdir()
        for data in seeds()[name]:
            (work / hashlib.sha1(data).hexdigest()).write_bytes(data)
        libfuzzer = [
            str(work), f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=2048",
            "-max_len=65536", f"-artifact_prefix={found}/", "-print_final_stats=1",
        ]  # fmt: skip
        if kept.is_dir():
            libfuzzer.insert(1, str(kept))
        run = subprocess.run(
            [sys.executable, __file__, "--only", name, *libfuzzer],
            capture_output=True,
            text=True,
            errors="replace",
        )
        for artifact in found.iterdir():
            kept.mkdir(parents=True, exist_ok=True)
            (kept / artifact.name).write_bytes(artifact.read_bytes())
        text = run.stderr + run.stdout
        runs = re.findall(r"stat::number_of_executed_units:\s*(\d+)", text)
        cover = re.findall(r"cov: (\d+)", text)
        inputs = len(list(work.iterdir()))
        line = f"{runs[-1] if runs else '?'} runs, {cover[-1] if cover else '?'} edges, {inputs} inputs"
        names = ", ".join(sorted(artifact.name for artifact in found.iterdir()))
        if names:
            line += f"; FOUND {names}\n" + "\n".join(text.splitlines()[-30:])
        elif run.returncode:
            line += "\n" + "\n".join(text.splitlines()[-15:])
        return run.returncode, line


def main() -> None:
    if sys.argv[1:2] == ["--only"]:
        fuzz_one(sys.argv[2], sys.argv[3:])
    from targets import TARGETS

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--target", choices=sorted(TARGETS), action="append")
    parser.add_argument("--seconds", type=int, default=60, help="per target")
    options = parser.parse_args()
    worst = 0
    for name in options.target or TARGETS:
        code, line = run_target(name, options.seconds)
        worst = max(worst, code)
        print(f"{name:10s} {line}", flush=True)
    sys.exit(1 if worst else 0)


if __name__ == "__main__":
    main()
