"""Agreement of predicted scores with mean opinion scores (MOS), by the field's usual measures.

Every function takes two (n,) arrays, predictions first; measures return a float. A correlation of
fewer than three rows, or with a constant side, is undefined: NaN. Inputs that hold NaN or infinity,
are not numeric or differ in length raise ``TableError``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize, stats

from diffagiqa import checks
from diffagiqa.data.wording import counted
from diffagiqa.errors import ConfigError, TableError

Measure = Callable[[Any, Any], float]
MEASURE = "a function of predictions and opinion scores, such as srcc"
MIN_GROUPS = 10
"""Groups, or rows, below which there is no interval: few prompts, resampled, are the same ones."""
MAX_CALLS = 20_000
"""Of the curve, in a fit from the usual start: 0.3 s for 200 rows. Most converge within some 50."""
ALMOST_LINEAR = 0.002
"""The largest exponent at which a logistic is a line to one part in three million."""


def srcc(predicted: Any, mos: Any) -> float:
    """Spearman's rank correlation coefficient, in [-1, 1].

    >>> srcc([0.1, 0.2, 0.9], [1, 2, 3])
    1.0
    """
    x, y = _pair(predicted, mos)
    return float("nan") if _undefined(x, y) else float(stats.spearmanr(x, y).statistic)


def plcc(predicted: Any, mos: Any) -> float:
    """Pearson's linear correlation coefficient, in [-1, 1], without a fitted mapping."""
    x, y = _pair(predicted, mos)
    return float("nan") if _undefined(x, y) else float(stats.pearsonr(x, y).statistic)


def krcc(predicted: Any, mos: Any) -> float:
    """Kendall's rank correlation coefficient, tau-b, in [-1, 1]."""
    x, y = _pair(predicted, mos)
    return float("nan") if _undefined(x, y) else float(stats.kendalltau(x, y).statistic)


def rmse(predicted: Any, mos: Any) -> float:
    """Root mean squared error, in units of the MOS scale; NaN without rows."""
    x, y = _pair(predicted, mos)
    return float(np.sqrt(np.mean((x - y) ** 2))) if len(x) else float("nan")


def mae(predicted: Any, mos: Any) -> float:
    """Mean absolute error, in units of the MOS scale; NaN without rows."""
    x, y = _pair(predicted, mos)
    return float(np.mean(np.abs(x - y))) if len(x) else float("nan")


class FittedPLCC(NamedTuple):
    """PLCC after a logistic mapping, in [-1, 1] or NaN."""

    plcc: float
    reason: str = ""
    """Why the mapping could not be fitted, "" where it was."""


