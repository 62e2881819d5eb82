"""The losses of a pretraining run as a picture."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

LOOKS: tuple[tuple[str, Any], ...] = (
    ("#0072B2", "-"), ("#D55E00", "--"), ("#009E73", ":"), ("#CC79A7", "-."),
    ("#000000", (0, (5, 1))), ("#E69F00", (0, (3, 1, 1, 1))), ("#56B4E9", (0, (1, 1))),
)  # fmt: skip
"""Okabe and Ito's colours with distinct dashes: readable without colour vision."""


def draw_losses(folder: Path) -> None:
    """``losses.png`` of ``autoencoder.csv`` and ``denoiser.csv``; nothing without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return  # the tables hold the same
    figure = Figure(figsize=(12, 4), layout="constrained")
    for axis, name in zip(figure.subplots(1, 2), ("autoencoder", "denoiser"), strict=True):
        with (folder / f"{name}.csv").open(newline="") as table:
            rows = list(csv.DictReader(table))
        names = [key for key in rows[0] if key not in ("step", "seconds", "loss", "kl", "wrong")]
        minutes = [float(row["seconds"]) / 60 for row in rows]
        for key, (colour, dash) in zip(names, LOOKS, strict=False):
            values = [float(row[key]) for row in rows]
            axis.plot(minutes, values, linestyle=dash, color=colour, label=key)
        axis.set(xlabel="training time (minutes)", ylabel="loss (mean of 20 steps)", title=name)
        axis.set_yscale("log")
        axis.legend(bbox_to_anchor=(1.02, 1), loc="upper left")
    figure.savefig(folder / "losses.png", dpi=110)
