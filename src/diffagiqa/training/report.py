"""Results -> ``report.md``: our figures beside published ones, and what differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from diffagiqa.training.config import TrainingConfig
from diffagiqa.training.data import Rows
from diffagiqa.training.reproduce import Repeats

NAMES = {
    "head-only": "prompters frozen, heads trained on cached features",
    "full": "full method: prompters, pyramid and heads",
}


@dataclass(frozen=True)
class Published:
    """One row of a paper's table: figures by (task, metric), and where they stand."""

    method: str
    figures: Mapping[tuple[str, str], float]
    source: str


def render(
    config: TrainingConfig, rows: Rows, done: Sequence[Repeats], published: Sequence[Published],
    notes: Sequence[str], command: str,
) -> str:  # fmt: skip
    """The report as Markdown. A regime that was not run is printed as not run."""
    database = " + ".join(rows.names)
    sections = [
        f"# Results on {database}",
        f"Written by `{command}`; every figure below comes from that run or names its source.",
        "## What was run",
        *_what(config, rows, done),
        "## Agreement with opinions on held-out pictures",
        "Median over repeats, then mean ± standard deviation. The interval is the 95 % percentile "
        "bootstrap over test prompts, its bounds averaged over repeats. PLCC is plain, without a "
        "logistic fit. RMSE is in units of the MOS scale.",
    ]
    by_regime = {repeats.regime: repeats for repeats in done}
    for task in rows.task_names:
        sections += [f"### {task.capitalize()}", _ours(task, by_regime)]
        theirs = [row for row in published if any(key[0] == task for key in row.figures)]
        if theirs:
            sections += [f"Published figures on {database}, {task}:", _theirs(task, theirs)]
    sections += [
        "## How this differs from the published settings",
        "\n".join(f"* {n}" for n in notes),
    ]
    return "\n\n".join(sections) + "\n"


def _what(config: TrainingConfig, rows: Rows, done: Sequence[Repeats]) -> list[str]:
    model = config.model
    lines = [
        f"* {len(rows)} pictures, {len(set(rows.prompts))} prompts, split by {config.split}: "
        f"{config.test_fraction:.0%} test, {config.validation_fraction:.0%} of the rest validation; "
        "the test part is scored once, by the epoch that was best on validation.",
        f"* Backbone `{model.backbone.rstrip('/').rsplit('/', 1)[-1]}`, {model.image_size} x "
        f"{model.image_size} pixels, timestep {model.timestep}, {len(model.features)} features, "
        f"pyramid of {model.pyramid_channels} channels at {model.pyramid_size} x {model.pyramid_size}.",
        f"* Loss {config.regression} + {config.relation_weight} x {config.relation}, AdamW, learning "
        f"rates {config.lr_heads} (heads) and {config.lr_prompters} (prompters), batch "
        f"{config.batch_size}, at most {config.epochs} epochs.",
    ]
    for repeats in done:
        seconds = [result["seconds"] for result in repeats.results]
        epoch = float(np.median([result["seconds_per_epoch"] for result in repeats.results]))
        lines.append(
            f"* {NAMES.get(repeats.regime, repeats.regime)}: {len(repeats.results)} repeats, median "
            f"{np.median(seconds):.0f} s each, {epoch:.1f} s per epoch."
        )
    return ["\n".join(lines)]


def _ours(task: str, by_regime: Mapping[str, Repeats]) -> str:
    lines = [
        "| | repeats | SRCC | PLCC | KRCC | RMSE | SRCC within generators |",
        "|---|---|---|---|---|---|---|",
    ]
    for regime, name in NAMES.items():
        repeats = by_regime.get(regime)
        if repeats is None or not repeats.values(task, "srcc"):
            lines.append(f"| {name} | not run | not run | not run | not run | not run | not run |")
            continue
        cells = [_cell(repeats, task, metric) for metric in ("srcc", "plcc", "krcc", "rmse")]
        inside = repeats.values(task, "within_generators_srcc")
        cells.append(f"{np.median(inside):.3f}" if inside else "-")
        lines.append(f"| {name} | {len(repeats.results)} | {' | '.join(cells)} |")
    first = next(iter(by_regime.values()), None)
    if first is not None and first.values(task, "srcc"):
        baseline = [result["tasks"][task]["generator_baseline"] for result in first.results]
        cells = [
            f"{np.nanmedian([row[metric] for row in baseline]):.3f}"
            for metric in ("srcc", "plcc", "krcc", "rmse")
        ]
        lines.append(
            f"| baseline: the generator's mean in the training part, no picture seen | "
            f"{len(first.results)} | {' | '.join(cells)} | 0 |"
        )
    return "\n".join(lines)


def _cell(repeats: Repeats, task: str, metric: str) -> str:
    values = repeats.values(task, metric)
    bounds = [result["tasks"][task]["interval"][metric] for result in repeats.results]
    low, high = np.mean(bounds, axis=0)
    spread = f", {np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"**{np.median(values):.3f}**{spread} [{low:.3f}, {high:.3f}]"


def _theirs(task: str, published: Sequence[Published]) -> str:
    lines = ["| method | SRCC | PLCC | KRCC | source |", "|---|---|---|---|---|"]
    for row in published:
        cells = [
            f"{row.figures[task, metric]:.4f}" if (task, metric) in row.figures else "not reported"
            for metric in ("srcc", "plcc", "krcc")
        ]
        lines.append(f"| {row.method} | {' | '.join(cells)} | {row.source} |")
    return "\n".join(lines)
