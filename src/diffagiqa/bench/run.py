"""All measurements of one device, as plain values."""

from __future__ import annotations

import gc
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from diffagiqa.accel.fold import fold
from diffagiqa.accel.fused import fuse_where_supported
from diffagiqa.accel.products import products_by_onednn
from diffagiqa.accel.winograd import replace_wide_convs
from diffagiqa.bench.files import measure_files
from diffagiqa.bench.memory import measure_memory
from diffagiqa.bench.peak import bandwidth_peak, matmul_peak, median_seconds
from diffagiqa.bench.precision import measure_precision
from diffagiqa.bench.released import ReleasedPath, ladder
from diffagiqa.bench.stages import measure_stages
from diffagiqa.bench.training_step import measure_step
from diffagiqa.data.wording import counted
from diffagiqa.device import choose_device, choose_dtype, default_batch_size, exact_float32
from diffagiqa.model.scoring import build_model, scoring_noise
from diffagiqa.pretrained import locate
from diffagiqa.scorer import Scorer

Log = Callable[[str], None]
Keep = Callable[[dict[str, Any]], None]
PROMPT = "a red fox in a green suit, oil painting"


def bench(
    model: str, *, device: str | None = None, dtype: str | None = None, batch: int | None = None,
    repeats: int = 3, compare: bool = True, training: bool = False, precision: int = 0,
    log: Log = print, keep: Keep = lambda found: None,
) -> dict[str, Any]:  # fmt: skip
    """Measure the model in ``model`` (a folder or hub id): see ``cli.bench`` for what comes out.

    ``keep`` is given what has been found after every part, so that a run that is cut short loses one.
    """
    place = choose_device(device)
    batch = batch or (default_batch_size(place) if place.type == "cuda" else 4)
    config = locate(model).config
    fast = choose_dtype(place, dtype, exact=config.needs_float32)
    name = str(fast).removeprefix("torch.")
    log(f"{describe(place)}, {name}")
    found: dict[str, Any] = {"device": describe(place), "dtype": name, "batch": batch}
    found["image_size"] = config.image_size
    log("memory and start-up, in a process of their own")
    found["memory"] = measure_memory(model, str(place), name)
    found |= _of_the_scorer(model, place, fast, batch, repeats, log)
    keep(found)
    gc.collect()  # models hold on to themselves in circles, and what follows wants the memory
    if compare:
        found |= _against_released(model, place, repeats, log)
        keep(found)
        gc.collect()
    if training:
        # Batch statistics of single values want several pictures; maps have many values.
        count = 4 if place.type == "cuda" or config.pooling == "statistics" else 1
        found["training"] = []
        for row in _training_steps(model, place, name, count, max(1, repeats - 1), log):
            found["training"].append(row)
            keep(found)
    if precision:
        log(f"precision on {counted(precision, 'synthetic picture')}")
        rows = measure_precision(model, str(place), name, precision, config.image_size)
        found |= {"precision_images": precision, "precision": rows}
        keep(found)
    return found


def _of_the_scorer(
    model: str, place: torch.device, dtype: torch.dtype, batch: int, repeats: int, log: Log
) -> dict[str, Any]:
    """Its stages, and its whole: from tensors, with one branch, from files."""
    scorer = Scorer.from_pretrained(model, device=place, dtype=dtype, batch_size=batch)
    size = scorer.config.image_size
    images = torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(0))
    log("stages")
    stages = measure_stages(scorer, images, PROMPT, repeats)
    rate, side = matmul_peak(place, dtype)
    found: dict[str, Any] = {
        "peak": {"flops": rate, "side": side, "bandwidth": bandwidth_peak(place)},
        "stages": [asdict(stage) for stage in stages],
        "fast": [],
    }
    log("the scorer")
    for count in sorted({1, batch}):
        rows = [(image, PROMPT) for image in images[:count]]
        scorer.score_prepared(rows)  # the first of two calls that warm up
        seconds = median_seconds(partial(scorer.score_prepared, rows), place, repeats)
        found["fast"].append({"batch": count, "seconds": seconds / count})
    if len(scorer.model.passes) > 1:
        log("one branch alone")
        single = _first_branch(scorer)
        seconds = median_seconds(partial(single.score_prepared, rows), place, repeats)
        found["one_branch"] = {"batch": batch, "seconds": seconds / batch}
    log("from JPEG files")
    found["files"] = measure_files(scorer, PROMPT, found["fast"][-1]["seconds"])
    return found


