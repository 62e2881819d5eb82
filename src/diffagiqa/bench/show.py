"""Measurements -> Markdown tables and the roofline plot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
    rows = [
        [
            stage["name"], f"{stage['seconds']:.3f}", f"{stage['flop'] / 1e12:.3f}",
            f"{stage['flop'] / stage['seconds'] / 1e12:.2f}",
            f"{stage['flop'] / stage['seconds'] / peak:.0%}",
        ]
        for stage in found["stages"]
    ]  # fmt: skip
    seconds = sum(stage["seconds"] for stage in found["stages"])
    flop = sum(stage["flop"] for stage in found["stages"])
    rows.append(
        ["together", f"{seconds:.3f}", f"{flop / 1e12:.3f}", f"{flop / seconds / 1e12:.2f}",
         f"{flop / seconds / peak:.0%}"]
    )  # fmt: skip
    head = ["stage (all branches)", "s per image", "TFLOP", "TFLOP/s", "of measured matmul peak"]
    parts.append(markdown(head, rows))
    parts.append(
        f"Matrix products of 4096 x 4096 reach {peak / 1e12:.2f} TFLOP/s, copies "
        f"{found['peak']['bandwidth'] / 1e9:.1f} GB/s."
    )
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


def _ladder(found: Mapping[str, Any]) -> str:
    first = found["ladder"][0]["seconds"]
    rows = [
        [row["title"], f"{row['seconds']:.2f}", f"{first / row['seconds']:.2f}",
         f"{row['change']:.1e}"]
        for row in found["ladder"]
    ]  # fmt: skip
    for row in found["fast"]:
        title = f"the scorer: {found['dtype']}, batch of {row['batch']}"
        rows.append([title, f"{row['seconds']:.2f}", f"{first / row['seconds']:.2f}", ""])
    return markdown(["path", "s per image", "times as fast", "largest change of a score"], rows)


def _ratios(found: Mapping[str, Any]) -> list[str]:
    sentences = []
    if "pyramid_and_head" in found:
        plain, fast = (found["pyramid_and_head"][name] for name in ("plain", "fast"))
        sentences.append(
            f"Pyramid and head alone, one branch, float32: {plain:.3f} s plain, {fast:.3f} s fast, "
            f"{plain / fast:.2f} times as fast."
        )
    if "one_branch" in found:
        one = found["one_branch"]["seconds"]
        both = found["fast"][-1]["seconds"]
        sentences.append(
            f"One branch alone, {found['dtype']}, batch of {found['one_branch']['batch']}: {one:.2f} s "
            f"per image; all branches cost {both / one:.2f} times that."
        )
    return sentences


def _training(found: Mapping[str, Any]) -> str:
    rows = []
    for row in found["training"]:
        cells = (
            ["failed", ""]
            if "failed" in row
            else [f"{row['seconds']:.1f}", f"{row['peak_gb']:.1f}"]
        )
        rows.append([row["dtype"], "recomputed" if row["checkpoint"] else "kept", *cells])
    return markdown(["training step", "activations", "s per image", "peak GB"], rows)


def _precision(found: Mapping[str, Any]) -> str:
    rows = [
        [task, f"{row['largest']:.4f}", f"{row['mean']:.4f}", f"{row['srcc']:.4f}",
         f"{row['spread']:.3f}"]
        for task, row in found["precision"].items()
    ]  # fmt: skip
    title = f"{found['dtype']} against float32, {found['precision_images']} made pictures"
    head = [title, "largest difference", "mean difference", "SRCC", "deviation of the scores"]
    return markdown(head, rows)


def roofline(found: Mapping[str, Any], file: Path) -> None:
    """FLOP per byte against FLOP/s of every stage, under what the device can do at most."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np
    from matplotlib.ticker import FuncFormatter

    peak, bandwidth = found["peak"]["flops"], found["peak"]["bandwidth"]
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    stages = [stage for stage in found["stages"] if stage["flop"]]
    points = [(s["flop"] / s["bytes_moved"], s["flop"] / s["seconds"]) for s in stages]
    low = min([x for x, _ in points] + [peak / bandwidth]) / 3
    high = max([x for x, _ in points] + [peak / bandwidth]) * 3
    x = np.geomspace(low, high, 200)
    axes.loglog(x, np.minimum(peak, x * bandwidth) / 1e12, color="black", label="measured limits")
    colours = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito
    markers = "osD^vP"
    for number, (stage, (at, rate)) in enumerate(zip(stages, points, strict=True)):
        axes.plot(
            at, rate / 1e12, markers[number % 6], color=colours[number % 6], markersize=9,
            linestyle="none", label=f"{stage['name']}, {stage['seconds']:.3f} s",
        )  # fmt: skip
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_major_formatter(plain)
    axes.yaxis.set_minor_formatter(plain)
    axes.set_xlabel("arithmetic intensity (FLOP per byte)")
    axes.set_ylabel("throughput (TFLOP/s)")
    axes.set_title(f"{found['device']}, {found['dtype']}", fontsize=9)
    axes.grid(True, which="both", alpha=0.25)
    axes.legend(fontsize=8, loc="lower right")
    figure.savefig(file, dpi=120)
    plt.close(figure)
