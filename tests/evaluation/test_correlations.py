"""Correlations against outside oracles, and what they do where they have no value."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torchmetrics.functional as oracle
from scipy import optimize, stats

from diffagiqa.errors import ConfigError, TableError
from diffagiqa.evaluation import correlations
from diffagiqa.evaluation.correlations import (
    Measure,
    bootstrap_interval,
    by_group,
    krcc,
    mae,
    mean_within,
    plcc,
    plcc_fitted,
    rmse,
    srcc,
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
        with pytest.raises(TableError, match="expected as many"):
            measure([1, 2, 3], [1, 2])
        with pytest.raises(TableError, match="NaN or infinity"):
            measure([1, 2, math.nan], [1, 2, 3])


@pytest.mark.parametrize("parameters", [4, 5])
def test_logistic_fit_undoes_a_logistic(parameters: int) -> None:
    random = np.random.default_rng(0)
    predicted = random.uniform(-6, 6, 300)
    mos = 1 + 4 / (1 + np.exp(-1.5 * predicted))
    assert plcc(predicted, mos) < 0.95
    assert plcc_fitted(predicted, mos, parameters).plcc > 0.9999
    assert plcc_fitted(-predicted, mos, parameters).plcc > 0.9999  # a falling curve too


def test_the_fifth_parameter_is_a_line() -> None:
    """A logistic that rises on a line that falls: no logistic alone follows it."""
    predicted = np.linspace(-6, 6, 100)
    mos = 6 / (1 + np.exp(-3 * predicted)) - predicted
    assert plcc_fitted(predicted, mos, 4).plcc < 0.9
    assert plcc_fitted(predicted, mos, 5).plcc > 0.9999


def test_logistic_fit_says_why_it_gives_up() -> None:
    as_many = plcc_fitted([1, 2, 3, 4], [1, 2, 3, 5])
    assert math.isnan(as_many.plcc)
    assert as_many.reason == "4 rows cannot be fitted by 4 parameters"
    with pytest.raises(ConfigError, match="expected 4 or 5"):
        plcc_fitted(*sample(), parameters=3)
    with pytest.raises(ConfigError, match="expected 4 or 5"):
        plcc_fitted([1, 1, 1], [1, 2, 3], parameters=3)  # whatever the rows


@pytest.mark.parametrize("level", [0.95, 0.8])
@pytest.mark.parametrize("grouped", [False, True])
def test_interval_is_scipys_percentile_bootstrap(grouped: bool, level: float) -> None:
    """Of a mean; of groups of one size, it is the bootstrap of the groups' means."""
    units = np.exp(np.linspace(0, 3, 30))  # skewed, so that both bounds count, and the last unit
    rows = np.repeat(units, 4) if grouped else units
    found = bootstrap_interval(
        lambda x, _: float(x.mean()), rows, rows, resamples=8000, level=level,
        groups=np.repeat(np.arange(30), 4) if grouped else None,
    )  # fmt: skip
    oracle = stats.bootstrap(
        (units,), np.mean, method="percentile", confidence_level=level, n_resamples=8000,
        random_state=0,
    ).confidence_interval  # fmt: skip
    assert found == pytest.approx((oracle.low, oracle.high), abs=0.2)  # 3.8 and 2.5 wide


def test_fewer_than_ten_rows_have_no_interval() -> None:
    predicted, mos = sample(10)
    assert all(map(math.isfinite, bootstrap_interval(plcc, predicted, mos, resamples=20)))
    assert all(map(math.isnan, bootstrap_interval(plcc, predicted[:9], mos[:9], resamples=20)))


def test_resamples_without_a_value_are_left_out_of_an_interval() -> None:
    """A third of the resamples miss the only row that differs: a constant side has no correlation."""
    predicted = np.zeros(20)
    predicted[-1] = 1
    low, high = bootstrap_interval(plcc, predicted, np.arange(20), resamples=200)
    assert 0 < low < high < 1


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
    low, high = bootstrap_interval(
        lambda x, y, mos: srcc(x, mos) - srcc(y, mos), predicted, worse, mos, resamples=300
    )
    assert 0 < low < high


