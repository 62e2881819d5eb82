"""Whether an explanation names the parts of a prompt that raters did not see (EvalMuse's elements)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffagiqa.data.databases.database import Database
from diffagiqa.data.databases.raters import Element
from diffagiqa.data.splits import prompt_key
from diffagiqa.data.wording import counted
from diffagiqa.errors import ConfigError, DiffAGIQAError
from diffagiqa.evaluation.correlations import bootstrap_interval
from diffagiqa.evaluation.protocol import Figure
from diffagiqa.evaluation.tables import figure_text, markdown

ALL = "all"


@dataclass(frozen=True)
class ElementEvaluation:
    """Missing words against raters.

    Attributes:
        categories: name, and "all" -> area under the ROC curve of telling missing elements from shown
            ones (chance 0.5), with a 95 % bootstrap over prompts.
        counts: name -> (elements, of them missing).
        images: that were explained; ``failed`` could not be.
        undecided: elements left out, which half of the raters see.
        absent: elements left out, whose words do not stand in the prompt or have no rank.
    """

    categories: dict[str, Figure]
    counts: dict[str, tuple[int, int]]
    images: int
    failed: int
    undecided: int
    absent: int


def roc_area(ranks: Any, missing: Any) -> float:
    """Probability that a missing element ranks below a shown one, ties counting half; NaN without both.

    Args:
        ranks: (n,) the lower, the likelier missing.
        missing: (n,) 1 or True where it is.

    >>> roc_area([0.1, 0.4, 0.6, 0.9], [1, 0, 1, 0])
    0.75
    """
    from scipy.stats import mannwhitneyu

    ranks, missing = np.asarray(ranks, np.float64), np.asarray(missing).astype(bool)
    if missing.all() or not missing.any():
        return float("nan")
    pairs = int(missing.sum()) * int((~missing).sum())
    return float(mannwhitneyu(ranks[~missing], ranks[missing]).statistic) / pairs


def element_rank(element: Element, prompt: str, words: Sequence[Any]) -> float | None:
    """The lowest rank of the words of an element; None where it does not stand in the prompt.

    The element is looked for as it is, without case, else by its single words.
    """
    spans = _spans(element.text, prompt)
    if not spans:
        parts = [_spans(part, prompt)[:1] for part in element.text.split()]
        spans = [span for part in parts for span in part] if all(parts) else []
    overlapping = (w.rank for w in words if any(w.start < end and s < w.end for s, end in spans))
    return min(overlapping, default=None)


def _spans(text: str, prompt: str) -> list[tuple[int, int]]:
    """Where a text stands in the prompt as whole words."""
    pattern = rf"(?<!\w){re.escape(text.strip())}(?!\w)" if text.strip() else "(?!)"
    return [match.span() for match in re.finditer(pattern, prompt, re.IGNORECASE)]


def evaluate_elements(
    explain: Callable[[Any, str], Sequence[Any]], database: Database, images: int, *,
    seed: int = 0, resamples: int = 1000, progress: Callable[[int], object] = lambda done: None,
) -> ElementEvaluation:  # fmt: skip
    """Explain some images, and hold the order of their words against raters.

    Args:
        explain: image and prompt -> words with start, end and rank, as ``Explanation.words``.
        database: with a column ``elements``, as EvalMuse-40K has it.
        images: how many to explain; drawn at random where there are more.
        seed: of that draw and of the intervals.
        resamples: of the intervals; 0: none.
        progress: called with the number of images that are done.

    Raises:
        ConfigError: the database does not say which parts of its prompts are shown.
    """
    if "elements" not in database.table:
        raise ConfigError(
            f"{database.name} does not say which parts of its prompts are shown; give evalmuse-40k"
        )
    samples = database.samples()
    order = np.random.default_rng(seed).permutation(len(samples))[:images]
    rows: list[tuple[float, bool, str, str]] = []
    failed = undecided = absent = 0
    for done, row in enumerate(sorted(order), start=1):
        sample, elements = samples[row], database.table["elements"][row]
        try:
            words = explain(sample.source, sample.prompt or "")
        except DiffAGIQAError:
            failed += 1
            words, elements = (), ()
        for element in elements:
            rank = element_rank(element, sample.prompt or "", words)
            undecided += element.shown == 0.5
            absent += element.shown != 0.5 and rank is None
            if element.shown != 0.5 and rank is not None:
                rows.append(
                    (rank, element.shown < 0.5, element.category, prompt_key(sample.prompt or ""))
                )
        progress(done)
    names = [ALL, *sorted({category for _, _, category, _ in rows})]
    parts = {n: [r for r in rows if n in (ALL, r[2])] for n in names}
    return ElementEvaluation(
        {name: _area(part, resamples, seed) for name, part in parts.items()},
        {name: (len(part), sum(missing for _, missing, _, _ in part)) for name, part in parts.items()},
        len(order) - failed, failed, undecided, absent,
    )  # fmt: skip


def _area(rows: Sequence[tuple[float, bool, str, str]], resamples: int, seed: int) -> Figure:
    ranks, missing, _, prompts = zip(*rows, strict=True) if rows else ((), (), (), ())
    value, low = roc_area(ranks, missing), float("nan")
    if np.isfinite(value) and resamples:
        low, high = bootstrap_interval(
            roc_area, ranks, missing, groups=prompts, resamples=resamples, seed=seed
        )
    if np.isfinite(low):
        return Figure(value, low, high)
    return Figure(value if np.isfinite(value) else None)


def render_elements(result: ElementEvaluation) -> str:
    """The evaluation as Markdown."""
    rows = [
        [
            name or "none",
            str(result.counts[name][0]),
            str(result.counts[name][1]),
            figure_text(area),
        ]
        for name, area in result.categories.items()
    ]
    said = (
        f"{counted(result.images, 'image')} explained, {result.failed} failed. Left out: "
        f"{counted(result.undecided, 'element')} that just half of the raters see, and {result.absent} "
        "whose words do not stand in the prompt."
    )
    table = markdown(["category", "elements", "missing", "area under the ROC curve"], rows)
    return f"{table}\n\n{said} Chance is 0.5; brackets: 95 % bootstrap over prompts.\n"
