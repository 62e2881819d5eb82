"""Baselines and the method on the same rows, labels and splits; finished repeats are never run again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from diffagiqa.benchmark.contrastive import fit_contrastive
from diffagiqa.benchmark.differences import differences_table
from diffagiqa.benchmark.fitting import NETWORKS, Budget, fit_network, load_pictures
from diffagiqa.benchmark.frame import Predictions, Trial
from diffagiqa.benchmark.simple import (
    generator_mean,
    scene_statistics_regression,
    statistics_of,
)
from diffagiqa.data.splits import Split
from diffagiqa.errors import ConfigError
from diffagiqa.evaluation.protocol import Evaluation
from diffagiqa.evaluation.tables import intervals_table, number, results_table
from diffagiqa.training.config import TrainingConfig
from diffagiqa.training.data import Rows
from diffagiqa.training.measures import evaluate_scores, of_database
from diffagiqa.training.open_data import Opened, make_split
from diffagiqa.training.reproduce import Log, Repeats
from diffagiqa.training.results import parts_hash, read_result, rows_hash, write_result

OWN_VALIDATION = 0.1
"""Share of the training prompts on which a baseline is chosen where the recipe sets none apart."""

Method = Callable[[Trial], Predictions]

SIMPLE: Mapping[str, str] = {
    "generator mean": "the mean label of the image's generator, without seeing the image",
    "scene statistics": "BRISQUE's natural scene statistics and simple statistics, kernel regression",
}
BASELINES: Mapping[str, str] = {
    **SIMPLE,
    **{name: f"{name} from scratch on crops at native resolution" for name in NETWORKS},
    "contrastive": "image-text model from scratch on the prompts, cosine similarity; alignment only",
}


def run_baselines(
    config: TrainingConfig,
    rows: Rows,
    folder: Path,
    *,
    names: Sequence[str] = tuple(BASELINES),
    repeats: int = 10,
    network_repeats: int | None = None,
    budget: Budget | None = None,
    official: Split | None = None,
    log: Log = print,
) -> list[Repeats]:
    """Run every named baseline ``repeats`` times, each on the split that the method's repeat uses.

    ``network_repeats``: fewer repeats of those that train a network. With several databases, figures
    are those of the first.
    """
    unknown = [name for name in names if name not in BASELINES]
    if unknown:
        raise ConfigError(f"there is no baseline {unknown[0]!r}; expected {', '.join(BASELINES)}")
    methods = _Methods(rows, budget or Budget(), official)
    counts = dict.fromkeys(SIMPLE, repeats)
    slow = repeats if network_repeats is None else min(repeats, network_repeats)
    return [
        _repeats(name, methods, config, rows, folder, counts.get(name, slow), log) for name in names
    ]


class _Methods:
    """Builds a baseline by name; what several share (pictures, statistics) is read once."""

    def __init__(self, rows: Rows, budget: Budget, official: Split | None) -> None:
        self.rows = rows
        self.budget = budget
        self.official = official
        self.data = rows_hash(rows)
        self._pictures: torch.Tensor | None = None

    def __getitem__(self, name: str) -> Method:
        if name == "generator mean":
            return generator_mean
        if name == "scene statistics":
            return scene_statistics_regression(statistics_of(self.rows))
        if name == "contrastive":
            return partial(fit_contrastive, pictures=self.pictures, budget=self.budget)
        return partial(fit_network, name, pictures=self.pictures, budget=self.budget)

    @property
    def pictures(self) -> torch.Tensor:
        if self._pictures is None:
            self._pictures = load_pictures(self.rows, self.budget.image_size)
        return self._pictures


def _repeats(
    name: str,
    methods: _Methods,
    config: TrainingConfig,
    rows: Rows,
    folder: Path,
    count: int,
    log: Log,
) -> Repeats:
    results: list[dict[str, Any]] = []
    method: Method | None = None
    for i in range(count):
        place = folder / name.replace(" ", "-") / f"{i:02d}"
        own = replace(config, seed=config.seed + i, split_seed=config.split_seed + i)
        trial = _trial(own, rows, methods.official)
        parts = {"train": trial.train, "validation": trial.validation, "test": trial.test}
        decided = {"seed": own.seed, "rows": methods.data, "parts": parts_hash(parts)}
        if name not in SIMPLE:
            decided["budget"] = asdict(methods.budget)
        result = read_result(place, decided)
        if result is None:
            method = method or methods[name]
            result = write_result(place, _one(method, trial, own), decided)
        results.append(result)
        log(f"{name}, repeat {i + 1} of {count}: SRCC {_srcc(result)}")
    return Repeats(name, config, tuple(results))


def _trial(config: TrainingConfig, rows: Rows, official: Split | None) -> Trial:
    split = make_split(config, rows, official)
    if not split["validation"]:  # the method's recipe wants none, but a baseline chooses by it
        # The test part is drawn first, so it stays the same.
        split = make_split(replace(config, validation_fraction=OWN_VALIDATION), rows, official)
    return Trial(rows, split["train"], split["validation"], split["test"], config.seed)


def _one(method: Method, trial: Trial, config: TrainingConfig) -> dict[str, Any]:
    began = time.perf_counter()
    columns = method(trial).T.tolist()
    every = dict(zip(trial.rows.task_names, columns, strict=True))
    scores, test = of_database(every, trial.rows, trial.test, 0)  # as the method's figures are
    return {
        "seed": config.seed,
        "split_seed": config.split_seed,
        "seconds": time.perf_counter() - began,
        "evaluation": asdict(evaluate_scores(scores, trial.rows, test)),
        "test": {"rows": test, "scores": scores},
    }


def _srcc(result: Mapping[str, Any]) -> str:
    tasks = Evaluation.from_json(result["evaluation"]).tasks
    return "  ".join(
        f"{task} {number(found.figures['srcc'].value)}" for task, found in tasks.items()
    )


def render(
    title: str, command: str, done: Sequence[Repeats], names: Sequence[str], opened: Opened
) -> str:
    """The report as Markdown: the command that wrote it, what the baselines are, and the tables."""
    what = "\n".join(f"* {name}: {BASELINES[name]}." for name in names)
    notes = "\n".join(f"* {note}" for note in opened.notes)
    return (
        f"# Benchmark on {title}\n\nWritten by `{command}`. Median over repeats, then mean ± standard "
        f"deviation.\n\n{what}\n{notes}\n\n{table(done, opened.rows)}"
    )


def table(done: Sequence[Repeats], rows: Rows) -> str:
    """Three Markdown tables per task, a row per method: figures over repeats, their intervals, and the
    intervals of what lies between the last method and each other one."""
    sections = []
    for task in rows.task_names:
        figures = results_table({repeats.regime: repeats.summary for repeats in done}, task)
        intervals = intervals_table({r.regime: r.evaluations for r in done}, task)
        parts = [f"### {task.capitalize()}", figures, intervals]
        if len(done) > 1:
            parts.append(differences_table(done, rows, task))
        sections.append("\n\n".join(parts))
    return "\n\n".join(sections) + "\n"
