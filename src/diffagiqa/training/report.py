"""Results -> ``report.md``: our figures beside published ones, and what differs."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from diffagiqa.model.config import ModelConfig
from diffagiqa.training.config import TrainingConfig
from diffagiqa.training.data import Rows
from diffagiqa.training.open_data import Opened
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
        "Median over repeats, then mean ± standard deviation, then the 95 % percentile bootstrap "
        "interval over test prompts, its bounds averaged over repeats. PLCC is plain; fitted PLCC is "
        "after a 4-parameter logistic curve. RMSE and MAE are in units of the MOS scale.",
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


def differences(config: TrainingConfig, opened: Opened) -> list[str]:
    """What a reader must know before comparing our figures with published ones."""
    model = config.model
    found = [*opened.notes]
    if model.backbone != ModelConfig().backbone:
        found.append(
            f"The backbone is `{_short(model.backbone)}`, not Stable Diffusion 1.5, and its features are "
            "those of that network."
        )
    if model.image_size != ModelConfig().image_size:
        found.append(
            f"Pictures are scored at {model.image_size} x {model.image_size} pixels, not 512 x 512."
        )
    if config.split == "prompt":
        found.append(
            "No prompt is on both sides of a split. Many published figures split by picture, where "
            "the same prompt is seen in training."
        )
    found.append(
        "The epoch is chosen on a validation part and the test part is scored once; where a paper "
        "reports the best epoch on its test part, its figure is higher by that choice."
    )
    if config.init is None:
        found.append(
            "Pyramid and heads start from random weights; nothing was pretrained on ratings."
        )
    return found


def published_rows(databases: Sequence[str]) -> list[Published]:
    """What papers report for a database, each with its source."""
    return []


def command_line() -> str:
    """The command as it was given, its folders shortened to their names."""
    parts = ["diffagiqa"]
    for part in sys.argv[1:]:
        name, equals, value = part.partition("=")
        text = f"{name}={_short(value)}" if equals and "/" in value else _short(part)
        parts.append(shlex.quote(text))
    return " ".join(parts)


def _short(path: str) -> str:
    """The last name of a path of this machine; hub ids stay whole."""
    return path.rstrip("/").rsplit("/", 1)[-1] if path.count("/") != 1 else path


def _what(config: TrainingConfig, rows: Rows, done: Sequence[Repeats]) -> list[str]:
    model = config.model
    lines = [
        f"* {len(rows)} pictures, {len(set(rows.prompts))} prompts, split by {config.split}: "
        f"{config.test_fraction:.0%} test, {config.validation_fraction:.0%} of the rest validation; "
        "the test part is scored once, by the epoch that was best on validation.",
        f"* Backbone `{_short(model.backbone)}`, {model.image_size} x "
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


COLUMNS = (
    ("SRCC", "srcc"),
    ("PLCC", "plcc"),
    ("KRCC", "krcc"),
    ("fitted PLCC", "plcc_fitted"),
    ("RMSE", "rmse"),
    ("MAE", "mae"),
    ("SRCC within generators", "within_generators_srcc"),
)


def _ours(task: str, by_regime: Mapping[str, Repeats]) -> str:
    lines = [
        f"| | repeats | {' | '.join(title for title, _ in COLUMNS)} |",
        f"|---|---|{'---|' * len(COLUMNS)}",
    ]
    for regime, name in NAMES.items():
        repeats = by_regime.get(regime)
        if repeats is None or not repeats.values(task, "srcc"):
            lines.append(f"| {name} | {' | '.join(['not run'] * (1 + len(COLUMNS)))} |")
            continue
        cells = [_cell(repeats, task, metric) for _, metric in COLUMNS]
        lines.append(f"| {name} | {len(repeats.results)} | {' | '.join(cells)} |")
    first = next(iter(by_regime.values()), None)
    if first is not None and first.values(task, "srcc"):
        baseline = [result["tasks"][task]["generator_baseline"] for result in first.results]
        cells = [
            f"{np.nanmedian([row[metric] for row in baseline]):.3f}"
            if metric in baseline[0]
            else "-"
            for _, metric in COLUMNS
        ]
        lines.append(
            f"| baseline: the generator's mean label, no picture seen | {len(first.results)} "
            f"| {' | '.join(cells)} |"
        )
    return "\n".join(lines)


def _cell(repeats: Repeats, task: str, metric: str) -> str:
    values = repeats.values(task, metric)
    if not values:
        return "-"
    cell = f"**{np.median(values):.3f}**"
    if len(values) > 1:
        cell += f" {np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"
    bounds = [
        result["tasks"][task]["interval"][metric]
        for result in repeats.results
        if metric in result["tasks"][task]["interval"]
    ]
    if bounds:
        low, high = np.mean(bounds, axis=0)
        cell += f" [{low:.3f}, {high:.3f}]"
    return cell


def _theirs(task: str, published: Sequence[Published]) -> str:
    lines = ["| method | SRCC | PLCC | KRCC | source |", "|---|---|---|---|---|"]
    for row in published:
        cells = [
            f"{row.figures[task, metric]:.4f}" if (task, metric) in row.figures else "not reported"
            for metric in ("srcc", "plcc", "krcc")
        ]
        lines.append(f"| {row.method} | {' | '.join(cells)} | {row.source} |")
    return "\n".join(lines)
