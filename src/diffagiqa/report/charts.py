"""Charts of a report, as SVG that stands in the page as an image: nothing in it can run."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np

from diffagiqa.data.wording import counted

if TYPE_CHECKING:
    import pandas as pd

# Okabe and Ito's colours, told apart without colour vision; hatches and marks repeat the difference.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
WIDTH = 5.0  # inches: readable when shrunk to a phone's width, and not too coarse on a desk's
POINTS = 5000
MARKS = ("o", "s", "^", "D", "v", "P", "X")


def histogram(rows: pd.DataFrame, tasks: tuple[str, ...]) -> str:
    """Distribution of every score, as a data URI."""
    figure, axes = _figure(WIDTH, 0.9 + 1.3 * len(tasks), len(tasks))
    for axis, task, colour in zip(axes, tasks, COLOURS, strict=False):
        values = rows[task].dropna().to_numpy()
        axis.hist(
            values, bins=np.linspace(0, 1, 41), color=colour, edgecolor="white", linewidth=0.4
        )
        axis.axvline(np.median(values), color="black", linewidth=1.2, linestyle="--")
        axis.set_ylabel("images")
        axis.yaxis.get_major_locator().set_params(integer=True)
        axis.set_title(
            f"{task}: half of the images are above {np.median(values):.2f} (dashed)",
            fontsize=9.5, loc="left", parse_math=False,
        )  # fmt: skip
        axis.set_xlim(0, 1)
    axes[-1].set_xlabel("score, 0 to 1")
    return _data_uri(figure)


def scatter(rows: pd.DataFrame, tasks: tuple[str, ...], groups: pd.Series) -> str:
    """The first score against the second, one mark per group; at most ``POINTS``, taken evenly."""
    figure, (axis,) = _figure(WIDTH, 4.3, 1)
    step = max(1, -(-len(rows) // POINTS))
    rows, groups = rows.iloc[::step], groups.iloc[::step]
    names = groups.value_counts().index.tolist()
    shown = names if len(names) <= len(COLOURS) else names[: len(COLOURS) - 1]
    for name, colour, mark in zip(shown, COLOURS, MARKS, strict=False):
        part = rows[groups == name]
        axis.plot(
            part[tasks[0]], part[tasks[1]], mark, color=colour, markersize=5, alpha=0.65,
            markeredgewidth=0, label=_short(name),
        )  # fmt: skip
    if len(shown) < len(names):
        part = rows[~groups.isin(shown)]
        label = counted(len(names) - len(shown), "other")
        axis.plot(part[tasks[0]], part[tasks[1]], ".", color="#777777", label=label)
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axis.set_xlabel(f"{tasks[0]}, 0 to 1", parse_math=False)
    axis.set_ylabel(f"{tasks[1]}, 0 to 1", parse_math=False)
    if len(names) > 1:
        legend = figure.legend(loc="outside upper left", ncols=3, fontsize=9, frameon=False)
        for text in legend.get_texts():
            text.set_parse_math(False)
    return _data_uri(figure)


def _figure(width: float, height: float, panels: int) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = np.atleast_1d(figure.subplots(panels, 1, sharex=True))
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", color="#dddddd", linewidth=0.6)
        axis.set_axisbelow(True)
    return figure, axes


def _data_uri(figure: Any) -> str:
    import matplotlib

    stream = io.BytesIO()
    # Fixed salt and no date: the same scores give the same bytes.
    with matplotlib.rc_context({"svg.hashsalt": "diffagiqa"}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(stream.getvalue()).decode()


def _short(text: str) -> str:
    return text if len(text) <= 28 else text[:27] + "…"
