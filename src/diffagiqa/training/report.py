"""Results -> ``report.md``: our results beside published ones, and what differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from diffagiqa.data.splits import SplitFacts
from diffagiqa.data.wording import counted
from diffagiqa.evaluation.protocol import AGREEMENT, summarise_repeats
from diffagiqa.evaluation.tables import (
    NAMES,
    generator_table,
    intervals_table,
    markdown,
    number,
    published_table,
    results_table,
)
from diffagiqa.model.config import ModelConfig
from diffagiqa.training.config import TrainingConfig
from diffagiqa.training.data import TrainingData
from diffagiqa.training.open_data import Opened
from diffagiqa.training.reproduce import Repeats

REGIMES = {
    "head-only": "prompters frozen, heads trained on cached features",
    "full": "full method: prompters, pyramid and heads",
}
PROTOCOLS = {
    "prompt": "by prompt: no prompt on both sides",
    "image": "by image: test prompts are in training",
    "official": "as published",
    "generators": "leaving one generator out, and its test prompts",
}
"""Values of ``TrainingConfig.split``; only "prompt" and "generators" test on new prompts for certain."""
BASELINE = "baseline: the generator's mean label, without seeing the image"


def render(
    config: TrainingConfig,
    rows: TrainingData,
    done: Sequence[Repeats],
    notes: Sequence[str],
    command: str,
) -> str:
    """The report as Markdown. A regime that was not run is printed as not run."""
    database = rows.names[0]
    by_regime = {repeats.regime: repeats for repeats in done}
    sections = [
        f"# Results on {database}",
        *([_headline(rows, done[0])] if done else []),
        f"Every number below comes from this command or cites its source:\n\n```sh\n{command}\n```",
        "## What was run",
        _what(config, rows, done),
        "## Agreement with opinion scores on held-out images",
        "Median over repeats, then mean ± standard deviation. Intervals are 95 % percentile bootstraps "
        "over test prompts, with bounds averaged over repeats. RMSE is in units of the MOS scale.",
    ]
    for task in rows.task_names:
        theirs = published_table(database, task)
        sections += [
            f"### {task.capitalize()}",
            _ours(task, by_regime),
            *([_intervals(task, by_regime)] if done else []),
            f"Published results on {database}, {task}:"
            if theirs
            else "There are no published results to compare with.",
            *([theirs] if theirs else []),
        ]
        if done:
            sections += [
                f'Within each generator, first repeat of "{REGIMES[done[0].regime]}":',
                generator_table(done[0].evaluations[0], task),
            ]
    for other in rows.names[1:]:
        there = {regime: repeats.on(other) for regime, repeats in by_regime.items()}
        if not any(_tested(repeats) for repeats in there.values()):
            continue
        title = f"## The same repeats on the test set of {other}, which they trained on too"
        sections.append(title)
        for task in rows.task_names:
            sections += [f"### {other}, {task}", _ours(task, there), _intervals(task, there)]
    sections += ["## How this differs from the published settings"]
    sections += ["\n".join(f"* {note}" for note in notes)]
    return "\n\n".join(sections) + "\n"


def _headline(rows: TrainingData, repeats: Repeats) -> str:
    """The main result in a sentence: median SRCC by task, beside the baseline's."""
    ours, known = repeats.summary.tasks, summarise_repeats(repeats.baselines).tasks
    parts = [
        f"{task} {number(ours[task]['srcc'].median)} "
        f"(generator mean {number(known[task]['srcc'].median)})"
        for task in rows.task_names
        if task in ours and task in known
    ]
    return f"Median SRCC on held-out images: {', '.join(parts)}."


def _tested(repeats: Repeats) -> int:
    """Rated rows of the test parts, over repeats and tasks; prompts to test may be another database's."""
    return sum(task.rows for run in repeats.evaluations for task in run.tasks.values())


def differences(config: TrainingConfig, opened: Opened) -> list[str]:
    """What a reader must know before comparing our results with published ones."""
    model = config.model
    notes = [*opened.notes]
    if model.backbone != ModelConfig().backbone:
        notes.append(
            f"the backbone, and with it the features, is `{short_name(model.backbone)}`, not Stable "
            "Diffusion 1.5"
        )
    if model.image_size != ModelConfig().image_size:
        notes.append("images are scored at the sizes above, not at 512 x 512 pixels")
    if config.split == "prompt":
        notes.append(
            "no prompt is on both sides of a split; many published results split by image, where "
            "test prompts are seen in training"
        )
    chosen = (
        "the epoch is chosen on a validation set"
        if config.validation_fraction
        else "the last epoch is used"
    )
    notes.append(
        f"{chosen} and the test set is scored once; where a paper reports the best epoch on its test "
        "set, its result gains from that choice"
    )
    if config.damaged and config.damaged_weight:
        notes.append(
            f"{config.damaged:.0%} of the training images have two damaged copies, without ratings, that "
            "must score below them (`training/damage_ranking.py`)"
        )
    if config.init is None:
        notes.append(
            "pyramid and heads start from random weights: nothing was pretrained on ratings"
        )
    return notes