def _training_steps(
    model: str, place: torch.device, dtype: str, batch: int, repeats: int, log: Log
) -> Iterator[dict[str, Any]]:
    """Rows for float32 and the fast type: activations kept and recomputed, and on a GPU without the
    fused kernels."""
    for kind in dict.fromkeys(("float32", dtype)):
        for checkpoint, kernels in ((False, False), (False, True), (True, True)):
            if not kernels and place.type != "cuda":
                continue
            how = {"dtype": kind, "checkpoint": checkpoint, "kernels": kernels, "batch": batch}
            log(f"training step, {kind}{', activations recomputed' if checkpoint else ''}"
                f"{'' if kernels else ', without fused kernels'}")  # fmt: skip
            step = measure_step(model, str(place), kind, checkpoint, kernels, batch, repeats)
            yield how | step


def _first_branch(scorer: Scorer) -> Scorer:
    """A scorer of the first task only; its heads' weights are random, which costs the same."""
    config = replace(scorer.config, tasks=scorer.config.tasks[:1])
    model = fold(build_model(config).eval(), scorer.backbone.dtype)
    return Scorer(model, scorer.backbone, batch_size=scorer.batch_size)


def _released_path(model: str, device: torch.device) -> ReleasedPath:
    """The model and the whole networks of its backbone, in float32."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from diffagiqa.backbones.folder import load_backbone
    from diffagiqa.pretrained import load_model

    located = locate(model)
    trained = load_model(located.folder).to(device)
    config, place = located.config, located.backbone
    backbone = load_backbone(str(place), config.unet_names, device=device)
    whole: Any = UNet2DConditionModel.from_pretrained(place / "unet", torch_dtype=torch.float32)
    backbone.unet = whole = whole.to(device).eval().requires_grad_(False)
    replace_wide_convs(whole)
    fuse_where_supported(whole, device)
    products_by_onednn(whole)
    vae: Any = AutoencoderKL.from_pretrained(place / "vae", torch_dtype=torch.float32)
    encoder = vae.encoder.to(device).eval().requires_grad_(False)
    return ReleasedPath(trained, backbone, encoder, whole, scoring_noise(config, backbone, 0)[0])


def _against_released(model: str, device: torch.device, repeats: int, log: Log) -> dict[str, Any]:
    """``ladder``: seconds per image and scores of the released path and of each step away from it, in
    float32. ``pyramid_and_head``: the seconds of these parts of one branch, plain and fast.
    """
    path = _released_path(model, device)
    size = path.model.config.image_size
    image = torch.rand(3, size, size, generator=torch.Generator().manual_seed(0)).to(device)
    rows: list[dict[str, Any]] = []
    rungs = ladder(device.type)
    for title, steps in rungs:
        log(title)
        with exact_float32(device):
            scores = {task: float(value) for task, value in path(image, PROMPT, steps).items()}
            seconds = median_seconds(partial(path, image, PROMPT, steps), device, repeats)
        first = rows[0]["scores"] if rows else scores
        change = max(abs(scores[task] - first[task]) for task in scores)
        rows.append({"title": title, "seconds": seconds, "scores": scores, "change": change})
    found: dict[str, Any] = {"ladder": rows}
    if device.type == "cuda":
        released = partial(path, image, PROMPT, rungs[0][1])
        found["released_tf32"] = median_seconds(released, device, repeats)
    log("pyramid and head alone")
    features = path.one_branch(image, PROMPT)
    with exact_float32(device):
        found["pyramid_and_head"] = {
            name: median_seconds(
                partial(path.pyramid_and_head, features, steps), device, 3 * repeats
            )
            for name, steps in (("plain", rungs[0][1]), ("fast", rungs[-1][1]))
        }
    return found


def describe(device: torch.device) -> str:
    """The kind of machine: GPU name, or CPU model and threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
        models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        name = models[0] if models else name
    return f"{name}, {counted(torch.get_num_threads(), 'thread')} of {os.cpu_count()}"
