"""One command from a downloaded database to the figures that papers report.

Split, train, evaluate, several times over, then ``report.md``. Every repeat has a folder of its own and
a ``result.json`` when it is done, so a stopped command goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from diffagiqa.backbones.base import Backbone
from diffagiqa.backbones.folder import find_backbone
from diffagiqa.data.splits import Split
from diffagiqa.evaluation.protocol import Evaluation, Summary, summarise_repeats
from diffagiqa.evaluation.tables import number
from diffagiqa.pretrained import fingerprint
from diffagiqa.training.augmented import with_augmentations
from diffagiqa.training.checkpoint import STATE
from diffagiqa.training.config import TrainingConfig
from diffagiqa.training.data import TrainingData
from diffagiqa.training.features import CachedFeatures
from diffagiqa.training.measures import evaluate_baseline, evaluate_scores, of_database
from diffagiqa.training.open_data import facts_of, make_split
from diffagiqa.training.processes import Processes
from diffagiqa.training.results import parts_hash, read_result, rows_hash, write_result
from diffagiqa.training.run_folder import Parts
from diffagiqa.training.train import compute_features, make_model, open_backbone, train

Log = Callable[[str], None]


@dataclass(frozen=True)
class Repeats:
    """The results of one regime, one mapping per repeat that was run."""

    regime: str
    config: TrainingConfig
    results: tuple[Mapping[str, Any], ...]

    @property
    def evaluations(self) -> list[Evaluation]:
        return [Evaluation.from_json(result["evaluation"]) for result in self.results]

    @property
    def baselines(self) -> list[Evaluation]:
        """Each repeat's generator means on its own test part."""
        return [Evaluation.from_json(result["baseline"]) for result in self.results]

    @property
    def summary(self) -> Summary:
        return summarise_repeats(self.evaluations)

    def on(self, database: str) -> Repeats:
        """The same repeats as measured on the test part of another database they trained on."""
        results = [result | result["others"][database] for result in self.results]
        return replace(self, results=tuple(results))

    def values(self, task: str, metric: str) -> tuple[float, ...]:
        """One figure over the repeats that have it."""
        return self.summary.tasks[task][metric].values


def reproduce(
    config: TrainingConfig, rows: TrainingData, folder: Path, *, repeats: int = 10, full_repeats: int = 0,
    official: Split | None = None, cache: Path | None = None, device: str | None = None, log: Log = print,
) -> list[Repeats]:  # fmt: skip
    """Run ``repeats`` with frozen prompters and ``full_repeats`` of the whole method.

    Repeat i uses split seed and training seed ``config.split_seed + i`` and ``config.seed + i``.
    With several databases, figures are those of the first; ``Repeats.on`` gives another's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = with_augmentations(rows, config)
    processes = Processes(device)
    backbone = open_backbone(config, processes.device)
    frozen = replace(config, freeze_prompters=True)
    done = []
    if repeats:
        features = shared_features(
            frozen, rows, cache or folder / "features", backbone, processes, log
        )
        done.append(
            repeat(frozen, rows, folder / "head-only", repeats, backbone=backbone, features=features,
                   official=official, device=device, log=log)
        )  # fmt: skip
    if full_repeats:
        full = replace(config, freeze_prompters=False)
        done.append(
            repeat(full, rows, folder / "full", full_repeats, backbone=backbone,
                   official=official, device=device, log=log)
        )  # fmt: skip
    return done


def repeat(
    config: TrainingConfig, rows: TrainingData, folder: Path, count: int, *, backbone: Backbone,
    features: CachedFeatures | None = None, official: Split | None = None,
    device: str | None = None, log: Log = print,
) -> Repeats:  # fmt: skip
    """Train and test ``count`` times on splits of their own; finished repeats are read back.

    Raises ``TrainingError`` where one was made with another configuration, other data or weights.
    """
    weights = fingerprint(find_backbone(config.model.backbone, config.model.backbone_revision))
    data = rows_hash(rows)
    results = []
    for i in range(count):
        repeat_folder = folder / f"{i:02d}"
        changed = replace(config, seed=config.seed + i, split_seed=config.split_seed + i)
        split = make_split(changed, rows, official)
        decided = asdict(changed) | {
            "rows": data,
            "parts": parts_hash(split),
            "backbone weights": weights,
        }
        del decided["workers"]
        result = read_result(repeat_folder, decided)
        if result is None:
            log(f"{folder.name}, repeat {i + 1} of {count}")
            result = one_repeat(
                changed, rows, split, repeat_folder, backbone, features, device, log
            )
            result = write_result(repeat_folder, result, decided)
        results.append(result)
        for task, figures in Evaluation.from_json(result["evaluation"]).tasks.items():
            log(
                f"  {task}: "
                + "  ".join(f"{m} {number(figures.figures[m].value)}" for m in ("srcc", "plcc"))
            )
    return Repeats(folder.name, config, tuple(results))


def one_repeat(
    config: TrainingConfig, rows: TrainingData, split: Parts, folder: Path,
    backbone: Backbone, features: CachedFeatures | None, device: str | None, log: Log,
) -> dict[str, Any]:  # fmt: skip
    """One split, one training run, one look at its test part."""
    labelled = rows.originals
    began = time.perf_counter()
    fitted = train(
        config, rows, split, folder, device=device, backbone=backbone, features=features,
        resume=(folder / STATE).is_file(), log=log,
    )  # fmt: skip

    def evaluated(database: int) -> dict[str, Any]:
        """One database's own test part, and each generator's mean label there."""
        scores, test = of_database(fitted.test_scores, labelled, fitted.test_rows, database)
        known = [row for row in (*split["train"], *split["validation"]) if row < len(labelled)]
        known = [row for row in known if labelled.sources[row] == database]
        return {
            "evaluation": asdict(evaluate_scores(scores, labelled, test)),
            "baseline": asdict(evaluate_baseline(labelled, known, test)),
            "test": {"rows": test, "scores": scores},
        }

    return {
        "seed": config.seed,
        "split_seed": config.split_seed,
        "rows": {name: len(part) for name, part in split.items()},
        "prompts": {name: len({rows.prompts[row] for row in part}) for name, part in split.items()},
        "split": asdict(facts_of(config.split, rows, [split])),
        "best_epoch": fitted.best_epoch,
        "epochs": len(fitted.history),
        "seconds": time.perf_counter() - began,
        "seconds_per_epoch": float(np.median([row["seconds"] for row in fitted.history])),
        "validation": fitted.best_validation,
        **evaluated(0),
        "others": {name: evaluated(i) for i, name in enumerate(rows.names) if i},
    }


def shared_features(
    config: TrainingConfig,
    rows: TrainingData,
    folder: Path,
    backbone: Backbone,
    processes: Processes,
    log: Log,
) -> CachedFeatures:
    """Features of the whole database, for all repeats."""
    model = make_model(config, rows.tasks, backbone, log)
    began = time.perf_counter()
    features = compute_features(config, rows, folder, backbone, model, processes, log)
    log(f"features: opened after {time.perf_counter() - began:.1f} s")
    return features
