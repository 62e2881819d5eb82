"""What people preferred: images of one prompt in an order, from which pairs follow.

A database of preferences is a table of images, as one of ratings is, and groups of its rows. An image
that stands in several groups or pairs is one row: it is scored once, and pairs are made of scores.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffagiqa.errors import TableError

PREFERENCE = "preference"


@dataclass(frozen=True, slots=True)
class PreferenceGroup:
    """Images of one prompt, in the order that people put them in.

    Attributes:
        rows: (n,) positions of the images in their table, n >= 2, all different.
        ranks: (n,) finite; the lower, the better; equal ranks are a tie.
        task: the score that was judged: "perception", "alignment", or "preference", which is both.
        spread: where ranks are ratings with the sign turned: standard deviation of one opinion, in their
            unit. Then training learns which share of people would choose an image (``pairs_of``).

    Raises:
        TableError: fewer than two images, one twice, or not one finite rank per image.

    >>> PreferenceGroup((4, 7), (2.0, 1.0)).best
    (7,)
    """

    rows: tuple[int, ...]
    ranks: tuple[float, ...]
    task: str = PREFERENCE
    spread: float = 0.0

    def __post_init__(self) -> None:
        if len(self.rows) < 2 or len(set(self.rows)) != len(self.rows):
            raise TableError("it compares fewer than two different images; give two or more")
        if len(self.ranks) != len(self.rows) or not all(map(math.isfinite, self.ranks)):
            raise TableError(
                f"it has {len(self.rows)} images and the ranks {list(self.ranks)}; "
                "give one number per image"
            )

    @property
    def best(self) -> tuple[int, ...]:
        """The rows that nobody preferred another to; several where the best are tied."""
        first = min(self.ranks)
        return tuple(r for r, rank in zip(self.rows, self.ranks, strict=True) if rank == first)


class Pairs(NamedTuple):
    """All pairs of some groups; arrays of one length P, int64 and float64."""

    first: NDArray[np.int64]
    """Positions of the first image of each pair among the rows (or scores) that groups index."""
    second: NDArray[np.int64]
    outcome: NDArray[np.float64]
    """1.0 where the first is preferred, 0.0 where the second is, 0.5 for a tie; or a share between."""
    group: NDArray[np.int64]
    """Number of the group that the pair is of."""


def pairs_of(groups: Sequence[PreferenceGroup], shares: bool = False) -> Pairs:
    """The n (n - 1) / 2 pairs of every group of n.

    ``shares``: of a group with a ``spread``, outcomes are the shares of people who would choose the first
    by Thurstone's model, Phi(difference / (sqrt(2) spread)).

    >>> pairs_of([PreferenceGroup((5, 6, 7), (1, 2, 2))]).outcome.tolist()
    [1.0, 1.0, 0.5]
    """
    from scipy.special import ndtr

    parts = []
    for number, group in enumerate(groups):
        i, j = np.triu_indices(len(group.rows), 1)
        rows, ranks = np.array(group.rows, np.int64), np.array(group.ranks, np.float64)
        ahead = ranks[j] - ranks[i]
        if shares and group.spread:
            outcome = ndtr(ahead / (2**0.5 * group.spread))
        else:
            outcome = (1 + np.sign(ahead)) / 2
        parts.append((rows[i], rows[j], outcome, np.full(len(i), number, np.int64)))
    if not parts:
        nothing = np.zeros(0, np.int64)
        return Pairs(nothing, nothing, np.zeros(0), nothing)
    return Pairs(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def renumbered(
    groups: Iterable[PreferenceGroup], positions: Mapping[int, int]
) -> tuple[PreferenceGroup, ...]:
    """The groups of some rows only: {row before: row now}. What is left of one may be none.

    >>> renumbered([PreferenceGroup((0, 1, 2), (1, 2, 3))], {0: 0, 2: 1})
    (PreferenceGroup(rows=(0, 1), ranks=(1, 3), task='preference', spread=0.0),)
    """
    changed = []
    for group in groups:
        both = [(positions[r], k) for r, k in zip(group.rows, group.ranks, strict=True)
                if r in positions]  # fmt: skip
        if len(both) > 1:
            rows, ranks = zip(*both, strict=True)
            changed.append(replace(group, rows=rows, ranks=ranks))
    return tuple(changed)
