"""Names of features and of choices that configurations hold; here nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Fit = Literal["resize", "crop", "pad", "native"]
LongPrompts = Literal["truncate", "chunk", "released"]

RELEASED_FEATURES = (
    "mid_block.attentions.0",
    "up_blocks.1.attentions.0",
    "up_blocks.1.attentions.1",
    "up_blocks.1.attentions.2",
    "up_blocks.2.attentions.0",
)

CONDITION = "condition"
"""Feature of diffusion transformers, (B, C, 1, 1): what modulates every block."""
TEXT = ".text"
"""Ends the names of features of the text tokens, (B, C, 1, L)."""


def query_features(names: Sequence[str]) -> tuple[str, ...]:
    """What a head of queries takes beside layers of image tokens: their text tokens, the condition.

    >>> query_features(["layers.3"])
    ('layers.3', 'layers.3.text', 'condition')
    """
    return (*names, *(name + TEXT for name in names), CONDITION)
