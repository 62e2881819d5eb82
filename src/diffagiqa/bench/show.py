"""Measurements -> Markdown tables and the roofline plot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffagiqa.data.wording import counted
from diffagiqa.evaluation.tables import markdown


def tables(found: Mapping[str, Any]) -> str:
    """Every measurement as Markdown."""
    parts = [
        f"{found['device']}; {found['image_size']} x {found['image_size']} pixels, fast path in "
        f"{found['dtype']}."
    ]
    if "ladder" in found:
        parts.append(_ladder(found))
    parts += _ratios(found)
    peak = found["peak"]["flops"]
    stages = found["stages"]
    seconds, flop = (sum(stage[name] for stage in stages) for name in ("seconds", "flop"))
    whole = {"name": "together", "seconds": seconds, "flop": flop}
    unit = _Unit(seconds)
    rows = [
        [
            stage["name"], unit(stage["seconds"]), f"{stage['flop'] / 1e12:.3g}",
            f"{stage['flop'] / stage['seconds'] / 1e12:.3g}",
            f"{stage['flop'] / stage['seconds'] / peak:.0%}",
        ]
        for stage in [*stages, whole]
    ]  # fmt: skip
    head = ["stage (all branches)", f"{unit.name} per image", "TFLOP", "TFLOP/s"]
    parts.append(markdown([*head, "of measured matmul peak"], rows))
    side = found["peak"]["side"]
    parts.append(
        f"Matrix products of {side} x {side} reach {peak / 1e12:.3g} TFLOP/s, copies "
        f"{found['peak']['bandwidth'] / 1e9:.1f} GB/s."
    )
    parts.append(_end_to_end(found, flop, peak))
    memory = found["memory"]
    text = (
        f"A process that loads the model and scores one image: {memory['peak_gb']:.2f} GB peak "
        f"resident, {memory['load_seconds']:.1f} s to load, {memory['first_score_seconds']:.1f} s to "
        "the first score."
    )
    if "peak_device_gb" in memory:
        text += f" On the GPU: {memory['peak_device_gb']:.2f} GB."
    parts.append(text)
    if "training" in found:
        parts.append(_training(found))
    if "precision" in found:
        parts.append(_precision(found))
    return "\n\n".join(parts) + "\n"


class _Unit:
    """Seconds as text, in the unit that fits the largest of them."""

    def __init__(self, largest: float) -> None:
        self.name, self.scale = ("s", 1.0) if largest >= 1 else ("ms", 1e3)

    def __call__(self, seconds: float) -> str:
        value = seconds * self.scale
        return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def _ladder(found: Mapping[str, Any]) -> str:
    first = found["ladder"][0]["seconds"]
    unit = _Unit(first)
    rows = [
        [
            row["title"],
            unit(row["seconds"]),
            f"{first / row['seconds']:.2f}",
            f"{row['change']:.1e}",
        ]
        for row in found["ladder"]
    ]
    for row in found["fast"]:
        title = f"the scorer: {found['dtype']}, batch of {row['batch']}"
        rows.append([title, unit(row["seconds"]), f"{first / row['seconds']:.2f}", ""])
    head = ["path", f"{unit.name} per image", "times as fast", "largest change of a score"]
    text = markdown(head, rows)
    if "released_tf32" in found:
        loose, fast = found["released_tf32"], found["fast"][-1]["seconds"]
        text += (
            "\n\nWith PyTorch's own setting, TF32 in convolutions, the released path takes "
            f"{unit(loose)} {unit.name}: the scorer is {loose / fast:.2f} times as fast as that."
        )
    return text


def _end_to_end(found: Mapping[str, Any], flop: float, peak: float) -> str:
    """Whole rates: from tensors, with their transfer, and from files."""
    fast, files = found["fast"][-1], found["files"]
    rate = flop / fast["seconds"]
    return (
        f"From tensors in the computer's memory, batches of {fast['batch']}: {1 / fast['seconds']:.3g} "
        f"images/s, {rate / 1e12:.3g} TFLOP/s, {rate / peak:.0%} of the matrix products' rate. From "
        f"{counted(files['images'], 'JPEG file')} to a table of scores: "
        f"{1 / files['seconds']:.3g} images/s, {fast['seconds'] / files['seconds']:.0%} of that."
    )


def _ratios(found: Mapping[str, Any]) -> list[str]:
    sentences = []
    if "pyramid_and_head" in found:
        plain, fast = (found["pyramid_and_head"][name] for name in ("plain", "fast"))
        unit = _Unit(plain)
        sentences.append(
            f"Pyramid and head alone, one branch, float32: {unit(plain)} {unit.name} plain, "
            f"{unit(fast)} {unit.name} fast, {plain / fast:.2f} times as fast."
        )
    if "one_branch" in found:
        one = found["one_branch"]["seconds"]
        both = found["fast"][-1]["seconds"]
        unit = _Unit(one)
        sentences.append(
            f"One branch alone, {found['dtype']}, batch of {found['one_branch']['batch']}: {unit(one)} "
            f"{unit.name} per image; all branches cost {both / one:.2f} times that."
        )
    return sentences


def _training(found: Mapping[str, Any]) -> str:
    steps = found["training"]
    unit = _Unit(max([row.get("seconds", 0.0) for row in steps]))
    fused = any(not row["kernels"] for row in steps)
    rows = []
    for row in steps:
        cells = (
            ["failed", ""] if "failed" in row else [unit(row["seconds"]), f"{row['peak_gb']:.1f}"]
        )
        how = [("fused" if row["kernels"] else "plain")] if fused else []
        rows.append([row["dtype"], *how, "recomputed" if row["checkpoint"] else "kept", *cells])
    head = [f"training step, batch of {steps[0]['batch']}", *["residual blocks"] * fused]
    return markdown([*head, "activations", f"{unit.name} per image", "peak GB"], rows)


def _precision(found: Mapping[str, Any]) -> str:
    rows = [
        [task, f"{row['largest']:.4f}", f"{row['mean']:.4f}", f"{row['srcc']:.4f}",
         f"{row['spread']:.3f}"]
        for task, row in found["precision"].items()
    ]  # fmt: skip
    title = (
        f"{found['dtype']} against float32, {counted(found['precision_images'], 'synthetic image')}"
    )
    head = [title, "largest difference", "mean difference", "SRCC", "deviation of the scores"]
    return markdown(head, rows)


def _two_or_five(tick: str) -> str:
    """The label of a minor tick: 2, 5, 0.2 and the like, which leave room to each other.

    >>> [_two_or_five(tick) for tick in ("0.02", "0.09", "50")]
    ['0.02', '', '50']
    """
    return tick if tick.strip("0.") in ("2", "5") else ""


def roofline(found: Mapping[str, Any], file: Path) -> bool:
    """FLOP per byte against FLOP/s of every stage, under what the device can do at most.

    False, and no file, without matplotlib: the tables hold the same.
    """
    import numpy as np

    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import FuncFormatter
    except ImportError:
        return False

    peak, bandwidth = found["peak"]["flops"], found["peak"]["bandwidth"]
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    stages = [stage for stage in found["stages"] if stage["flop"]]
    points = [(s["flop"] / s["bytes_moved"], s["flop"] / s["seconds"]) for s in stages]
    low = min([x for x, _ in points] + [peak / bandwidth]) / 3
    high = max([x for x, _ in points] + [peak / bandwidth]) * 3
    x = np.geomspace(low, high, 200)
    axes.loglog(x, np.minimum(peak, x * bandwidth) / 1e12, color="black", label="measured limits")
    unit = _Unit(sum(stage["seconds"] for stage in stages))
    colours = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito
    markers = "osD^vP"
    for number, (stage, (at, rate)) in enumerate(zip(stages, points, strict=True)):
        axes.plot(
            at, rate / 1e12, markers[number % 6], color=colours[number % 6], markersize=9,
            linestyle="none", label=f"{stage['name']}, {unit(stage['seconds'])} {unit.name}",
        )  # fmt: skip
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: _two_or_five(f"{value:g}")))
    axes.set_xlabel("arithmetic intensity (FLOP per byte)")
    axes.set_ylabel("throughput (TFLOP/s)")
    axes.set_title(f"{found['device']}, {found['dtype']}", fontsize=9)
    axes.grid(True, which="both", alpha=0.25)
    axes.legend(fontsize=8, loc="lower right")
    figure.savefig(file, dpi=120)
    return True
