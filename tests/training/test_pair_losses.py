"""Losses on pairs against float64 twins in scipy, their gradients, ties, weights and extremes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import special, stats

from diffagiqa.training.losses import SCALE, bradley_terry_loss, pair_weights, thurstone_loss


@pytest.fixture
def pairs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(0)
    x, y = random.random(60), random.random(60)
    outcome, weight = random.choice([0.0, 0.5, 1.0], 60), random.random(60)
    return tuple(torch.tensor(v, dtype=torch.float64) for v in (x, y, outcome, weight))  # type: ignore[return-value]


@pytest.mark.parametrize("margin", [0.0, 0.05])
def test_bradley_terry_is_cross_entropy_of_the_logistic(pairs: tuple, margin: float) -> None:
    x, y, outcome, weight = (v.numpy() for v in pairs)
    expected = []
    for a, b, p in zip(x, y, outcome, strict=True):
        win = special.expit((a - b - margin * (2 * p - 1)) / SCALE)
        expected.append(-p * np.log(win) - (1 - p) * np.log(1 - win))
    found = bradley_terry_loss(*pairs[:3], margin=margin, weight=pairs[3])
    assert float(found) == pytest.approx(np.average(expected, weights=weight), rel=1e-12)


def test_thurstone_is_the_fidelity_of_the_normal(pairs: tuple) -> None:
    x, y, outcome, _ = (v.numpy() for v in pairs)
    p = stats.norm.cdf((x - y) / np.sqrt(0.1**2 + 0.1**2))
    expected = 1 - np.sqrt(p * outcome) - np.sqrt((1 - p) * (1 - outcome))
    assert float(thurstone_loss(*pairs[:3])) == pytest.approx(expected.mean(), rel=1e-12)


@pytest.mark.parametrize("loss", [bradley_terry_loss, thurstone_loss])
def test_gradients_and_symmetry(pairs: tuple, loss: object) -> None:
    x, y, outcome, weight = pairs
    call = loss
    assert torch.autograd.gradcheck(
        lambda a, b: call(a, b, outcome, weight=weight),  # type: ignore[operator]
        (x.clone().requires_grad_(), y.clone().requires_grad_()),
    )
    mirrored = call(y, x, 1 - outcome)  # type: ignore[operator]
    assert float(call(x, y, outcome)) == pytest.approx(float(mirrored), rel=1e-12)  # type: ignore[operator]


@pytest.mark.parametrize("loss", [bradley_terry_loss, thurstone_loss])
def test_a_tie_pulls_the_scores_together_and_a_win_apart(loss: object) -> None:
    for outcome, sign in ((0.5, 1.0), (1.0, -1.0)):
        x = torch.tensor([0.7], requires_grad=True)
        loss(x, torch.tensor([0.5]), torch.tensor([outcome])).backward()  # type: ignore[operator]
        assert float(torch.sign(x.grad)) == sign  # type: ignore[arg-type]


@pytest.mark.parametrize("loss", [bradley_terry_loss, thurstone_loss])
@pytest.mark.parametrize("outcome", [0.0, 0.5, 1.0])
def test_extremes_stay_finite(loss: object, outcome: float) -> None:
    x = torch.tensor([0.0, 1.0, 50.0, -50.0], requires_grad=True)
    found = loss(x, torch.zeros(4), torch.full((4,), outcome))  # type: ignore[operator]
    found.backward()
    assert torch.isfinite(found)
    assert torch.isfinite(x.grad).all()  # type: ignore[union-attr]
    empty = torch.zeros(0, requires_grad=True)
    nothing = loss(empty, torch.zeros(0), torch.zeros(0))  # type: ignore[operator]
    nothing.backward()
    assert float(nothing.detach()) == 0


def test_a_margin_asks_for_more_and_leaves_ties_alone() -> None:
    first, second = torch.tensor([0.6, 0.5]), torch.tensor([0.5, 0.5])
    won = bradley_terry_loss(first[:1], second[:1], torch.ones(1), margin=0.1)
    assert float(won) == pytest.approx(np.log(2), rel=1e-5)  # the margin is just reached
    tie = torch.full((1,), 0.5)
    assert float(bradley_terry_loss(first[1:], second[1:], tie, margin=0.1)) == pytest.approx(
        float(bradley_terry_loss(first[1:], second[1:], tie))
    )


def test_a_group_of_nine_counts_as_one_pair_does() -> None:
    weights = pair_weights([0] * 36 + [1] + [2], [0] * 36 + [0] + [1], [1.0, 3.0])
    assert float(weights[:36].sum()) == pytest.approx(1)
    assert weights[36:].tolist() == pytest.approx([1, 3])
