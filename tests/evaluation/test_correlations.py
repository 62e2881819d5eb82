"""Correlations against outside oracles, and what they do where they have no value."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torchmetrics.functional as oracle
from scipy import optimize, stats

from diffagiqa.evaluation.correlations import (
    Measure,
    bootstrap_difference,
    bootstrap_interval,
    by_group,
    krcc,
    mae,
    plcc,
    plcc_fitted,
    rmse,
    srcc,
    within_groups,
)


def sample(n: int = 200, noise: float = 0.5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    mos = random.uniform(0, 5, n)
    return mos + noise * random.normal(size=n), mos


def test_measures_agree_with_torchmetrics() -> None:
    predicted, mos = sample()
    x, y = torch.from_numpy(predicted), torch.from_numpy(mos)
    assert srcc(predicted, mos) == pytest.approx(float(oracle.spearman_corrcoef(x, y)), abs=1e-6)
    assert plcc(predicted, mos) == pytest.approx(float(oracle.pearson_corrcoef(x, y)), abs=1e-6)
    assert krcc(predicted, mos) == pytest.approx(
        float(oracle.kendall_rank_corrcoef(x, y)), abs=1e-6
    )
    assert rmse(predicted, mos) == pytest.approx(float(oracle.mean_squared_error(x, y)) ** 0.5)
    assert mae(predicted, mos) == pytest.approx(float(oracle.mean_absolute_error(x, y)))


def test_ties_are_averaged_as_scipy_does() -> None:
    predicted, mos = np.array([1, 1, 2, 3, 3.0]), np.array([1, 2, 2, 3, 4.0])
    assert srcc(predicted, mos) == pytest.approx(stats.spearmanr(predicted, mos).statistic)
    assert krcc(predicted, mos) == pytest.approx(stats.kendalltau(predicted, mos).statistic)


def test_no_value_is_nan_and_bad_input_an_error() -> None:
    for measure in (srcc, plcc, krcc):
        assert math.isnan(measure([1, 1, 1], [1, 2, 3]))
        assert math.isnan(measure([1, 2], [1, 2]))
        with pytest.raises(ValueError, match="expected as many"):
            measure([1, 2, 3], [1, 2])
        with pytest.raises(ValueError, match="NaN or infinity"):
            measure([1, 2, math.nan], [1, 2, 3])


@pytest.mark.parametrize("parameters", [4, 5])
def test_logistic_fit_undoes_a_logistic(parameters: int) -> None:
    random = np.random.default_rng(0)
    predicted = random.uniform(-6, 6, 300)
    mos = 1 + 4 / (1 + np.exp(-1.5 * predicted))
    assert plcc(predicted, mos) < 0.95
    assert plcc_fitted(predicted, mos, parameters).plcc > 0.9999
    assert plcc_fitted(-predicted, mos, parameters).plcc > 0.9999  # a falling curve too


def test_logistic_fit_says_why_it_gives_up() -> None:
    assert "cannot be fitted" in plcc_fitted([1, 2, 3], [1, 2, 3]).reason
    with pytest.raises(ValueError, match="expected 4 or 5"):
        plcc_fitted(*sample(), parameters=3)


def test_interval_covers_about_what_it_says() -> None:
    """95 % intervals of PLCC over many draws of a known population cover its correlation."""
    truth = 1 / math.sqrt(1 + 0.5**2 / (25 / 12))
    hits = 0
    for seed in range(100):
        low, high = bootstrap_interval(plcc, *sample(60, seed=seed), resamples=100, seed=seed)
        hits += low <= truth <= high
    assert 85 <= hits <= 100


def test_group_resampling_is_wider_where_groups_are_alike() -> None:
    predicted, mos = sample(40)
    copies = np.repeat(np.arange(40), 10)
    by_row = bootstrap_interval(srcc, predicted[copies], mos[copies], resamples=200)
    by_group = bootstrap_interval(
        srcc, predicted[copies], mos[copies], resamples=200, groups=copies
    )
    assert by_group[1] - by_group[0] > 2 * (by_row[1] - by_row[0])


def test_paired_difference_sees_what_intervals_apart_do_not() -> None:
    predicted, mos = sample(300)
    worse = predicted + 0.3 * np.random.default_rng(1).normal(size=300)
    low, high = bootstrap_difference(srcc, predicted, worse, mos, resamples=300)
    assert 0 < low < high


def test_within_groups_removes_the_difference_between_groups() -> None:
    random = np.random.default_rng(0)
    groups = np.repeat(["a", "b"], 100)
    level = np.where(groups == "a", 0.0, 10.0)
    predicted, mos = level + random.normal(size=200), level + random.normal(size=200)
    assert plcc(predicted, mos) > 0.9
    assert abs(within_groups(plcc, predicted, mos, groups)) < 0.3
    assert math.isnan(within_groups(plcc, [1, 2], [1, 2], ["a", "b"]))


def test_by_group_is_sorted_and_counts_rows() -> None:
    found = by_group(rmse, [1, 2, 3, 5], [1, 2, 3, 4], ["b", "a", "b", "a"])
    assert list(found) == ["a", "b"]
    assert found["a"] == (pytest.approx(0.5**0.5), 2)
    with pytest.raises(ValueError, match="3 groups and 4 predictions"):
        by_group(rmse, [1, 2, 3, 5], [1, 2, 3, 4], ["b", "a", "b"])


def test_a_fit_that_fails_gives_the_plain_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("too many evaluations")

    monkeypatch.setattr("scipy.optimize.curve_fit", fails)
    predicted, mos = sample()
    found = plcc_fitted(predicted, mos)
    assert found.plcc == pytest.approx(plcc(predicted, mos))
    assert "did not converge (too many evaluations)" in found.reason


def test_pearson_after_the_fit_agrees_with_scipy() -> None:
    """An outside oracle: the 4-parameter curve fitted here on raw predictions, then scipy's Pearson."""
    predicted, mos = sample(seed=3)

    def curve(x: np.ndarray, high: float, low: float, centre: float, scale: float) -> np.ndarray:
        return low + (high - low) / (1 + np.exp(-(x - centre) / abs(scale)))

    start = [mos.max(), mos.min(), predicted.mean(), predicted.std() / 4]
    found, _ = optimize.curve_fit(curve, predicted, mos, p0=start, maxfev=20_000)
    expected = stats.pearsonr(curve(predicted, *found), mos).statistic
    assert plcc_fitted(predicted, mos).plcc == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("measure", [rmse, mae])
def test_errors_of_no_rows_have_no_value(measure: Measure) -> None:
    assert math.isnan(measure([], []))
