"""Simulated observers: truth -> ratings -> screening -> MOS.

No person rated anything here: the labels follow from severities that are known exactly.

1. Quality of an image: ``1 + 4 * product(1 - 0.9 * salience * psi(severity))`` over its defects, on the
   five-grade scale of ITU-R BT.500 (1 bad .. 5 excellent); ``psi`` is a logistic psychometric function,
   moved so that psi(0) = 0 and psi(1) = 1. Alignment: ``1 + 4 * exp(-violations / 1.1)``, with the
   weighted count of violated claims of ``misalign.severity``.
2. Observer i sees ``3 + gain_i * (truth - 3) + bias_i + noise_i * normal``, and gives the nearest grade.
3. Observers are screened as in ITU-R BT.500; MOS is the mean of those left, rescaled to 0..5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffagiqa.data.wording import counted
from diffagiqa.errors import ConfigError
from diffagiqa.synth.defects import DEFECTS

Array = NDArray[np.floating]
_MIDPOINT, _WIDTH = 0.42, 0.17  # severity seen half as strong as at 1, and the slope there
_HALVINGS = 25  # of a panel, for its noise ceiling
_FORGIVENESS = 1.1  # weighted violations that leave 1/e of the alignment


@dataclass(frozen=True, slots=True)
class Panel:
    """A group of observers.

    Attributes:
        size: how many there are.
        bias: deviation of the constant that an observer adds, in grades.
        gain: deviation of the logarithm of an observer's contrast.
        noise: median deviation of an observer's own ratings, in grades.
        seed: decides who they are and what they give.
    """

    size: int = 24
    bias: float = 0.3
    gain: float = 0.12
    noise: float = 0.6
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Opinion:
    """What is left after screening.

    Attributes:
        mos: (images,) mean opinion score, 0 to 5.
        std: (images,) standard deviation between observers, in the same unit.
        rejected: the observers left out.
    """

    mos: Array
    std: Array
    rejected: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NoiseCeiling:
    """How well observers can be predicted, as SRCC averaged over random halvings of the panel.

    Attributes:
        between_halves: MOS of one half against MOS of the other.
        half_to_truth: MOS of one half against the truth.
        all_to_truth: MOS of all against the truth: the most a perfect predictor can reach.
    """

    between_halves: float
    half_to_truth: float
    all_to_truth: float


def psychometric(severity: Array | float) -> Array:
    """How strong a severity looks: logistic, 0 at 0 and 1 at 1.

    >>> [round(float(psychometric(s)), 3) for s in (0, 0.25, 0.5, 1)]
    [0.0, 0.215, 0.604, 1.0]
    """
    x = np.asarray(severity, np.float64)

    def logistic(value: Array | float) -> Array:
        return 1 / (1 + np.exp(-(np.asarray(value) - _MIDPOINT) / _WIDTH))

    low, high = logistic(0.0), logistic(1.0)
    return (logistic(x) - low) / (high - low)


def true_quality(severities: Mapping[str, float]) -> float:
    """Quality in grades (1..5) of an image with these defects.

    >>> true_quality({}), true_quality({"blur": 1.0}) < true_quality({"blur": 0.5}) < 5
    (5.0, True)
    """
    left = 1.0
    for name, severity in severities.items():
        left *= 1 - 0.9 * DEFECTS[name].salience * float(psychometric(severity))
    return 1 + 4 * left


def true_alignment(violations: float) -> float:
    """Alignment in grades (1..5) for a weighted count of violated claims.

    >>> true_alignment(0.0), round(true_alignment(1.1), 3)
    (5.0, 2.472)
    """
    return 1 + 4 * float(np.exp(-violations / _FORGIVENESS))


def rate(truth: Array, panel: Panel, stream: int = 0) -> NDArray[np.int64]:
    """(observers, images) grades 1..5. What is given to image j depends on ``truth[j]`` and j alone.

    Args:
        truth: (images,) grades 1..5.
        stream: which question is asked (0 quality, 1 alignment): the same people, other noise.

    Raises:
        ConfigError: the panel is too small to be screened.
    """
    if panel.size < 4:
        raise ConfigError(f"the panel has {counted(panel.size, 'observer')}; expected 4 or more")
    people = np.random.default_rng((panel.seed, 1))
    bias = people.normal(0, panel.bias, panel.size)
    gain = np.exp(people.normal(0, panel.gain, panel.size))
    noise = panel.noise * np.exp(people.normal(0, 0.25, panel.size))
    draws = np.stack(
        [
            np.random.default_rng((panel.seed, 2, stream, j)).standard_normal(panel.size)
            for j in range(len(truth))
        ],
        1,
    )
    seen = (
        3
        + gain[:, None] * (np.asarray(truth) - 3)[None, :]
        + bias[:, None]
        + noise[:, None] * draws
    )
    return np.clip(np.rint(seen), 1, 5).astype(np.int64)


def screen(ratings: NDArray[np.int64]) -> tuple[int, ...]:
    """Observers to leave out, by ITU-R BT.500-13, annex 2, 2.3.1 (the same test in BT.500-14).

    For each image, the kurtosis coefficient beta2 = m4 / m2^2 of the ratings says whether they are
    normal (2 <= beta2 <= 4): then a rating is far out at 2 standard deviations, else at sqrt(20). P_i
    counts the ratings of observer i far above the mean, Q_i those far below. Observer i is left out if
    (P_i + Q_i) / images > 0.05 and |P_i - Q_i| / (P_i + Q_i) < 0.3: often far out, and on both sides.
    (Who is only biased stays: a constant does not change the order.)

    Args:
        ratings: (observers, images).
    """
    values = np.asarray(ratings, np.float64)
    mean = values.mean(0)
    centred = values - mean
    m2, m4 = (centred**2).mean(0), (centred**4).mean(0)
    beta2 = np.divide(m4, m2**2, out=np.full_like(m2, 3.0), where=m2 > 0)
    deviation = values.std(0, ddof=1)
    far = np.where((beta2 >= 2) & (beta2 <= 4), 2.0, np.sqrt(20.0)) * deviation
    spread = deviation > 0
    above = ((values >= mean + far) & spread).sum(1)
    below = ((values <= mean - far) & spread).sum(1)
    both = above + below
    share = both / values.shape[1]
    lopsided = np.divide(np.abs(above - below), both, out=np.ones(len(both)), where=both > 0)
    return tuple(int(i) for i in np.flatnonzero((share > 0.05) & (lopsided < 0.3)))


def opinion(ratings: NDArray[np.int64]) -> Opinion:
    """Screen, average, rescale 1..5 to 0..5."""
    rejected = screen(ratings)
    kept = np.delete(np.asarray(ratings, np.float64), rejected, axis=0)
    scale = 5 / 4
    return Opinion((kept.mean(0) - 1) * scale, kept.std(0, ddof=1) * scale, rejected)


def noise_ceiling(ratings: NDArray[np.int64], truth: Array) -> NoiseCeiling:
    """SRCC between halves of the (screened) panel, and to the truth; see ``NoiseCeiling``.

    A predictor trained on such labels cannot be expected above ``all_to_truth`` against the truth, nor
    above about the square root of the between-halves value, Spearman-Brown corrected, against MOS.
    """
    from scipy.stats import spearmanr

    kept = np.delete(np.asarray(ratings, np.float64), screen(ratings), axis=0)
    rng = np.random.default_rng(0)
    halves, to_truth = [], []
    for _ in range(_HALVINGS):
        order = rng.permutation(len(kept))
        one, other = kept[order[: len(kept) // 2]].mean(0), kept[order[len(kept) // 2 :]].mean(0)
        halves.append(spearmanr(one, other).statistic)
        to_truth += [spearmanr(one, truth).statistic, spearmanr(other, truth).statistic]
    everyone = spearmanr(kept.mean(0), truth).statistic
    return NoiseCeiling(float(np.mean(halves)), float(np.mean(to_truth)), float(everyone))
