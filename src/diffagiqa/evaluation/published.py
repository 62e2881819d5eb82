"""Figures that papers print, with the place they were read in, and how each was split. None is ours.

``published.csv`` holds them. A figure is there only if its table was at hand, or a note of it. So KRCC of
every method is missing, NIQE and other handcrafted metrics, all figures on AGIQA-1K and PKU-AIGIQA-4K,
and those of Diff-AGIQA (ICME 2025), whose repository prints none.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SOURCES: Mapping[str, str] = {
    "acl": "Chen, Lin and Mai, Bridging Adversarial and Collaborative Learning for AI-Generated Image "
    "Quality Assessment, tables III to V",
    "acl8": "the same paper's table VIII",
    "m3": "Cui et al., M3-AGIQA, arXiv:2502.15167, table of comparisons",
    "noted": "noted in 2026 from the method's paper; look its table up before citing it",
    "hps": "Wu et al., Human Preference Score v2, arXiv:2306.09341, and its repository",
}
PROTOCOLS: Mapping[str, str] = {
    "ipce": "IPCE's split: 0 of 597 test prompts in training; best epoch on the test fold",
    "image3k": "by image: 597 of 597 test prompts in training",
    "image2023": "by image: 480 of 480 test prompts in training",
    "quoted": "quoted or run again by that paper, which does not say on which split",
    "cross": "trained on AGIQA-3K",
    "pairs": "official test set",
    "unknown": "not known",
}
COMPARABLE = {"ipce", "pairs"}
"""Protocols near ours; even under IPCE's the choice of the epoch is to the figure's advantage."""
METRICS = ("srcc", "plcc", "accuracy")


@dataclass(frozen=True)
class Published:
    """One method on one task of one database.

    Attributes:
        method: as the paper calls it.
        figures: by metric: "srcc", "plcc", or "accuracy" of pairs.
        source: paper and table that the figures were read in.
        protocol: how it was split, as counted in the published split files where they are known.
        comparable: whether that is near our split by prompt.
    """

    method: str
    figures: Mapping[str, float]
    source: str
    protocol: str
    comparable: bool


def published(database: str, task: str) -> list[Published]:
    """The published results on one task of one database, a key of ``DATABASES``.

    >>> [row.method for row in published("agiqa-3k", "alignment") if row.comparable]
    ['IPCE', 'ACL-IQA']
    """
    file = Path(__file__).with_name("published.csv")
    with file.open(encoding="utf-8", newline="") as lines:
        rows = [
            row
            for row in csv.DictReader(lines)
            if (row["database"], row["task"]) == (database, task)
        ]
    return [
        Published(
            row["method"],
            {metric: float(row[metric]) for metric in METRICS if row[metric]},
            SOURCES[row["source"]],
            PROTOCOLS[row["protocol"]],
            row["protocol"] in COMPARABLE,
        )
        for row in rows
    ]