def short_name(path: str) -> str:
    """The last name of a path of this machine; hub ids stay whole.

    >>> short_name("/home/me/models/sd15"), short_name("you/model")
    ('sd15', 'you/model')
    """
    return path.rstrip("/").rsplit("/", 1)[-1] if path.count("/") != 1 else path


def _what(config: TrainingConfig, rows: TrainingData, done: Sequence[Repeats]) -> str:
    official = config.split == "official"
    parts = (
        "as published, " if official else f"by {config.split}: {config.test_fraction:.0%} test, "
    )
    if config.validation_fraction:
        parts += (
            f"{config.validation_fraction:.0%} of the rest validation"
            f"{' where none was published' if official else ''}; the test set is scored once, "
            "with the epoch that was best on validation."
        )
    else:
        parts += "no validation; the test set is scored once, with the last epoch."
    lines = [
        f"* {_counted(rows)}, split {parts}",
        f"* Backbone `{short_name(config.model.backbone)}`; every setting is in `config.json` of each "
        "repeat.",
    ]
    if done:
        lines.append(f"* {_seen_prompts(done[0])}")
    for repeats in done:
        seconds = [result["seconds"] for result in repeats.results]
        epoch = float(np.median([result["seconds_per_epoch"] for result in repeats.results]))
        epochs = sorted({int(result["epochs"]) for result in repeats.results})
        seeds = [result["seed"] for result in repeats.results]
        trained, size = repeats.config, repeats.config.model.image_size
        facts = [
            f"{size} x {size} pixels",
            f"batch {trained.batch_size}",
            "seeds " + ", ".join(map(str, seeds)),
            "to ".join(f"{n} " for n in sorted({epochs[0], epochs[-1]})) + "epochs",
            f"median {np.median(seconds):.0f} s each, {epoch:.1f} s per epoch",
        ]
        lines.append(f"* {REGIMES[repeats.regime]}: {', '.join(facts)}.")
    return "\n".join(lines)


def _seen_prompts(repeats: Repeats) -> str:
    """How the repeats were split, and how many of their test prompts are in training."""
    facts = [SplitFacts(**result["split"]) for result in repeats.results]
    kinds = sorted({fact.kind for fact in facts})
    how = ", ".join(kinds) if len(kinds) > 1 else facts[0].sentence.partition(":")[0]
    return (
        f"{how[0].upper()}{how[1:]}: on average {_share_seen(repeats)} of the test rows have a prompt "
        "that is in training."
    )


def _share_seen(repeats: Repeats) -> str:
    facts = [result["split"] for result in repeats.results]
    return f"{100 * np.mean([fact['seen'] / max(fact['test'], 1) for fact in facts]):.0f} %"


def _counted(rows: TrainingData) -> str:
    parts = []
    for source, name in enumerate(rows.names):
        members = (rows.sources == source).nonzero().flatten().tolist()
        prompts = len({rows.prompts[row] for row in members})
        parts.append(f"{name}: {counted(len(members), 'image')}, {counted(prompts, 'prompt')}")
    return "; ".join(parts)


def _ours(task: str, by_regime: Mapping[str, Repeats]) -> str:
    results = {
        name: by_regime[regime].summary if regime in by_regime else None
        for regime, name in REGIMES.items()
    }
    if by_regime:
        results[BASELINE] = summarise_repeats(next(iter(by_regime.values())).baselines)
    return results_table(results, task)


def _intervals(task: str, by_regime: Mapping[str, Repeats]) -> str:
    return intervals_table(
        {REGIMES[regime]: repeats.evaluations for regime, repeats in by_regime.items()}, task
    )


def protocols_table(done: Mapping[str, Sequence[Repeats]], tasks: Sequence[str]) -> str:
    """Median figures of every protocol, with the share of test rows whose prompt is in training."""
    rows = []
    for protocol, regimes in done.items():
        for repeats in regimes:
            summary = repeats.summary.tasks
            figures = [
                number(summary[task][metric].median) if task in summary else number(None)
                for task in tasks
                for metric in AGREEMENT[:2]
            ]
            count, share = str(len(repeats.results)), _share_seen(repeats)
            rows.append([PROTOCOLS[protocol], repeats.regime, count, share, *figures])
    names = [f"{task} {NAMES[metric]}" for task in tasks for metric in AGREEMENT[:2]]
    return markdown(["split", "regime", "repeats", "test prompts in training", *names], rows)
