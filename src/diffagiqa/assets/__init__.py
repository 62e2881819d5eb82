"""Small image files of the package's own, with their prompts."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

DEMO = Path(__file__).parent / "demo"


class DemoImage(NamedTuple):
    """A file, the prompt it was drawn for, and whether it is "clean" or "damaged"."""

    path: Path
    prompt: str
    condition: str


def demo_images() -> list[DemoImage]:
    """The drawn images of ``diffagiqa demo``: clean ones, and damaged copies of some of them."""
    with (DEMO / "prompts.csv").open(encoding="utf-8", newline="") as table:
        return [
            DemoImage(DEMO / row["image"], row["prompt"], row["condition"])
            for row in csv.DictReader(table)
        ]
