"""A model on databases that it was not trained on, with the prompts and images they share reported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from diffagiqa.data.databases.database import Database
from diffagiqa.data.image_hash import near_others, perceptual_hashes
from diffagiqa.data.preferences import PREFERENCE
from diffagiqa.data.splits import ELSEWHERE, SplitFacts, prompt_key
from diffagiqa.data.wording import counted
from diffagiqa.errors import ConfigError
from diffagiqa.evaluation.pairs import PairEvaluation, evaluate_pairs, pair_texts, preference_score
from diffagiqa.evaluation.predict import Scores, predict
from diffagiqa.evaluation.protocol import AGREEMENT, TaskEvaluation, evaluate_predictions
from diffagiqa.evaluation.tables import (
    NAMES,
    figure_text,
    intervals_text,
    markdown,
    published_table,
)

if TYPE_CHECKING:
    import pandas as pd

METRICS = (*AGREEMENT, "rmse")
ALL, NEW = "all", "new"


@dataclass(frozen=True)
class Trained:
    """What is known of a model's training.

    Attributes:
        name: of the databases, or of the model.
        prompts: keys of the prompts of its training and validation parts; None where not known.
        hashes: perceptual hashes of the images of these parts; None where not known.
        generators: of these parts; None where not known.
    """

    name: str
    prompts: frozenset[str] | None = None
    hashes: NDArray[np.uint64] | None = field(default=None, repr=False)
    generators: frozenset[str] | None = None


@dataclass(frozen=True)
class CrossResult:
    """Agreement on one other database.

    Attributes:
        database: its name.
        facts: how it was tested: rows, prompts that training has seen, new generators.
        prompts: distinct prompts; ``shared_prompts`` of them were trained on, None where not known.
        shared_images: images that look like one of training, None where not known.
        unscored: images without a score.
        tasks: task -> "all", and "new" where something is shared, of prompts and images that training has
            not -> figures, in the scale of the database.
        pairs: of preferences, the same parts.
        predictions: a row per image: labels, scores in the same scale, and whether it is new.
        notes: of the database.
    """

    database: str
    facts: SplitFacts
    prompts: int
    shared_prompts: int | None
    shared_images: int | None
    unscored: int
    tasks: dict[str, dict[str, TaskEvaluation]]
    pairs: dict[str, PairEvaluation]
    predictions: pd.DataFrame = field(repr=False)
    notes: tuple[str, ...] = ()


def cross_evaluate(
    scorer: Scores, database: Database, trained: Trained, *, resamples: int = 500,
    log: Callable[[str], None] = print,
) -> CrossResult:  # fmt: skip
    """Score a database once, and compare with its ratings and preferences.

    Args:
        scorer: the model.
        database: verified (``open_databases``).
        trained: what the model was trained on.
        resamples: of the intervals.
        log: takes a line every 500 images.

    Raises:
        ConfigError: the model has no score that people rated or chose by there.
    """
    common = [task for task in database.tasks if task in scorer.tasks]
    if not common and not database.groups:
        raise ConfigError(
            f"{database.name} has ratings of {', '.join(database.tasks)}, and the model scores "
            f"{', '.join(scorer.tasks)}; they have no task in common"
        )
    samples = database.samples()

    def progress(done: int) -> None:
        if done % 500 == 0:
            log(f"{database.name}: {done} of {counted(len(samples), 'image')} scored")

    scores, faults = predict(scorer, samples, progress)
    keys = [prompt_key(sample.prompt or "") for sample in samples]
    seen = np.array([key in (trained.prompts or ()) and key != "" for key in keys], bool)
    alike = np.zeros(len(samples), bool)
    if trained.hashes is not None:
        alike = near_others(perceptual_hashes([s.source for s in samples]), trained.hashes)
    new = ~(seen | alike)
    frame = database.table[["image", "prompt", "generator", *common]].copy()
    for task in common:
        low, high = database.scales[task]
        frame[f"{task}_predicted"] = low + scores[task] * (high - low)
    parts = {ALL: np.ones(len(samples), bool)} | ({} if new.all() else {NEW: new})
    evaluations = {
        part: evaluate_predictions(frame[rows], common, resamples=resamples).tasks
        for part, rows in parts.items()
    }
    pairs = {}
    if database.groups:
        values = preference_score(scores, database.groups[0].task)
        if not common:
            frame[f"{PREFERENCE}_predicted"] = values
        for part, rows in parts.items():
            groups = [group for group in database.groups if rows[list(group.rows)].all()]
            pairs[part] = evaluate_pairs(
                values, groups, frame["prompt"].tolist(), frame["generator"].tolist(),
                resamples=resamples,
            )  # fmt: skip
    frame["new"] = np.where(new, "yes", "no")
    generators = set(frame["generator"]) - {"unknown"}
    unseen = sorted(generators - (trained.generators or generators))
    return CrossResult(
        database=database.name,
        facts=SplitFacts(ELSEWHERE, len(samples), int(seen.sum()), len(set(keys)), tuple(unseen)),
        prompts=len(set(keys) - {""}),
        shared_prompts=None
        if trained.prompts is None
        else len({*keys} & {*trained.prompts} - {""}),
        shared_images=None if trained.hashes is None else int(alike.sum()),
        unscored=len(faults),
        tasks={
            task: {part: figures[task] for part, figures in evaluations.items()} for task in common
        },
        pairs=pairs,
        predictions=frame,
        notes=database.notes,
    )


def render_cross(results: Sequence[CrossResult], trained: Trained) -> str:
    """All results as Markdown: one table of figures, one of what is shared, and what must be said."""
    rows, remarks, shared = [], [], []
    for result in results:
        for part in (ALL, NEW):
            for task, figures in result.tasks.items():
                if (measured := figures.get(part)) is None:
                    continue
                cells = [figure_text(measured.figures[name]) for name in METRICS]
                rows.append([result.database, task, part, str(measured.rows), *cells, ""])
                if reason := measured.reasons.get("srcc"):
                    remarks.append(
                        f"{result.database}, {task}, {part}: no correlation, since {reason}."
                    )
                elif measured.rows and measured.figures["srcc"].low is None:
                    remarks.append(
                        f"{result.database}, {task}, {part}: {intervals_text(measured)}."
                    )
            if part in result.pairs:
                pairs = result.pairs[part]
                cells = [""] * len(METRICS) + [figure_text(pairs.accuracy)]
                rows.append([result.database, PREFERENCE, part, str(pairs.pairs), *cells])
                remarks += [f"{result.database}, {part}: {line}." for line in pair_texts(pairs)[2:]]
        new = ", ".join(result.facts.new_generators) or "none that is known"
        shared.append(
            [result.database, str(result.prompts), _known(result.shared_prompts),
             str(result.facts.test), _known(result.shared_images), str(result.unscored), new]
        )  # fmt: skip
        remarks += [f"{result.database}: {note}." for note in result.notes]
        for task in result.tasks if trained.name == "agiqa-3k" else ():
            if table := published_table(result.database, task):
                remarks += ["", f"Published on {result.database}, {task}:", "", table, ""]
    names = [NAMES[name] for name in METRICS]
    head = ["tested on", "score", "images of", "count", *names, "pairs in the right order"]
    overlap = ["tested on", "prompts", "of them trained on", "images", "alike one of training",
               "without a score", "new generators"]  # fmt: skip
    lines = [
        f"# Trained on {trained.name}, tested on {', '.join(r.database for r in results)}",
        "",
        'Scores are mapped to each database\'s scale, in which RMSE is. "new" leaves out images '
        "whose prompt was trained on, or that look like one of training (64-bit perceptual hash, at "
        "most 4 bits apart). Brackets: 95 % bootstrap over prompts.",
        "",
        markdown(head, rows),
        "",
        markdown(overlap, shared),
        *([""] if remarks else []),
        *remarks,
    ]
    return "\n".join(lines) + "\n"


def _known(count: int | None) -> str:
    return "not known" if count is None else str(count)
