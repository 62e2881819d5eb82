"""Figures that papers print, each with the place it was read in. Nothing here was measured by us.

A figure is here only if its table was at hand. Missing for that reason: KRCC of every method, NIQE and
the other handcrafted metrics, and the table of the AGIQA-3K paper itself: its methods stand here as
one later paper prints them, quoted or run again, and on that paper's splits; all figures on AGIQA-1K
and PKU-AIGIQA-4K; and those of Diff-AGIQA (ICME 2025), whose repository prints none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ACL = (
    "as printed in Chen, Lin and Mai, Bridging Adversarial and Collaborative Learning for AI-Generated "
    "Image Quality Assessment, table {}"
)


@dataclass(frozen=True)
class Published:
    """One method on one database.

    Attributes:
        database: key in ``DATABASES``.
        method: as the paper calls it.
        figures: {(task, metric): value}; metrics as in ``protocol.METRICS``.
        source: paper and table that the figures were read in.
    """

    database: str
    method: str
    figures: Mapping[tuple[str, str], float]
    source: str


def _rows(
    database: str, task: str, table: str, figures: Mapping[str, tuple[float, float]]
) -> tuple[Published, ...]:
    return tuple(
        Published(database, method, {(task, "srcc"): srcc, (task, "plcc"): plcc}, ACL.format(table))
        for method, (srcc, plcc) in figures.items()
    )


PUBLISHED: tuple[Published, ...] = (
    *_rows(
        "agiqa-3k",
        "perception",
        "III",
        {
            "CNNIQA": (0.7478, 0.8469),
            "DBCNN": (0.8207, 0.8759),
            "CLIP-IQA": (0.8426, 0.8053),
            "CLIP-AGIQA": (0.8618, 0.8978),
            "IP-IQA": (0.8634, 0.9116),
            "IPCE": (0.8841, 0.9246),
            "MA-AGIQA": (0.8872, 0.9126),
        },
    ),
    *_rows(
        "agiqa-3k",
        "alignment",
        "III",
        {
            "CLIP": (0.5972, 0.6839),
            "HPS": (0.6623, 0.7008),
            "ImageReward": (0.7298, 0.7862),
            "PickScore": (0.7320, 0.7791),
            "StairReward": (0.7472, 0.8529),
            "IP-IQA": (0.7578, 0.8544),
            "IPCE": (0.7697, 0.8725),
        },
    ),
    *_rows(
        "aigciqa2023",
        "perception",
        "IV",
        {
            "CNNIQA": (0.7160, 0.7937),
            "CLIP-IQA": (0.7802, 0.8140),
            "PSCR": (0.8371, 0.8588),
            "IPCE": (0.8640, 0.8788),
        },
    ),
    *_rows(
        "aigciqa2023",
        "authenticity",
        "IV",
        {
            "CNNIQA": (0.5958, 0.5734),
            "CLIP-IQA": (0.6726, 0.6627),
            "PSCR": (0.7828, 0.7750),
            "IPCE": (0.8097, 0.7998),
        },
    ),
    *_rows(
        "aigciqa2023",
        "alignment",
        "IV",
        {
            "CNNIQA": (0.4758, 0.4937),
            "CLIP-IQA": (0.5799, 0.5702),
            "PSCR": (0.7465, 0.7397),
            "IPCE": (0.7979, 0.7887),
        },
    ),
    *_rows(
        "aigiqa-20k",
        "perception",
        "V",
        {
            "CNNIQA": (0.5968, 0.5913),
            "DBCNN": (0.8506, 0.8688),
            "MUSIQ": (0.8320, 0.8640),
            "Q-Align": (0.8740, 0.8890),
            "MA-AGIQA": (0.8640, 0.9050),
        },
    ),
)


def published(database: str, task: str) -> tuple[Published, ...]:
    """The rows of ``PUBLISHED`` for one task of one database.

    >>> [row.method for row in published("agiqa-3k", "alignment")][:2]
    ['CLIP', 'HPS']
    """
    return tuple(
        row
        for row in PUBLISHED
        if row.database == database and any(key[0] == task for key in row.figures)
    )
