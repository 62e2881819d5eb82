"""All measurements of one machine, as plain values; the passes are those that score."""

from __future__ import annotations

import itertools
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from diffagiqa.backbones.base import Prompts
from diffagiqa.bench.memory import (
    measure_process,
    peak_device,
    peak_resident,
    reset_peak,
)
from diffagiqa.bench.released import released_path
from diffagiqa.data.wording import counted
from diffagiqa.device import choose_device, choose_dtype, exact_float32
from diffagiqa.pretrained import locate
from diffagiqa.rows import weight_count
from diffagiqa.scorer import Scorer

Log = Callable[[str], None]
PROMPT = "a red fox in a green suit, oil painting"
STAGES = {
    "prompted": "prompters",
    "encoded": "image encoder",
    "features": "features",
    "pyramid": "pyramid",
    "fused": "fusion",
    "scores": "regression",
}
"""Stages of ``DiffAGIQA.stages``, as they are printed."""
LARGE = 100_000_000
"""Weights of a backbone from which on images are measured one by one, but on CUDA."""


def bench(
    model: str,
    *,
    device: str | None = None,
    dtype: str | None = None,
    batch: int | None = None,
    repeats: int = 3,
    compare: bool = True,
    accel: bool = False,
    training: bool = False,
    log: Log = print,
) -> dict[str, Any]:
    """Measure the model in ``model`` (a folder or hub id).

    ``batch``: images per pass; default: as ``Scorer``, one where a CPU has a large backbone.
    ``compare``: the released path too, where the backbone is Stable Diffusion; the scorer and it take
    turns, ``repeats`` times each, so that the ratio holds on a machine whose speed drifts.
    ``accel``: the scorer without ``accel/``, too, in the same turns.
    ``training``: seconds and memory of one step of training the prompters, too.
    """
    where = choose_device(device)
    weights = choose_dtype(where, dtype)
    name = str(weights).removeprefix("torch.")
    results: dict[str, Any] = {
        "machine": describe(where), "versions": versions(),
    }  # fmt: skip
    log(f"{results['machine']}, {name}; a process that loads the model and scores one image")
    results["process"] = measure_process(model, str(where), name)
    scorer = Scorer.from_pretrained(model, device=where, dtype=weights, batch_size=batch)
    if batch is None and where.type != "cuda" and weight_count(scorer) > LARGE:
        scorer.batch_size = 1
    batch, size, weights = scorer.batch_size, scorer.config.image_size, scorer.backbone.dtype
    results["dtype"] = str(weights).removeprefix("torch.")  # small networks have their own
    results |= {"batch": batch, "image_size": size, "backbone": type(scorer.backbone).__name__}
    noise = torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(0))
    images = torch.stack([scorer.prepare(image) for image in noise])
    log("stages")
    results["peak_flops"] = matmul_peak(where, weights)
    results["stages"] = measure_stages(scorer, images, repeats)
    rows = [(image, PROMPT) for image in images]
    runs: dict[str, tuple[Callable[[], Any], int]] = {
        "scorer": (partial(scorer.score_prepared, rows), batch)
    }
    path = released_path(locate(model), where) if compare else None
    if path is not None:
        runs["released"] = (partial(path, rows[0][0].to(where), PROMPT), 1)
    if accel:
        plain = without_accelerators(model, where, weights)
        runs["accelerators"] = (partial(plain.score_prepared, rows), batch)
    log(f"whole scores, in turns: {', '.join(runs)}")
    seconds = in_turns(runs, where, repeats)
    fast = seconds.pop("scorer")
    results["seconds_per_image"] = statistics.median(fast)
    for way, slow in seconds.items():
        ratios = [one / other for one, other in zip(slow, fast, strict=True)]
        results[way] = {
            "seconds": statistics.median(slow), "ratio": statistics.median(ratios),
            "least": min(ratios), "most": max(ratios),
        }  # fmt: skip
    runs.clear()
    log("scores of JPEG files")
    results["seconds_per_file"] = seconds_per_file(scorer, results["seconds_per_image"])
    if training:
        log("a training step")
        results["training"] = training_step(scorer, images[:1], repeats)
    return results


@torch.inference_mode()
def measure_stages(scorer: Scorer, images: Tensor, repeats: int) -> list[dict[str, Any]]:
    """Seconds, arithmetic (FLOP) and peak memory (bytes) per image of each stage of the forward pass.

    Memory is the largest during the stage: of the device on CUDA, of the process on Linux, else 0.
    """
    device, count = scorer.device, len(images)
    batch = Prompts.stack(scorer.prompts([PROMPT] * count))
    on_device = images.to(device)
    seconds: dict[str, list[float]] = {}
    flop: dict[str, float] = {}
    memory: dict[str, float] = {}
    for repeat in range(repeats + 1):
        sums = dict.fromkeys(STAGES, 0.0)
        stages = scorer.model.stages(
            on_device, batch, scorer.backbone, scorer.runner.noises(*images.shape[-2:])
        )
        while True:
            reset_peak(device)
            began = time.perf_counter()
            if repeat == 0:  # to warm up; the counter slows what it counts
                with FlopCounterMode(display=False) as counter:
                    step = next(stages, None)
            else:
                step = next(stages, None)
            synchronise(device)
            if step is None:
                break
            sums[step[0]] += time.perf_counter() - began
            if repeat == 0:
                flop[step[0]] = flop.get(step[0], 0.0) + counter.get_total_flops()
            memory[step[0]] = max(memory.get(step[0], 0), peak_device(device) or peak_resident())
        if repeat:
            for stage, value in sums.items():
                seconds.setdefault(stage, []).append(value)
    number = itertools.count()  # a prompt that comes again may be cached
    text = seconds_of(
        lambda: scorer.backbone.encode_prompts([f"{PROMPT} {next(number)}"]), device, repeats
    )
    rows = [
        {
            "name": STAGES[stage],
            "seconds": statistics.median(values) / count,
            "flop": flop[stage] / count,
            "peak_bytes": memory[stage],
        }
        for stage, values in seconds.items()
    ]
    prompt = {"name": "prompt, once each", "seconds": statistics.median(text)}
    return [prompt | {"flop": 0.0, "peak_bytes": 0}, *rows]


