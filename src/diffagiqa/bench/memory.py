"""Peak memory of one scoring process, measured from inside a process of its own.

python -m diffagiqa.bench.memory MODEL DEVICE DTYPE
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def measure_process(model: str, device: str, dtype: str) -> dict[str, float]:
    """Peak resident memory (GB) and start-up seconds of loading ``model`` and scoring one image."""
    done = subprocess.run(
        [sys.executable, "-m", "diffagiqa.bench.memory", model, device, dtype],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def main(model: str, device: str, dtype: str) -> None:
    began = time.perf_counter()
    from diffagiqa.startup import collector_at_rest

    with collector_at_rest():
        import numpy as np
        import torch

        from diffagiqa.scorer import Scorer

        scorer = Scorer.from_pretrained(model, device=device, dtype=dtype)
    loaded = time.perf_counter() - began
    size = scorer.config.image_size
    scorer(np.zeros((size, size, 3), np.uint8), "a red fox")
    found = {
        "load_seconds": loaded,
        "first_score_seconds": time.perf_counter() - began,
        "peak_gb": peak_resident() / 1e9,
    }
    if torch.device(device).type == "cuda":
        found["peak_device_gb"] = torch.cuda.max_memory_allocated(device) / 1e9
    print(json.dumps(found))


def peak_resident() -> int:
    """Bytes of the process's largest resident set so far; on Linux since ``reset_peak``."""
    # Linux: getrusage would count what the parent held when it started this process.
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.is_file() else []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def reset_peak(device: torch.device) -> None:
    """Start the peaks of device and process anew: on CUDA, and on Linux."""
    if device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(device)
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        with contextlib.suppress(
            OSError
        ):  # some containers forbid it: the peak is then the process's
            clear.write_text("5", encoding="ascii")


def peak_device(device: torch.device) -> int:
    """Bytes: the largest allocation on a CUDA device since ``reset_peak``; 0 elsewhere."""
    if device.type != "cuda":
        return 0
    import torch

    return torch.cuda.max_memory_allocated(device)


if __name__ == "__main__":
    main(*sys.argv[1:4])
