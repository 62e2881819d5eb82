"""What the device can do at most: its matrix product and its memory, measured."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from diffagiqa.accel.products import linear


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def seconds_of(run: Callable[[], Any], device: torch.device, repeats: int) -> list[float]:
    """Wall-clock seconds of each of ``repeats`` runs, after one that is not counted."""
    run()
    found = []
    for _ in range(repeats):
        synchronise(device)
        began = time.perf_counter()
        run()
        synchronise(device)
        found.append(time.perf_counter() - began)
    return found


def median_seconds(run: Callable[[], Any], device: torch.device, repeats: int) -> float:
    """The median of ``seconds_of``."""
    return statistics.median(seconds_of(run, device, repeats))


def matmul_peak(device: torch.device, dtype: torch.dtype) -> tuple[float, int]:
    """FLOP/s of the fastest product of square matrices, and their side: 4096, on a GPU 8192 too."""
    sides = (4096, 8192) if device.type == "cuda" else (4096,)
    return max((_matmul_rate(device, dtype, side), side) for side in sides)


@torch.inference_mode()
def _matmul_rate(device: torch.device, dtype: torch.dtype, side: int) -> float:
    a = torch.randn(side, side, device=device).to(dtype)
    b = torch.randn(side, side, device=device).to(dtype)
    return 2 * side**3 / min(seconds_of(lambda: linear(a, b), device, 5))


def bandwidth_peak(device: torch.device) -> float:
    """Bytes/s of the best of five copies of 512 MiB, reading and writing counted."""
    source = torch.empty(512 << 20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() / min(seconds_of(lambda: target.copy_(source), device, 5))
