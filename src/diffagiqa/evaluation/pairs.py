"""Scores against people's choices: pairs in the right order, the best of n, and the order of all n."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffagiqa.data.preferences import PREFERENCE, PreferenceGroup, pairs_of
from diffagiqa.data.splits import prompt_key
from diffagiqa.data.wording import counted
from diffagiqa.errors import ConfigError
from diffagiqa.evaluation.correlations import MIN_GROUPS, bootstrap_interval
from diffagiqa.evaluation.protocol import Figure
from diffagiqa.evaluation.tables import figure_text


@dataclass(frozen=True)
class GeneratorPair:
    """Two generators (in the order of their names) whose images people compared.

    Attributes:
        pairs: that people decided and that were scored.
        people, scores: share of them that the first generator wins, by people and by the scores.
        accuracy: share in which both agree; equal scores count half.
    """

    first: str
    second: str
    pairs: int
    people: float
    scores: float
    accuracy: float


@dataclass(frozen=True)
class PairEvaluation:
    """How well scores agree with choices. Intervals are 95 % bootstraps over prompts.

    Attributes:
        pairs: pairs that people decided and that were scored: what ``accuracy`` is of.
        ties, unscored: pairs apart from these: without a preference; with an image that has no score.
        accuracy: share of ``pairs`` in the right order, chance being 0.5; equal scores count half.
        gap, tie_gap: mean absolute difference of the scores in ``pairs`` and in ties; None without any.
        groups: groups of images that were scored whole.
        best: share of them whose highest score is one of people's best images; of k equal highest
            scores, the share that is.
        best_chance: what a draw at random would reach.
        tau: mean over groups of Kendall's tau-b between scores and ranks, where it is defined.
        prompts: that the intervals resample.
        generators: by pair of generators, where both are known.
    """

    pairs: int
    ties: int
    unscored: int
    accuracy: Figure
    gap: float | None
    tie_gap: float | None
    groups: int
    best: Figure
    best_chance: float | None
    tau: Figure
    prompts: int
    generators: tuple[GeneratorPair, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values for ``json.dumps``."""
        return asdict(self)


