"""Choices against scores: scipy's tau, counts by hand, intervals that cover, and what is left out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from diffagiqa.data.preferences import PreferenceGroup
from diffagiqa.errors import ConfigError
from diffagiqa.evaluation.pairs import evaluate_pairs, pair_texts, preference_score


def test_accuracy_and_ties_by_hand() -> None:
    groups = [
        PreferenceGroup((0, 1), (1, 2)),  # right
        PreferenceGroup((2, 3), (1, 2)),  # wrong
        PreferenceGroup((0, 4), (2, 1)),  # equal scores: half
        PreferenceGroup((1, 3), (1, 1)),  # a tie
        PreferenceGroup((0, 5), (1, 2)),  # no score
    ]
    scores = [0.9, 0.1, 0.2, 0.6, 0.9, np.nan]
    found = evaluate_pairs(scores, groups, ["a"] * 6, ["x", "y", "x", "y", "y", "y"])
    assert (found.pairs, found.ties, found.unscored) == (3, 1, 1)
    assert found.accuracy.value == pytest.approx(0.5)
    assert found.tie_gap == pytest.approx(0.5)
    assert found.gap == pytest.approx((0.8 + 0.4 + 0) / 3)
    assert found.accuracy.low is None  # one prompt
    (pair,) = found.generators
    assert (pair.first, pair.second, pair.pairs) == ("x", "y", 3)
    assert pair.people == pytest.approx(2 / 3)
    assert pair.scores == pytest.approx((1 + 0 + 0.5) / 3)
    assert pair.accuracy == pytest.approx(0.5)
    text = "\n".join(pair_texts(found))
    assert "3 decided pairs of 1 prompt, no interval" in text
    assert "1 tie apart: mean score difference 0.5000, 0.4000 in decided pairs" in text
    assert "1 pair left out: an image has no score" in text


def test_tau_and_best_of_n_are_scipys_and_numpys() -> None:
    random = np.random.default_rng(0)
    groups, scores = [], random.integers(0, 4, 200).astype(float)  # many equal scores
    for i in range(25):
        ranks = random.integers(0, 5, 8)
        groups.append(PreferenceGroup(tuple(range(8 * i, 8 * i + 8)), tuple(map(float, ranks))))
    prompts = [f"prompt {i // 8}" for i in range(200)]
    found = evaluate_pairs(scores, groups, prompts, resamples=200)
    taus = [stats.kendalltau(scores[list(g.rows)], [-r for r in g.ranks]).statistic for g in groups]
    assert found.tau.value == pytest.approx(np.nanmean(taus), abs=1e-12)
    hits = []
    for group in groups:
        own = scores[list(group.rows)]
        top = np.flatnonzero(own == own.max())
        hits.append(np.mean([group.ranks[i] == min(group.ranks) for i in top]))
    assert found.best.value == pytest.approx(np.mean(hits))
    assert found.best_chance == pytest.approx(np.mean([len(g.best) / 8 for g in groups]))
    assert found.tau.low < found.tau.value < found.tau.high  # type: ignore[operator]


def test_a_group_without_an_order_has_no_tau() -> None:
    tied = PreferenceGroup((0, 1), (1, 1))
    found = evaluate_pairs([0.1, 0.2], [tied], ["a", "a"])
    assert found.tau.value is None
    assert found.accuracy.value is None
    assert found.best.value == 1
    assert "accuracy no value" in pair_texts(found)[1]


def test_intervals_resample_prompts_and_not_pairs() -> None:
    """Within a prompt all pairs are right or all wrong: the interval is that of 40 coins."""
    random = np.random.default_rng(1)
    right = random.random(40) < 0.7
    groups = [PreferenceGroup(tuple(range(9 * i, 9 * i + 9)), tuple(range(9))) for i in range(40)]
    scores = np.concatenate([np.arange(9) * (-1 if r else 1) for r in right])
    prompts = np.repeat([f"prompt {i}" for i in range(40)], 9).tolist()
    found = evaluate_pairs(scores, groups, prompts)
    oracle = stats.bootstrap(
        (right,), np.mean, method="percentile", random_state=0, n_resamples=1000
    )
    assert found.accuracy.value == pytest.approx(right.mean())
    assert found.accuracy.low == pytest.approx(oracle.confidence_interval.low, abs=0.051)
    assert found.accuracy.high == pytest.approx(oracle.confidence_interval.high, abs=0.051)


def test_the_score_that_a_choice_is_about() -> None:
    scores = {"perception": 0.2, "alignment": 0.6}
    assert preference_score(scores, "alignment") == 0.6
    assert preference_score(scores, "preference") == pytest.approx(0.4)
    assert preference_score(scores | {"preference": 0.9}, "preference") == 0.9
    with pytest.raises(ConfigError, match="people chose by authenticity, and there are scores of"):
        preference_score(scores, "authenticity")
