"""A training run, and what a command says of it: figures on held-out rows, beside what needs no image."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from diffagiqa.data.image_hash import near_others, perceptual_hashes
from diffagiqa.data.splits import SplitFacts
from diffagiqa.evaluation.pairs import pair_texts
from diffagiqa.evaluation.tables import figure_texts, intervals_text
from diffagiqa.pretrained import training_images
from diffagiqa.training.config import TrainingConfig
from diffagiqa.training.cross_validation import (
    MIN_TEST,
    cross_validate,
    fold_splits,
)
from diffagiqa.training.data import TrainingData
from diffagiqa.training.measures import (
    constant_rmse,
    evaluate_databases,
    narrow_text,
    pair_evaluations,
    predictions,
    predictions_csv,
)
from diffagiqa.training.open_data import facts_of
from diffagiqa.training.processes import Processes
from diffagiqa.training.reproduce import shared_features
from diffagiqa.training.run_folder import Parts, init_folder
from diffagiqa.training.train import open_backbone, train


@dataclass(frozen=True)
class Outcome:
    """Lines for the terminal, and files by name for the run's folder."""

    texts: list[str]
    files: dict[str, str]


def train_and_test(
    config: TrainingConfig, data: TrainingData, parts: Parts, folder: Path, *,
    cache: Path | None = None, device: str | None = None, resume: bool = False,
    log: Callable[[str], None] = print,
) -> Outcome | None:  # fmt: skip
    """Train into a folder; None in processes other than the main one.

    A test part of fewer than ``MIN_TEST`` rows says little. Where features are cached, figures are then
    of a cross-validation by prompt, and the model is trained on all rows, without a validation part.
    """
    processes = Processes(device)
    can_fold = config.freeze_prompters and config.folds > 1 and config.split != "official"
    if can_fold and 0 < len(parts["test"]) < MIN_TEST and processes.count == 1:
        splits = fold_splits(data, config.folds, config.split_seed)
        everything = [row for part in parts.values() for row in part]
        log(
            f"a test part of {len(parts['test'])} rows says little: the figures below are of a "
            f"{config.folds}-fold cross-validation, and the model learns from all {len(everything)} rows"
        )
        backbone = open_backbone(config, processes.device)
        where = cache or folder / "features"
        features = shared_features(config, data, where, backbone, processes, log)
        parts = {"train": everything, "validation": [], "test": []}
        train(
            config, data, parts, folder, device=device, resume=resume, backbone=backbone,
            features=features, log=log,
        )  # fmt: skip
        scores, rows = cross_validate(
            config, data, splits, features=features, backbone=backbone, device=device, log=log
        )
        texts = [f"model in {folder / 'best'}, of the last epoch"]
    else:
        fitted = train(
            config, data, parts, folder, cache=cache, device=device, resume=resume, log=log
        )
        scores, rows, splits = fitted.test_scores, fitted.test_rows, [parts]
        texts = [f"best epoch {fitted.best_epoch}, model in {folder / 'best'}"]
    if not processes.main:
        return None
    if config.init is not None and (text := _seen_text(config.init, data, rows)):
        texts.append(text)
    kind = "prompt" if len(splits) > 1 else config.split
    facts = facts_of(kind, data, splits) if rows else None
    return _outcome(data.originals, scores, rows, splits, texts, facts)


def _seen_text(init: str, data: TrainingData, rows: Sequence[int]) -> str:
    """A warning where the start was trained on images that look like the held-out ones; else ""."""
    seen = training_images(init_folder(init))
    near = near_others(perceptual_hashes([data.samples[row].source for row in rows]), seen)
    if not near.any():
        return ""
    return (
        f"warning: {init}, the start, was trained on {int(near.sum())} of these {len(rows)} images or "
        "copies of them: the figures are too good"
    )


def _outcome(
    data: TrainingData, scores: Mapping[str, Sequence[float]], rows: Sequence[int],
    splits: Sequence[Parts], texts: list[str], facts: SplitFacts | None,
) -> Outcome:  # fmt: skip
    """Figures by database and task, on rows that their model did not learn from."""
    several, files = len(data.names) > 1, {}
    rated = data.rated_tasks
    evaluations = evaluate_databases(scores, data, rows) if rated else {}
    constant = constant_rmse(data, [_originals(split, len(data)) for split in splits])
    frame = predictions(scores, data, rows) if rows else None
    kind = "held-out rows, cross-validated" if len(splits) > 1 else "test part"
    texts += [facts.sentence] if facts else []
    for name, evaluation in evaluations.items():
        texts.append(f"{kind} of {name}:" if several else f"{kind}:")
        for task, figures in evaluation.tasks.items():
            over = intervals_text(figures, evaluation.settings["by"])
            texts.append(f"  {task}, {over}: {'  '.join(figure_texts(figures))}")
            if not several and task in constant:
                texts.append(
                    f"  {task}, the mean rating for every image: RMSE {constant[task]:.3f}"
                )
        on_split = {**evaluation.settings, **({"split": asdict(facts)} if facts else {})}
        files[f"test-{name}.json" if several else "test.json"] = (
            json.dumps(asdict(replace(evaluation, settings=on_split)), indent=1) + "\n"
        )
    pairs = pair_evaluations(scores, data, rows)
    for task, evaluated in pairs.items():
        texts += [f"{kind}, pairs by {task}:", *(f"  {line}" for line in pair_texts(evaluated))]
    if pairs:
        judged = {task: asdict(evaluated) for task, evaluated in pairs.items()}
        files["test-pairs.json"] = json.dumps(judged, indent=1) + "\n"
    if frame is not None:
        texts += [text for task in rated if (text := narrow_text(frame, task))]
        files["test.csv"] = predictions_csv(frame)
    return Outcome(texts, files)


def _originals(split: Parts, count: int) -> Parts:
    """Without augmented rows."""
    return {name: [row for row in part if row < count] for name, part in split.items()}
