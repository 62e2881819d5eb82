"""Losses on pairs: of two images of one prompt, people preferred one, or neither.

Every function takes scores of the first and the second images, (P,) each, and outcomes, (P,): 1 where
the first is preferred, 0 where the second is, 0.5 for a tie. Scores of n images make all their pairs, so
no image is scored twice: ``scores[pairs.first]``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

SCALE = 0.1
"""Difference of two scores in [0, 1] that is a step of one in the logit of being preferred."""
STD = 0.1
"""Standard deviation of one opinion around the mean, on the scale [0, 1]."""


def bradley_terry_loss(
    first: Tensor, second: Tensor, outcome: Tensor, *, margin: float = 0.0, scale: float = SCALE,
    weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """-log sigmoid((first - second - margin) / scale) where the first is preferred (Bradley, Terry 1952).

    The mirror image of it where the second is preferred; the mean of both, without the margin, for a tie,
    whose minimum is at equal scores.

    Args:
        first, second, outcome: (P,), as above.
        margin: by how much the preferred image should win, in units of the scores, 0 or more.
        scale: see ``SCALE``.
        weight: (P,) of each pair, 0 or more; default: equal.

    Returns:
        Weighted mean over pairs, a scalar of 0 or more; 0 without pairs.
    """
    margin = margin * (2 * outcome - 1)  # type: ignore[assignment]  # towards the preferred image
    logit = (first - second - margin) / scale
    loss = -outcome * F.logsigmoid(logit) - (1 - outcome) * F.logsigmoid(-logit)
    return _mean(loss, weight)


def thurstone_loss(
    first: Tensor, second: Tensor, outcome: Tensor, *, std: Tensor | float = STD,
    weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The fidelity loss (Tsai et al., FRank, 2007) of Thurstone's model (case V with one ``std``).

    p = Phi((first - second) / sqrt(sum of both variances)) is how likely the first is preferred.
    The loss is 1 - sqrt(p outcome) - sqrt((1 - p) (1 - outcome)), in [0, 1]: 1 - sqrt(p) where it is.

    Args:
        first, second, outcome: (P,), as above.
        std: of one opinion, a number; or (P, 2) of both images' scores.
        weight: as in ``bradley_terry_loss``.
    """
    spread = std.square().sum(1).sqrt() if isinstance(std, Tensor) else 2**0.5 * std
    z = (first - second) / spread
    # Roots through logarithms: the gradient stays finite where p underflows.
    win, lose = ((torch.special.log_ndtr(side) / 2).exp() for side in (z, -z))
    return _mean(1 - win * outcome.sqrt() - lose * (1 - outcome).sqrt(), weight)


PAIR_LOSSES: Mapping[str, Callable[..., Tensor]] = {
    "bradley-terry": bradley_terry_loss,
    "thurstone": thurstone_loss,
}


def pair_weights(
    groups: Sequence[int] | Tensor, sources: Sequence[int] | Tensor, source_weights: Sequence[float]
) -> Tensor:
    """(P,) weights: every group of a database counts as much as another, however many pairs it has.

    Args:
        groups: (P,) number of each pair's group.
        sources: (P,) number of each pair's database.
        source_weights: of each database, 0 or more.

    >>> pair_weights([0, 0, 1], [0, 0, 1], [1.0, 2.0]).tolist()
    [0.5, 0.5, 2.0]
    """
    groups, sources = torch.as_tensor(groups), torch.as_tensor(sources)
    _, number, counts = groups.unique(return_inverse=True, return_counts=True)
    return torch.tensor(source_weights, dtype=torch.float32)[sources] / counts[number]


def _mean(loss: Tensor, weight: Tensor | None) -> Tensor:
    if weight is None:
        weight = torch.ones_like(loss)
    weight = weight.to(loss)
    return (weight * loss).sum() / weight.sum().clamp_min(1e-12)
