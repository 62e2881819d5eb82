"""Losses on ratings, alone and in relation to each other, and on preferences between two images.

Labels are MOS mapped to [0, 1], NaN where an image has none; missing labels take no part. The relation
term compares images of one database only, since the scales of two databases need not mean the same.

Losses on pairs take scores of the first and the second images, (P,) each, and outcomes, (P,): 1 where the
first is preferred, 0 where the second is, 0.5 for a tie. Scores of n images make all their pairs, so no
image is scored twice: ``scores[pairs.first]``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from diffagiqa.errors import ConfigError
from diffagiqa.training.config import TrainingConfig

SCALE = 0.1
"""Difference of two scores in [0, 1] that is a step of one in the logit of being preferred."""
STD = 0.1
"""Standard deviation of one opinion around the mean, on the scale [0, 1]."""


def plcc_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """(1 - Pearson's r) / 2 of (n,) scores and labels, n >= 2: a scalar in [0, 1].

    >>> float(plcc_loss(torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.2, 0.4, 0.6])))
    0.0
    """
    x, y = scores - scores.mean(), labels - labels.mean()
    # The floor keeps the gradient finite where all scores are equal, as an untrained head's may be.
    r = (x * y).sum() / (x.norm() * y.norm()).clamp_min(1e-6)
    return ((1 - r) / 2).clamp_min(0.0)


def fidelity_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """``thurstone_loss`` of all pairs of (n,) scores; their labels' own p is the outcome (as in UNIQUE,
    Zhang et al., 2021, with a fixed standard deviation). A scalar in [0, 1]."""
    first, second = torch.triu_indices(len(scores), len(scores), 1, device=scores.device)
    outcome = torch.special.ndtr((labels[first] - labels[second]) / (2**0.5 * STD))
    return thurstone_loss(scores[first], scores[second], outcome)


def bradley_terry_loss(
    first: Tensor, second: Tensor, outcome: Tensor, *, margin: float = 0.0,
    weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """-log sigmoid((first - second - margin) / SCALE) where the first is preferred (Bradley, Terry 1952).

    The mirror image of it where the second is preferred; the mean of both, without the margin, for a tie,
    whose minimum is at equal scores.

    Args:
        first: (P,) scores of one image of each pair.
        second: (P,) scores of the other.
        outcome: (P,) 1 where the first is preferred, 0 where the second, 0.5 for a tie.
        margin: by how much the preferred image should win, in units of the scores, 0 or more.
        weight: (P,) of each pair, 0 or more; default: equal.

    Returns:
        Weighted mean over pairs, a scalar of 0 or more; 0 without pairs.
    """
    margin = margin * (2 * outcome - 1)  # type: ignore[assignment]  # towards the preferred image
    logit = (first - second - margin) / SCALE
    loss = -outcome * F.logsigmoid(logit) - (1 - outcome) * F.logsigmoid(-logit)
    return _mean(loss, weight)


def thurstone_loss(
    first: Tensor, second: Tensor, outcome: Tensor, *, weight: Tensor | None = None
) -> Tensor:
    """The fidelity loss (Tsai et al., FRank, 2007) of Thurstone's model, case V with ``STD``.

    p = Phi((first - second) / (sqrt(2) STD)) is how likely the first is preferred. The loss is
    1 - sqrt(p outcome) - sqrt((1 - p) (1 - outcome)), in [0, 1]: 1 - sqrt(p) where it is.

    Args:
        first: (P,) scores of one image of each pair.
        second: (P,) scores of the other.
        outcome: (P,) in [0, 1], the share of people who prefer the first.
        weight: as in ``bradley_terry_loss``.
    """
    z = (first - second) / (2**0.5 * STD)
    # Roots through logarithms: the gradient stays finite where p underflows.
    win, lose = ((torch.special.log_ndtr(side) / 2).exp() for side in (z, -z))
    return _mean(1 - win * outcome.sqrt() - lose * (1 - outcome).sqrt(), weight)


REGRESSION: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": partial(F.mse_loss, reduction="none"),
    "huber": lambda x, y: F.huber_loss(x, y, reduction="none", delta=0.1) / 0.1,
    "l1": partial(F.l1_loss, reduction="none"),
}
"""(n,) scores and labels -> (n,); by ``TrainingConfig.regression``."""
RELATION: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "plcc": plcc_loss,
    "fidelity": fidelity_loss,
}
"""(n,) scores and labels of one database -> a scalar; by ``TrainingConfig.relation``."""
PAIR_LOSSES: Mapping[str, Callable[..., Tensor]] = {
    "bradley-terry": bradley_terry_loss,
    "thurstone": thurstone_loss,
}
"""By ``TrainingConfig.pair_loss``."""


def check_weights(tasks: Sequence[str], databases: Sequence[str], config: TrainingConfig) -> None:
    """Check that there are no weights or one per task, and none or one per database.

    Raises:
        ConfigError: there are more or fewer.
    """
    for name, known in (("task_weights", tasks), ("database_weights", databases)):
        weights = getattr(config, name)
        if weights and len(weights) != len(known):
            raise ConfigError(f"{name} are {weights}; expected one each for {', '.join(known)}")


def ratings_loss(
    scores: Mapping[str, Tensor],
    labels: Tensor,
    sources: Tensor,
    tasks: Sequence[str],
    config: TrainingConfig,
) -> Tensor:
    """The loss of a micro-batch's ratings: over tasks, weighted regression plus weighted relation.

    Args:
        scores: by task, (B,) in [0, 1].
        labels: (B, tasks) in [0, 1], NaN where missing; best on the CPU, where reading them does not
            wait for a GPU.
        sources: (B,) number of each row's database; best on the CPU.
        tasks: names of the columns of ``labels``.
        config: which losses, and their weights.

    Returns:
        A scalar >= 0; tasks without any label add nothing.
    """
    weights = config.task_weights or (1.0,) * len(tasks)
    total = torch.zeros((), device=next(iter(scores.values())).device)
    for column, (task, weight) in enumerate(zip(tasks, weights, strict=True)):
        known = ~labels[:, column].isnan()
        if not known.any():
            continue
        x, source = scores[task][known].float(), sources[known]
        y = labels[known, column].to(x.device)
        by_row = database_weights(source, config)
        regression = _mean(REGRESSION[config.regression](x, y), by_row)
        total = total + weight * config.regression_weight * regression
        if config.relation != "none" and config.relation_weight:
            relation = _within_sources(RELATION[config.relation], x, y, source, config)
            total = total + weight * config.relation_weight * relation
    return total


def database_weights(sources: Tensor, config: TrainingConfig) -> Tensor:
    """(n,) numbers of databases -> (n,) their weights."""
    if not config.database_weights:
        return torch.ones(len(sources))
    return torch.tensor(config.database_weights)[sources]


def _within_sources(
    loss: Callable[[Tensor, Tensor], Tensor], scores: Tensor, labels: Tensor, sources: Tensor,
    config: TrainingConfig,
) -> Tensor:  # fmt: skip
    """Mean of the loss over databases, weighted by their rows; fewer than two rows have no order."""
    total, weights = scores.sum() * 0, torch.zeros(())
    for source, count in zip(*sources.unique(return_counts=True), strict=True):
        if count >= 2:
            members = sources == source
            weight = database_weights(sources[members], config).sum()
            total = total + weight * loss(scores[members], labels[members])
            weights = weights + weight
    return total / weights.clamp_min(1e-12)


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