def plcc_fitted(predicted: Any, mos: Any, parameters: int = 4) -> FittedPLCC:
    """Pearson's correlation after mapping the predictions to the MOS scale by a logistic curve.

    The curve is fitted to the same rows that it is evaluated on, so the result is above ``plcc`` by
    design, and reported separately. Least squares may stop at a bad curve: it starts from several,
    one of them almost a line, and the best counts.

    Args:
        predicted: (n,).
        mos: (n,).
        parameters: 4, the monotonic logistic of VQEG's FR-TV Phase II report (2003); or 5, logistic
            plus line of Sheikh, Sabir and Bovik (2006, eq. 9).

    Returns:
        PLCC in [-1, 1], without a mapping if all fits end flat; NaN where it is undefined or n is not
        above ``parameters``. ``reason`` says which.

    Raises:
        ConfigError: ``parameters`` is neither 4 nor 5.
        TableError: see above.
    """
    if parameters not in (4, 5):
        raise ConfigError(f"parameters is {parameters}; expected 4 or 5")
    x, y = _pair(predicted, mos)
    if reason := _undefined(x, y):
        return FittedPLCC(float("nan"), reason)
    if len(x) <= parameters:
        return FittedPLCC(
            float("nan"), f"{counted(len(x), 'row')} cannot be fitted by {parameters} parameters"
        )
    curve, starts = (_logistic4, _starts4) if parameters == 4 else (_logistic5, _starts5)
    x = (x - x.mean()) / x.std()
    usual, *others = starts(x, y)
    fitted = [_fitted(curve, x, y, usual, MAX_CALLS)]
    fitted += [_fitted(curve, x, y, start, MAX_CALLS // 10) for start in others]
    values = [
        plcc(mapped, y)
        for mapped in fitted
        if np.isfinite(mapped).all() and np.ptp(mapped) >= 1e-12 * np.ptp(y)
    ]
    if not values:
        return FittedPLCC(plcc(x, y), "the fit is flat; the plain figure is given")
    return FittedPLCC(max(values))


def bootstrap_interval(
    measure: Callable[..., float],
    *arrays: Any,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    groups: Sequence[Any] | None = None,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a measure (Efron and Tibshirani 1993, section 13.3).

    Args:
        measure: of the arrays, such as ``srcc`` of predictions and opinion scores; for a paired
            difference, a function of two predictions and the opinion scores.
        arrays: (n,) each, resampled together.
        resamples: 1 or more.
        level: coverage, between 0 and 1.
        seed: of the resampling, 0 or more.
        groups: (n,), such as prompts; whole groups are resampled, since their rows are not independent.

    Returns:
        Lower and upper bound; NaN for fewer than 10 groups (or rows, without ``groups``). Resamples in
        which the measure is NaN do not count.

    Raises:
        ConfigError: an argument is not as expected.
        TableError: see above; or ``groups`` are not as many as rows.
    """
    checks.instance("measure", measure, Callable, MEASURE)
    checks.whole("resamples", resamples, 1)
    checks.whole("seed", seed)
    if not 0 < checks.number("level", level) < 1:
        raise ConfigError(f"level is {level}; expected a share between 0 and 1, such as 0.95")
    values = [_pair(array, arrays[-1])[0] for array in arrays]
    count = len(values[0])
    if groups is not None and len(groups) != count:
        raise TableError(f"{len(groups)} groups and {count} predictions; expected as many")
    rows_of: dict[Any, list[int]] = {}
    for row, name in enumerate([] if groups is None else np.asarray(groups).tolist()):
        rows_of.setdefault(name, []).append(row)
    members = [np.array(rows) for rows in rows_of.values()]
    units = count if groups is None else len(members)
    if units < MIN_GROUPS:
        return float("nan"), float("nan")

    def resampled(picks: np.ndarray) -> float:
        rows = picks if groups is None else np.concatenate([members[i] for i in picks])
        return measure(*(array[rows] for array in values))

    with warnings.catch_warnings():
        # Of scipy's own interval, which NaN or equal values leave without one.
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        distribution = stats.bootstrap(
            (np.arange(units),), resampled, n_resamples=resamples, vectorized=False,
            batch=64, method="percentile", random_state=np.random.default_rng(seed),
        ).bootstrap_distribution  # fmt: skip
    known = distribution[np.isfinite(distribution)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.percentile(known, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def mean_within(parts: Mapping[str, tuple[float, int]]) -> float:
    """What ``by_group`` gives, averaged with the groups' rows as weights.

    Groups in which it is undefined are left out; NaN where it is undefined in all.
    """
    known = [(value, count) for value, count in parts.values() if np.isfinite(value)]
    if not known:
        return float("nan")
    values, counts = zip(*known, strict=True)
    return float(np.average(values, weights=counts))


def by_group(
    measure: Measure, predicted: Any, mos: Any, groups: Sequence[Any]
) -> dict[str, tuple[float, int]]:
    """Group -> the measure within it and its number of rows, sorted by the group's name.

    >>> by_group(mae, [1, 2, 3], [1, 2, 4], ["a", "a", "b"])
    {'a': (0.0, 2), 'b': (1.0, 1)}

    Raises:
        ConfigError: ``measure`` is no function.
        TableError: see above; or ``groups`` are not as many as rows.
    """
    checks.instance("measure", measure, Callable, MEASURE)
    x, y = _pair(predicted, mos)
    names = np.asarray(groups).astype(str)
    if len(names) != len(x):
        raise TableError(
            f"{counted(len(names), 'group')} and {counted(len(x), 'prediction')}; expected as many"
        )
    members = {str(name): names == name for name in np.unique(names)}
    return {name: (measure(x[rows], y[rows]), int(rows.sum())) for name, rows in members.items()}


def _fitted(
    curve: Callable[..., np.ndarray],
    x: np.ndarray,
    y: np.ndarray,
    start: Sequence[float],
    calls: int,
) -> np.ndarray:
    """``curve`` over ``x``, (n,), fitted to ``y`` by the Levenberg-Marquardt algorithm from ``start``.

    Where the best curve is a limit, such as a line, its parameters diverge; the last ones count.
    """
    parameters, *_ = optimize.leastsq(
        lambda parameters: curve(x, *parameters) - y, start, maxfev=calls, full_output=True
    )
    return curve(x, *parameters)


def _logistic4(x: np.ndarray, high: float, low: float, centre: float, scale: float) -> np.ndarray:
    return low + (high - low) / (1 + np.exp(np.clip(-(x - centre) * scale, -60, 60)))


def _starts4(x: np.ndarray, y: np.ndarray) -> list[list[float]]:
    """The usual start, its mirror, and the line of least squares as the middle of a wide logistic."""
    r = plcc(x, y)
    rising = 1.0 if r >= 0 else -1.0
    scale = ALMOST_LINEAR / np.abs(x).max()
    half = 2 * r * y.std() / scale  # the slope in the middle is height * scale / 4
    return [
        [y.max(), y.min(), 0.0, rising],
        [y.max(), y.min(), 0.0, -rising],
        [y.mean() + half, y.mean() - half, 0.0, scale],
    ]


def _logistic5(
    x: np.ndarray, height: float, scale: float, centre: float, slope: float, level: float
) -> np.ndarray:
    logistic = 0.5 - 1 / (1 + np.exp(np.clip(scale * (x - centre), -60, 60)))
    return height * logistic + slope * x + level


def _starts5(x: np.ndarray, y: np.ndarray) -> list[list[float]]:
    """The usual start, its mirror, and the line of least squares without a logistic."""
    r = plcc(x, y)
    rising = 1.0 if r >= 0 else -1.0
    return [
        [np.ptp(y), rising, 0.0, 0.0, y.mean()],
        [np.ptp(y), -rising, 0.0, 0.0, y.mean()],
        [0.0, 1.0, 0.0, r * y.std(), y.mean()],
    ]


def _pair(predicted: Any, mos: Any) -> tuple[np.ndarray, np.ndarray]:
    try:
        x, y = np.asarray(predicted, np.float64).ravel(), np.asarray(mos, np.float64).ravel()
    except (TypeError, ValueError) as error:
        raise TableError(
            f"predictions or opinion scores are no arrays of numbers ({error}); expected (n,) each"
        ) from None
    if len(x) != len(y):
        raise TableError(
            f"{counted(len(x), 'prediction')} and {counted(len(y), 'opinion score')}; expected as many"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise TableError(
            "predictions or opinion scores hold NaN or infinity; drop those rows first"
        )
    return x, y


def _undefined(x: np.ndarray, y: np.ndarray) -> str:
    """Why a correlation has no value; "" where it has one."""
    if len(x) < 3:
        return f"{counted(len(x), 'rated and scored row')}, and it takes 3"
    if np.ptp(x) == 0:
        return f"all {len(x)} predicted scores are equal"
    return f"all {len(y)} opinion scores are equal" if np.ptp(y) == 0 else ""


def why_undefined(predicted: Any, mos: Any) -> str:
    """Why the correlation of these is undefined; "" where it is defined.

    >>> why_undefined([1, 1, 1], [1, 2, 3])
    'all 3 predicted scores are equal'
    """
    return _undefined(*_pair(predicted, mos))
