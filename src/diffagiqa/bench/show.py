"""Measurements -> Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffagiqa.evaluation.tables import markdown

GB = 1e9


def tables(results: Mapping[str, Any]) -> str:
    """What ``bench`` found, as Markdown: a sentence for the whole, and a table of the stages."""
    seconds, process = results["seconds_per_image"], results["process"]
    libraries = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    lines = [
        f"{results['machine']}; {libraries}",
        "",
        f"{results['backbone']}, {results['dtype']}, {results['image_size']} pixels, batches of "
        f"{results['batch']}: **{1 / seconds:.3g} images/s** from tensors, "
        f"{1 / results['seconds_per_file']:.3g} images/s from JPEG files.",
    ]
    for way, name in (("released", "Released path"), ("accelerators", "Without accelerators")):
        if old := results.get(way):
            lines += [
                "",
                f"{name}: {_time(old['seconds'])} per image; the scorer is **{old['ratio']:.2f} times as "
                f"fast** (median of pairs, {old['least']:.2f} to {old['most']:.2f}).",
            ]
    lines += [
        "",
        f"A process that loads the model and scores one image: {process['peak_gb']:.2f} GB peak, "
        f"{process['load_seconds']:.1f} s to load, "
        f"{process['first_score_seconds']:.1f} s to the first score.",
    ]
    if "training" in results:
        step = results["training"]
        lines += [
            "",
            f"A training step through the backbone, one image: {_time(step['seconds'])}, "
            f"{step['peak_bytes'] / GB:.1f} GB.",
        ]
    return "\n".join([*lines, "", _stages(results), ""])


def comparison(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """Two runs side by side, as Markdown; the ratio is the first's seconds over the second's."""
    rows = [
        ["machine", first["machine"], second["machine"], ""],
        ["dtype", first["dtype"], second["dtype"], ""],
        _pair("image, from tensors", first["seconds_per_image"], second["seconds_per_image"]),
        _pair("image, from JPEG files", first["seconds_per_file"], second["seconds_per_file"]),
    ]
    others = {stage["name"]: stage["seconds"] for stage in second["stages"]}
    rows += [
        _pair(stage["name"], stage["seconds"], others[stage["name"]])
        for stage in first["stages"]
        if stage["name"] in others
    ]
    if "released" in first and "released" in second:
        old, new = first["released"]["ratio"], second["released"]["ratio"]
        rows.append(["times the released path", f"{old:.2f}", f"{new:.2f}", ""])
    return markdown(["", "A", "B", "A / B"], rows)


def _stages(results: Mapping[str, Any]) -> str:
    peak = results["peak_flops"]
    rows = [
        [
            stage["name"],
            _time(stage["seconds"]),
            f"{stage['flop'] / 1e12:.3g}" if stage["flop"] else "",
            f"{stage['flop'] / stage['seconds'] / peak:.0%}" if stage["flop"] else "",
            f"{stage['peak_bytes'] / GB:.2f}" if stage["peak_bytes"] else "",
        ]
        for stage in results["stages"]
    ]
    head = ["stage, per image", "time", "TFLOP", f"of {peak / 1e12:.3g} TFLOP/s", "peak GB"]
    return markdown(head, rows)


def _pair(name: str, first: float, second: float) -> list[str]:
    ratio = f"{first / second:.2f}" if second else ""
    return [name, _time(first), _time(second), ratio]


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"
