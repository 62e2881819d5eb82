"""Figures that papers print, with the place they were read in, and how each was split. None is ours.

A figure is here only if its table was at hand, or a note of it. Missing for that reason: KRCC of every
method, NIQE and other handcrafted metrics, all figures on AGIQA-1K and PKU-AIGIQA-4K, and those of
Diff-AGIQA (ICME 2025), whose repository prints none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

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
COMPARABLE = {"ipce"}
"""Protocols near ours, by prompt. Even there the choice of the epoch is to the figure's advantage."""

_CORRELATIONS: Mapping[tuple[str, str], tuple[tuple[str, float, float | None, str, str], ...]] = {
    ("agiqa-3k", "perception"): (
        ("CNNIQA", 0.7478, 0.8469, "quoted", "acl"),
        ("DBCNN", 0.8207, 0.8759, "quoted", "acl"),
        ("CLIP-IQA", 0.8426, 0.8053, "quoted", "acl"),
        ("CLIP-AGIQA", 0.8618, 0.8978, "image3k", "acl"),
        ("IP-IQA", 0.8634, 0.9116, "quoted", "acl"),
        ("FGA-BLIP2", 0.866, None, "unknown", "noted"),
        ("LIQE", 0.874, None, "unknown", "noted"),
        ("LMM4LMM", 0.874, None, "unknown", "noted"),
        ("Q-Align, fine-tuned", 0.806, None, "unknown", "noted"),
        ("IPCE", 0.8841, 0.9246, "ipce", "acl"),
        ("MA-AGIQA, as run by ACL-IQA", 0.8872, 0.9126, "quoted", "acl"),
        ("MA-AGIQA, its own figure", 0.8939, 0.9273, "image3k", "m3"),
        ("ACL-IQA", 0.897, None, "ipce", "acl"),
        ("SF-IQA", 0.9024, 0.9314, "unknown", "m3"),
        ("M3-AGIQA", 0.9045, 0.9317, "image3k", "m3"),
    ),
    ("agiqa-3k", "alignment"): (
        ("CLIP", 0.5972, 0.6839, "quoted", "acl"),
        ("HPS", 0.6623, 0.7008, "quoted", "acl"),
        ("FGA-BLIP2", 0.709, None, "unknown", "noted"),
        ("ImageReward", 0.7298, 0.7862, "quoted", "acl"),
        ("PickScore", 0.7320, 0.7791, "quoted", "acl"),
        ("LIQE", 0.734, None, "unknown", "noted"),
        ("StairReward", 0.7472, 0.8529, "quoted", "acl"),
        ("IP-IQA", 0.7578, 0.8544, "quoted", "acl"),
        ("IPCE", 0.7697, 0.8725, "ipce", "acl"),
        ("Q-Align, fine-tuned", 0.782, None, "unknown", "noted"),
        ("ACL-IQA", 0.783, None, "ipce", "acl"),
        ("LMM4LMM", 0.830, None, "unknown", "noted"),
        ("SF-IQA", 0.8454, 0.9072, "unknown", "m3"),
        ("M3-AGIQA", 0.8523, 0.9142, "image3k", "m3"),
    ),
    ("aigciqa2023", "perception"): (
        ("CNNIQA", 0.7160, 0.7937, "quoted", "acl"),
        ("CLIP-IQA", 0.7802, 0.8140, "quoted", "acl"),
        ("PSCR", 0.8371, 0.8588, "quoted", "acl"),
        ("M3-AGIQA", 0.8618, 0.8922, "unknown", "m3"),
        ("IPCE", 0.8640, 0.8788, "image2023", "acl"),
    ),
    ("aigciqa2023", "authenticity"): (
        ("CNNIQA", 0.5958, 0.5734, "quoted", "acl"),
        ("CLIP-IQA", 0.6726, 0.6627, "quoted", "acl"),
        ("PSCR", 0.7828, 0.7750, "quoted", "acl"),
        ("IPCE", 0.8097, 0.7998, "image2023", "acl"),
        ("M3-AGIQA", 0.8282, 0.8165, "unknown", "m3"),
    ),
    ("aigciqa2023", "alignment"): (
        ("CNNIQA", 0.4758, 0.4937, "quoted", "acl"),
        ("CLIP-IQA", 0.5799, 0.5702, "quoted", "acl"),
        ("PSCR", 0.7465, 0.7397, "quoted", "acl"),
        ("IPCE", 0.7979, 0.7887, "image2023", "acl"),
        ("M3-AGIQA", 0.8060, 0.7973, "unknown", "m3"),
    ),
    ("aigiqa-20k", "perception"): (
        ("CNNIQA", 0.5968, 0.5913, "quoted", "acl"),
        ("MUSIQ", 0.8320, 0.8640, "quoted", "acl"),
        ("DBCNN", 0.8506, 0.8688, "quoted", "acl"),
        ("MA-AGIQA", 0.8640, 0.9050, "unknown", "acl"),
        ("Q-Align", 0.8740, 0.8890, "quoted", "acl"),
        ("M3-AGIQA", 0.8988, 0.9292, "unknown", "m3"),
        ("SF-IQA", 0.9009, 0.9268, "unknown", "m3"),
        ("IPCE", 0.9076, 0.9274, "unknown", "m3"),
    ),
    ("evalmi-50k", "perception"): (
        ("LIQE", 0.18, None, "cross", "acl8"),
        ("MA-AGIQA", 0.29, None, "cross", "acl8"),
        ("IPCE", 0.51, None, "cross", "acl8"),
        ("ACL-IQA", 0.61, None, "cross", "acl8"),
    ),
    ("evalmi-50k", "alignment"): (
        ("IPCE", 0.32, None, "cross", "acl8"),
        ("ACL-IQA", 0.44, None, "cross", "acl8"),
    ),
}
_ACCURACIES = (
    ("ImageReward", 0.740), ("aesthetic predictor", 0.768), ("a single person", 0.781),
    ("PickScore", 0.798), ("HPS v2.1", 0.841),
)  # fmt: skip


@dataclass(frozen=True)
class Published:
    """One method on one task of one database.

    Attributes:
        database: key in ``DATABASES``.
        method: as the paper calls it.
        figures: {(task, metric): value}; metrics as in ``protocol.METRICS``, or "accuracy" of pairs.
        source: paper and table that the figures were read in.
        protocol: how it was split, as counted in the published split files where they are known.
        comparable: whether that is near our split by prompt.
    """

    database: str
    method: str
    figures: Mapping[tuple[str, str], float]
    source: str
    protocol: str
    comparable: bool


def _rows() -> Iterator[Published]:
    for (database, task), rows in _CORRELATIONS.items():
        for method, srcc, plcc, protocol, source in rows:
            figures = {(task, "srcc"): srcc} | ({} if plcc is None else {(task, "plcc"): plcc})
            near = protocol in COMPARABLE
            yield Published(database, method, figures, SOURCES[source], PROTOCOLS[protocol], near)
    for method, accuracy in _ACCURACIES:
        figures = {("preference", "accuracy"): accuracy}
        yield Published("hpdv2", method, figures, SOURCES["hps"], PROTOCOLS["pairs"], True)


PUBLISHED: tuple[Published, ...] = tuple(_rows())


def published(database: str, task: str) -> tuple[Published, ...]:
    """The rows of ``PUBLISHED`` for one task of one database.

    >>> [row.method for row in published("agiqa-3k", "alignment") if row.comparable]
    ['IPCE', 'ACL-IQA']
    """
    return tuple(
        row
        for row in PUBLISHED
        if row.database == database and any(key[0] == task for key in row.figures)
    )
