"""Losses against scipy and against the definition, written out pair by pair."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from scipy import stats
from torch.utils._python_dispatch import TorchDispatchMode

from diffagiqa.errors import ConfigError
from diffagiqa.training.config import Regression, Relation, TrainingConfig
from diffagiqa.training.losses import (
    REGRESSION,
    RELATION,
    STD,
    check_weights,
    fidelity_loss,
    plcc_loss,
    ratings_loss,
)

SCORES = torch.tensor([0.1, 0.7, 0.4, 0.9, 0.35])
LABELS = torch.tensor([0.2, 0.5, 0.6, 0.8, 0.2])
NAN = float("nan")


def test_plcc_is_scipys() -> None:
    r = stats.pearsonr(SCORES.numpy(), LABELS.numpy()).statistic
    assert float(plcc_loss(SCORES, LABELS)) == pytest.approx((1 - r) / 2, abs=1e-6)


def test_fidelity_pair_by_pair() -> None:
    def better(values: torch.Tensor, i: int, j: int) -> float:
        return float(stats.norm.cdf(float(values[i] - values[j]), scale=2**0.5 * STD))

    each = []
    for i, j in itertools.combinations(range(5), 2):
        p, q = better(SCORES, i, j), better(LABELS, i, j)
        each.append(1 - (p * q) ** 0.5 - ((1 - p) * (1 - q)) ** 0.5)
    assert float(fidelity_loss(SCORES, LABELS)) == pytest.approx(np.mean(each), abs=1e-6)


@pytest.mark.parametrize(
    ("regression", "by_hand"),
    [
        ("mse", (0.05**2 + 0.3**2) / 2),
        ("l1", (0.05 + 0.3) / 2),
        ("huber", (0.05**2 / 2 / 0.1 + 0.3 - 0.1 / 2) / 2),  # a parabola up to 0.1, then a line
    ],
)
def test_regression_by_hand(regression: str, by_hand: float) -> None:
    config = TrainingConfig(regression=regression, relation="none")  # type: ignore[arg-type]
    scores, labels = torch.tensor([0.5, 0.5]), torch.tensor([0.45, 0.8])[:, None]
    loss = ratings_loss({"a": scores}, labels, torch.zeros(2), ("a",), config)
    assert float(loss) == pytest.approx(config.regression_weight * by_hand)


@pytest.mark.parametrize("relation", ["none", "plcc", "fidelity"])
@pytest.mark.parametrize("regression", ["mse", "huber", "l1"])
def test_missing_labels_take_no_part(regression: str, relation: str) -> None:
    """The loss is that of the labelled rows alone, and an unlabelled row gets no gradient."""
    config = TrainingConfig(regression=regression, relation=relation)  # type: ignore[arg-type]
    scores = {"a": SCORES.clone().requires_grad_(), "b": SCORES.flip(0).clone().requires_grad_()}
    labels = torch.stack([LABELS, torch.tensor([NAN, 0.3, NAN, 0.8, 0.15])], 1)
    sources = torch.zeros(5, dtype=torch.long)
    loss = ratings_loss(scores, labels, sources, ("a", "b"), config)
    loss.backward()
    known = [1, 3, 4]
    alone = {"a": SCORES, "b": SCORES.flip(0)[known]}
    first = ratings_loss({"a": alone["a"]}, labels[:, :1], sources, ("a",), config)
    second = ratings_loss({"b": alone["b"]}, labels[known, 1:], sources[known], ("b",), config)
    assert loss.item() == pytest.approx((first + second).item(), abs=1e-6)
    assert scores["b"].grad is not None
    assert scores["b"].grad[[0, 2]].tolist() == [0, 0]
    assert scores["b"].grad[known].abs().min() > 0


def test_no_label_at_all_gives_zero() -> None:
    loss = ratings_loss(
        {"a": SCORES}, torch.full((5, 1), NAN), torch.zeros(5), ("a",), TrainingConfig()
    )
    assert float(loss) == 0.0


def test_databases_are_not_ranked_against_each_other() -> None:
    """Two databases in perfect order each, shifted against each other: no relation loss remains."""
    config = TrainingConfig(regression_weight=0, relation="plcc", relation_weight=1)
    scores = torch.tensor([0.1, 0.2, 0.3, 0.7, 0.8, 0.9])
    labels = torch.tensor([0.7, 0.8, 0.9, 0.1, 0.2, 0.3])[:, None]
    sources = torch.tensor([0, 0, 0, 1, 1, 1])
    apart = ratings_loss({"a": scores}, labels, sources, ("a",), config)
    as_one = ratings_loss({"a": scores}, labels, torch.zeros(6), ("a",), config)
    assert float(apart) == pytest.approx(0, abs=1e-6)
    assert float(as_one) > 0.5


def test_databases_count_by_their_rows_and_a_lone_row_has_no_order() -> None:
    """Three rows in perfect order, two in the wrong one, and one by itself."""
    config = TrainingConfig(regression_weight=0, relation="plcc", relation_weight=0.5)
    scores = torch.tensor([0.1, 0.2, 0.3, 0.9, 0.8, 0.5])
    labels = torch.tensor([0.1, 0.2, 0.3, 0.1, 0.2, 0.9])[:, None]
    sources = torch.tensor([0, 0, 0, 1, 1, 2])
    loss = ratings_loss({"a": scores}, labels, sources, ("a",), config)
    assert float(loss) == pytest.approx(0.5 * (3 * 0 + 2 * 1) / 5, abs=1e-6)


@pytest.mark.parametrize("relation", ["none", "plcc", "fidelity"])
def test_no_loss_is_read_before_it_is_whole(relation: str) -> None:
    """Reading a number waits for all that a GPU has queued; labels are looked at on the CPU."""

    class NoNumberRead(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            if func is torch.ops.aten._local_scalar_dense.default:
                assert not args[0].is_floating_point()
            return func(*args, **(kwargs or {}))

    config = TrainingConfig(relation=relation)  # type: ignore[arg-type]
    labels = torch.stack([LABELS, LABELS], 1)
    scores = {"a": SCORES, "b": SCORES}
    with NoNumberRead():
        ratings_loss(scores, labels, torch.tensor([0, 0, 0, 1, 1]), ("a", "b"), config)


def test_every_loss_can_be_configured() -> None:
    assert get_args(Regression) == tuple(REGRESSION)
    assert get_args(Relation) == ("none", *RELATION)


def test_task_weights() -> None:
    labels = torch.stack([LABELS, LABELS], 1)
    sources = torch.zeros(5, dtype=torch.long)
    config = TrainingConfig(task_weights=(1.0, 0.0))
    both = ratings_loss({"a": SCORES, "b": SCORES * 0}, labels, sources, ("a", "b"), config)
    one = ratings_loss({"a": SCORES}, labels[:, :1], sources, ("a",), TrainingConfig())
    assert float(both) == pytest.approx(float(one))


def test_databases_count_by_their_weights() -> None:
    """A weight of 2 is every row of that database twice; a weight of 0 leaves it out."""
    scores, labels = SCORES[:4], LABELS[:4, None]
    sources = torch.tensor([0, 0, 1, 1])
    twice = torch.tensor([0, 1, 2, 2, 3, 3])
    for relation in ("none", "plcc"):
        config = TrainingConfig(relation=relation)  # type: ignore[arg-type]
        weighted = replace(config, database_weights=(1.0, 2.0))
        found = ratings_loss({"a": scores}, labels, sources, ("a",), weighted)
        wanted = ratings_loss({"a": scores[twice]}, labels[twice], sources[twice], ("a",), config)
        assert float(found) == pytest.approx(float(wanted), abs=1e-6)
        alone = replace(config, database_weights=(1.0, 0.0))
        found = ratings_loss({"a": scores}, labels, sources, ("a",), alone)
        wanted = ratings_loss({"a": scores[:2]}, labels[:2], sources[:2], ("a",), config)
        assert float(found) == pytest.approx(float(wanted), abs=1e-6)


def test_task_weights_are_as_many_as_the_tasks() -> None:
    with pytest.raises(ConfigError, match="expected one each for perception, alignment"):
        check_weights(["perception", "alignment"], ["a"], TrainingConfig(task_weights=(1.0,)))
    with pytest.raises(ConfigError, match=r"database_weights are .* expected one each for a, b"):
        check_weights(["perception"], ["a", "b"], TrainingConfig(database_weights=(1.0,)))


@pytest.mark.parametrize("loss", [plcc_loss, fidelity_loss])
def test_equal_scores_have_a_finite_gradient(loss) -> None:  # type: ignore[no-untyped-def]
    scores = torch.full((5,), 0.5, requires_grad=True)
    loss(scores, LABELS).backward()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()
