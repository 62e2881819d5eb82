"""Scores and labels -> one loss: regression plus an optional relation term, on correlation or order.

Labels are MOS mapped to [0, 1], NaN where an image has none; missing labels take no part. The relation
term compares images of one database only, since the scales of two databases need not mean the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from diffagiqa.errors import ConfigError
from diffagiqa.training.config import TrainingConfig

MARGIN = 0.05
"""Of ``margin_loss``, on the scale [0, 1]: half of one grade of a ten-grade scale."""
THURSTONE_STD = 0.1
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


def margin_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Pairwise hinge: the mean of relu(MARGIN - sign(dy) dx) over pairs whose labels differ.

    (n,) scores and labels; dx and dy are a pair's differences of scores and labels. A scalar >= 0.
    """
    dx, dy = _pairs(scores), _pairs(labels)
    different = dy != 0
    loss = F.relu(MARGIN - torch.sign(dy) * dx) * different
    return loss.sum() / different.sum().clamp_min(1)


def fidelity_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Mean over pairs of 1 - sqrt(p p*) - sqrt((1-p)(1-p*)) (Tsai et al., FRank, 2007), in [0, 1].

    (n,) scores and labels. By Thurstone's model, p = Phi(dx / (sqrt(2) * THURSTONE_STD)) is the
    probability that the first image of a pair is judged better (as in UNIQUE, Zhang et al., 2021, with a
    fixed standard deviation); dx is the difference of their scores; p* is the same of their labels.
    """
    p, target = (
        torch.special.ndtr(_pairs(v) / (2**0.5 * THURSTONE_STD)).clamp(1e-4, 1 - 1e-4)
        for v in (scores, labels)
    )
    return (1 - (p * target).sqrt() - ((1 - p) * (1 - target)).sqrt()).mean()


REGRESSION: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": partial(F.mse_loss, reduction="none"),
    "huber": lambda x, y: F.huber_loss(x, y, reduction="none", delta=0.1) / 0.1,
    "l1": partial(F.l1_loss, reduction="none"),
}
"""(n,) scores and labels -> (n,); by ``TrainingConfig.regression``."""
RELATION: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "plcc": plcc_loss,
    "margin": margin_loss,
    "fidelity": fidelity_loss,
}
"""(n,) scores and labels of one database -> a scalar; by ``TrainingConfig.relation``."""


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
        by_row = database_weights(source, config).to(x)
        regression = (by_row * REGRESSION[config.regression](x, y)).sum() / _positive(by_row.sum())
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
    total, weights = scores.sum() * 0, 0.0
    for source in sources.unique():
        members = sources == source
        count = int(members.sum())
        if count >= 2:
            weight = count * (
                config.database_weights[int(source)] if config.database_weights else 1.0
            )
            total = total + weight * loss(scores[members], labels[members])
            weights += weight
    return total / max(weights, 1e-12)


def _positive(total: Tensor) -> Tensor:
    return total.clamp_min(1e-12)


def _pairs(values: Tensor) -> Tensor:
    first, second = torch.triu_indices(len(values), len(values), 1, device=values.device)
    return values[first] - values[second]