def evaluate_pairs(
    scores: Sequence[float] | NDArray[np.float64],
    groups: Sequence[PreferenceGroup],
    prompts: Sequence[str],
    generators: Sequence[str] = (),
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> PairEvaluation:
    """Measure scores against choices.

    Args:
        scores: (N,) the higher the better; NaN where an image has none.
        groups: of positions in ``scores``.
        prompts: (N,) the prompt of each image.
        generators: (N,) the generator of each; "unknown", and none given, for no table of generators.
        resamples: of the bootstrap; 0 leaves the intervals out.
        seed: of the bootstrap.
    """
    scores = np.asarray(scores, np.float64)
    names = [prompt_key(prompts[group.rows[0]]) for group in groups]
    first, second, outcome, number = pairs_of(groups)
    difference, people = scores[first] - scores[second], 2 * outcome - 1
    scored = np.isfinite(difference)
    decided = scored & (people != 0)
    tied = scored & (people == 0)
    agreement = np.sign(difference) * people
    right = (1 + agreement[decided]) / 2
    of_pairs = [names[i] for i in number[decided]]

    def figure(values: NDArray[np.float64], units: list[str]) -> Figure:
        if not len(values):
            return Figure(None)
        low, high = None, None
        number_of = np.unique(units, return_inverse=True)[1]
        sums, counts = np.bincount(number_of, values), np.bincount(number_of)
        if resamples and len(sums) >= MIN_GROUPS:  # whole prompts are resampled by their sums
            low, high = bootstrap_interval(
                lambda total, count: float(total.sum() / count.sum()), sums, counts,
                resamples=resamples, seed=seed,
            )  # fmt: skip
        return Figure(float(values.mean()), low, high)

    whole = [i for i, group in enumerate(groups) if np.isfinite(scores[list(group.rows)]).all()]
    best = np.array([_best(scores, groups[i]) for i in whole])
    chance = [len(groups[i].best) / len(groups[i].rows) for i in whole]
    # tau-b from the pairs of each group: concordant minus discordant, over those not tied on either side
    count = len(groups)
    order = np.bincount(number[scored], agreement[scored], count)
    untied = np.bincount(number[scored], difference[scored] != 0, count)
    untied = untied * np.bincount(number[scored], people[scored] != 0, count)
    known = [i for i in whole if untied[i] > 0]
    tau = order[known] / np.sqrt(untied[known])
    return PairEvaluation(
        pairs=int(decided.sum()),
        ties=int((people == 0).sum()),
        unscored=int((~scored).sum()),
        accuracy=figure(right, of_pairs),
        gap=float(np.abs(difference[decided]).mean()) if decided.any() else None,
        tie_gap=float(np.abs(difference[tied]).mean()) if tied.any() else None,
        groups=len(whole),
        best=figure(best, [names[i] for i in whole]),
        best_chance=float(np.mean(chance)) if chance else None,
        tau=figure(tau, [names[i] for i in known]),
        prompts=len(set(names)),
        generators=_by_generators(
            generators, first[decided], second[decided], people[decided], difference[decided]
        ),
    )  # fmt: skip


def _best(scores: NDArray[np.float64], group: PreferenceGroup) -> float:
    """Share of the highest scores of a group that belong to one of people's best."""
    values = scores[list(group.rows)]
    highest = [row for row, score in zip(group.rows, values, strict=True) if score == values.max()]
    return sum(row in group.best for row in highest) / len(highest)


def _by_generators(
    generators: Sequence[str],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    people: NDArray[np.float64],
    difference: NDArray[np.float64],
) -> tuple[GeneratorPair, ...]:
    """Of decided pairs with two different, known generators; the most frequent first."""
    outcomes: dict[tuple[str, str], list[tuple[float, float]]] = {}
    if not len(generators):
        return ()
    for i, j, won, gap in zip(first, second, people, difference, strict=True):
        a, b = generators[i], generators[j]
        if a == b or "unknown" in (a, b):
            continue
        sign = 1 if a < b else -1
        outcomes.setdefault((min(a, b), max(a, b)), []).append((sign * won, sign * np.sign(gap)))
    pairs = []
    for (a, b), values in outcomes.items():
        won, scored = np.array(values).T
        pairs.append(
            GeneratorPair(
                a, b, len(values), float((1 + won).mean() / 2), float((1 + scored).mean() / 2),
                float((1 + won * scored).mean() / 2),
            )
        )  # fmt: skip
    return tuple(sorted(pairs, key=lambda pair: (-pair.pairs, pair.first, pair.second)))


def preference_score(scores: Mapping[str, Any], task: str) -> Any:
    """The score that a choice is about: the task's own; for "preference" without one, the mean of all.

    >>> preference_score({"perception": 0.5, "alignment": 1.0}, "preference")
    0.75

    Raises:
        ConfigError: there is no such score.
    """
    if task in scores:
        return scores[task]
    if task != PREFERENCE or not scores:
        raise ConfigError(f"people chose by {task}, and there are scores of {', '.join(scores)}")
    return sum(scores.values()) / len(scores)


def pair_texts(result: PairEvaluation) -> list[str]:
    """What a command prints of it, a line each."""
    intervals = (
        "no interval" if result.prompts < MIN_GROUPS else "95 % intervals over them in brackets"
    )
    lines = [
        f"{counted(result.pairs, 'decided pair')} of {counted(result.prompts, 'prompt')}, {intervals}",
        f"accuracy {figure_text(result.accuracy)} (chance 0.500)",
    ]
    if result.ties:
        gaps = "" if result.tie_gap is None else f": mean score difference {result.tie_gap:.4f}"
        beside = "" if result.gap is None else f", {result.gap:.4f} in decided pairs"
        lines.append(f"{counted(result.ties, 'tie')} apart{gaps}{beside if gaps else ''}")
    if result.unscored:
        lines.append(f"{counted(result.unscored, 'pair')} left out: an image has no score")
    if result.groups and result.best_chance is not None:
        lines.append(
            f"best of n {figure_text(result.best)} (chance {result.best_chance:.3f}), Kendall's tau "
            f"{figure_text(result.tau)} over {counted(result.groups, 'group')}"
        )
    lines += [
        f"{p.first} against {p.second}: {counted(p.pairs, 'pair')}, people {p.people:.3f}, scores "
        f"{p.scores:.3f}, accuracy {p.accuracy:.3f}"
        for p in result.generators
    ]
    return lines