def test_within_groups_removes_the_difference_between_groups() -> None:
    random = np.random.default_rng(0)
    groups = np.repeat(["a", "b"], 100)
    level = np.where(groups == "a", 0.0, 10.0)
    predicted, mos = level + random.normal(size=200), level + random.normal(size=200)
    assert plcc(predicted, mos) > 0.9
    assert abs(mean_within(by_group(plcc, predicted, mos, groups))) < 0.3
    assert math.isnan(mean_within(by_group(plcc, [1, 2], [1, 2], ["a", "b"])))


def test_groups_count_by_their_rows() -> None:
    assert mean_within(by_group(mae, [0, 1, 1, 1], [0, 0, 0, 0], ["a", "b", "b", "b"])) == 0.75


def test_by_group_is_sorted_and_counts_rows() -> None:
    found = by_group(rmse, [1, 2, 3, 5], [1, 2, 3, 4], ["b", "a", "b", "a"])
    assert list(found) == ["a", "b"]
    assert found["a"] == (pytest.approx(0.5**0.5), 2)
    with pytest.raises(TableError, match="3 groups and 4 predictions"):
        by_group(rmse, [1, 2, 3, 5], [1, 2, 3, 4], ["b", "a", "b"])


def weak(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Few rows, hardly related: normal, opinions with ties, scores with ties, scores in a narrow band."""
    random = np.random.default_rng(seed)
    n = int(random.choice([6, 8, 12, 20, 50, 200]))
    predicted = random.normal(size=n)
    mos = random.choice([0, 0.05, 0.1, 0.2, 0.4, 1.0]) * predicted + random.normal(size=n)
    kinds = {
        0: (predicted, mos),
        1: (predicted, np.round(mos)),
        2: (np.round(2 * predicted) / 2, mos),
        3: (0.45 + predicted / 100, mos),
    }
    return kinds[seed % 4]


@pytest.mark.parametrize("parameters", [4, 5])
def test_a_fit_is_never_below_no_fit(parameters: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line is the limit of logistics, so a best one is at least as good; of 300 weak cases."""
    monkeypatch.setattr(correlations, "MAX_CALLS", 2000)  # runaway ones would take minutes
    for seed in range(300):
        predicted, mos = weak(seed)
        found = plcc_fitted(predicted, mos, parameters)
        assert found.plcc >= abs(plcc(predicted, mos)) - 1e-6, seed
        again = plcc_fitted(predicted, mos, parameters)
        # Where a runaway fit is cut off depends on the sums' last bits, and those on where arrays lie.
        assert found.plcc == pytest.approx(again.plcc, abs=1e-6), seed
        assert found.reason == again.reason, seed


def test_a_fit_that_was_good_is_the_same() -> None:
    """Of related rows, the one start that is usual finds what several find."""
    for seed in range(40):
        predicted, mos = sample(100 + 5 * seed, 0.5 + seed / 20, seed)
        if seed % 2:
            predicted = 1 / (1 + np.exp(2.5 - predicted))
        x = (predicted - predicted.mean()) / predicted.std()
        start = [mos.max(), mos.min(), 0.0, 1.0]
        found, _ = optimize.curve_fit(correlations._logistic4, x, mos, p0=start, maxfev=20_000)
        usual = plcc(correlations._logistic4(x, *found), mos)
        assert plcc_fitted(predicted, mos).plcc == pytest.approx(usual, abs=1e-6), seed


def test_fits_of_too_few_or_equal_rows_have_no_value() -> None:
    for predicted, mos in (
        ([1, 1, 1, 1, 1, 1], range(6)),
        (range(6), [2] * 6),
        (range(3), [1, 3, 2]),
    ):
        for parameters in (4, 5):
            found = plcc_fitted(predicted, mos, parameters)
            assert math.isnan(found.plcc)
            assert found.reason


def test_a_flat_fit_gives_the_plain_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    flat = np.array([2.0, 2.0, 0.0, 1.0])  # from 2 up to 2
    monkeypatch.setattr("scipy.optimize.leastsq", lambda *_, **__: (flat,))
    predicted, mos = sample()
    found = plcc_fitted(predicted, mos)
    assert found == (
        pytest.approx(plcc(predicted, mos)),
        "the fit is flat; the plain figure is given",
    )


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