def seconds_per_file(scorer: Scorer, seconds: float) -> float:
    """Per JPEG file of the model's size, decoding included; as many as take some ten seconds."""
    count = min(256, max(scorer.batch_size, round(10 / seconds)))
    size = scorer.config.image_size
    numbers = np.random.default_rng(0)
    coarse = numbers.integers(0, 255, (max(1, size // 32), max(1, size // 32), 3), np.uint8)
    soft = Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)
    with tempfile.TemporaryDirectory() as scratch:
        files = [Path(scratch) / f"{index}.jpg" for index in range(count)]
        for file in files:
            soft.save(file, quality=92)
        began = time.perf_counter()
        for _ in scorer.score_many((file, PROMPT) for file in files):
            pass
        return (time.perf_counter() - began) / count


def in_turns(
    runs: dict[str, tuple[Callable[[], Any], int]], device: torch.device, repeats: int
) -> dict[str, list[float]]:
    """Seconds per image of several ways to score so many images, taken in turns after a run of each."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    with exact_float32(device):  # within it as the scorer is
        for _ in range(repeats):
            for name, (run, count) in runs.items():
                (taken,) = seconds_of(run, device, 1, warm=not seconds[name])
                seconds[name].append(taken / count)
    return seconds


def without_accelerators(model: str, device: torch.device, dtype: torch.dtype) -> Scorer:
    """The scorer of a model as DIFFAGIQA_ACCEL=0 gives it."""
    before = os.environ.get("DIFFAGIQA_ACCEL")
    os.environ["DIFFAGIQA_ACCEL"] = "0"
    try:
        return Scorer.from_pretrained(model, device=device, dtype=dtype)
    finally:
        os.environ.pop("DIFFAGIQA_ACCEL")
        if before is not None:
            os.environ["DIFFAGIQA_ACCEL"] = before


def training_step(scorer: Scorer, images: Tensor, repeats: int) -> dict[str, float]:
    """Seconds and peak memory (bytes) of forward and backward pass through the backbone, one image."""
    device = scorer.device
    prompts = Prompts.stack(scorer.backbone.encode_prompts([PROMPT]))
    given = images.to(device).requires_grad_(True)
    noises = scorer.runner.noises(*images.shape[-2:])

    def step() -> None:
        scores = scorer.model(given, prompts, scorer.backbone, noises).scores
        torch.autograd.grad(torch.stack([*scores.values()]).sum(), given)

    reset_peak(device)
    seconds = statistics.median(seconds_of(step, device, repeats))
    return {"seconds": seconds, "peak_bytes": peak_device(device) or peak_resident()}


def matmul_peak(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of the fastest of five products of 4096 x 4096 matrices."""
    side = 4096
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return 2 * side**3 / min(seconds_of(lambda: a @ b, device, 5))


def seconds_of(
    run: Callable[[], Any], device: torch.device, repeats: int, *, warm: bool = True
) -> list[float]:
    """Wall-clock seconds of each of ``repeats`` runs; ``warm``: after one that is not counted."""
    if warm:
        run()
    seconds = []
    for _ in range(repeats):
        synchronise(device)
        began = time.perf_counter()
        run()
        synchronise(device)
        seconds.append(time.perf_counter() - began)
    return seconds


def synchronise(device: torch.device) -> None:
    """Wait for the work that is queued on the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def describe(device: torch.device) -> str:
    """The kind of machine: GPU name, or CPU model, instruction sets and threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        facts = dict(
            line.split(":", 1)
            for line in info.read_text(encoding="utf-8", errors="replace").splitlines()
            if ":" in line
        )
        known = {key.strip(): value.strip() for key, value in facts.items()}
        kind = [f"{key} {known[key]}" for key in ("cpu family", "model") if key in known]
        name = ", ".join([known.get("model name", name), *kind])
    capability = torch.backends.cpu.get_cpu_capability()
    threads = counted(torch.get_num_threads(), "thread")
    return f"{name}, {capability}, {threads} of {os.cpu_count()}"


def versions() -> dict[str, str]:
    """Of what computes: Python, PyTorch, diffusers, transformers and this package."""
    from importlib.metadata import version

    names = ("torch", "diffusers", "transformers", "diffagiqa")
    return {"python": platform.python_version()} | {name: version(name) for name in names}
