"""``diffagiqa evaluate``: how well one model agrees with the people who rated a table of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffagiqa.cli import training_options as options

if TYPE_CHECKING:
    from diffagiqa.evaluation.protocol import Evaluation
    from diffagiqa.evaluation.rated_table import RatedTable
    from diffagiqa.scorer import Scorer


def evaluate(
    table: Annotated[
        Path,
        typer.Argument(
            help="Rated pictures: CSV, TSV, JSONL, JSON, Parquet or xlsx; by default columns Image, "
            "Prompt, MOS."
        ),
    ],
    root: Annotated[
        Path | None, typer.Option(help="Folder of the images; default: that of the table.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Report to write: .csv, .jsonl, .parquet.")] = Path(
        "report.csv"
    ),
    label: Annotated[
        list[str] | None,
        typer.Option("--label", help="TASK=COLUMN, such as perception=mos, several times."),
    ] = None,
    scale: Annotated[
        list[str] | None,
        typer.Option(
            "--scale",
            help="TASK=LOWEST:HIGHEST of the labels, such as perception=1:5; default: the model's.",
        ),
    ] = None,
    image_column: Annotated[str | None, typer.Option(help="Column of the image files.")] = None,
    prompt_column: Annotated[str | None, typer.Option(help="Column of the prompts.")] = None,
    generator_column: Annotated[str | None, typer.Option(help="Column of the generators.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Model folder or hub id; default: the embedded model.")
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="Local copy of the model's backbone.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="Without --label: the task that MOS rates; perception.")
    ] = None,
    device: options.Device = None,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16, float16.")] = "auto",
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of the noise.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Score a labelled table and print SRCC, PLCC and the other figures, with intervals.

    The report holds the table's rows plus predicted_score (in units of the labels; with several labels
    TASK_predicted for each) and error.

    Exit code: 0 where every row was scored, 1 where some failed (see column error), 2 wrong use.

    Examples:
        diffagiqa evaluate val.csv --root images
        diffagiqa evaluate ratings.csv --label perception=q --label alignment=a
        diffagiqa evaluate val.csv --model models/released --json
    """
    import json
    import sys

    from diffagiqa.data.results import RowWriter
    from diffagiqa.data.wording import counted
    from diffagiqa.errors import ConfigError, DiffAGIQAError
    from diffagiqa.evaluation.rated_table import column_kinds, read_rated_table
    from diffagiqa.scorer import Scorer

    if task and label:
        raise ConfigError(
            f"--task {task} and --label were given; a label names its task, so give one"
        )
    labels = options.parse_pairs(label or [], "--label") or {task or "perception": "MOS"}
    rated = read_rated_table(
        table, labels, root=None if root is None else str(root), image=image_column,
        prompt=prompt_column, generator=generator_column,
    )  # fmt: skip
    if out.exists() and out.samefile(table):
        raise ConfigError(f"{out} is the table itself; give --out another name")
    scorer = Scorer.from_pretrained(model, backbone=backbone, device=device, dtype=dtype, seed=seed)
    scales = _scales(scorer, labels, options.parse_scales(scale or []))
    columns = {t: f"{t}_predicted" if len(labels) > 1 else "predicted_score" for t in labels}
    kinds = column_kinds(rated, labels)
    kinds |= {**dict.fromkeys(columns.values(), float), "error": str}
    with RowWriter(out, kinds) as report:  # before hours are spent on what cannot be kept
        found = scorer.score_many(
            (row.place, row.prompt) for row in rated.rows if row.place is not None
        )
        if quiet or not sys.stderr.isatty():
            scores = list(found)
        else:
            with typer.progressbar(
                found, length=len(rated.rows), label="scoring", file=sys.stderr
            ) as bar:
                scores = list(bar)
        left = iter(scores)
        predicted: list[dict[str, float]] = []
        for row in rated.rows:
            result = None if row.place is None else next(left)
            fault = row.fault if result is None else ""
            if isinstance(result, DiffAGIQAError):
                result, fault = None, str(result)
            own = {} if result is None else {
                t: low + result[t] * (high - low) for t, (low, high) in scales.items()
            }  # fmt: skip
            predicted.append(own)
            said = {columns[t]: own.get(t) for t in labels}
            report.write(row.cells | said | {"error": fault})
    evaluation = _evaluation(rated, predicted, list(labels))
    scored = sum(bool(own) for own in predicted)
    if as_json:
        facts: dict[str, Any] = {"rows": len(rated.rows), "scored": scored, "report": str(out)}
        if len(labels) == 1:
            (only,) = evaluation.tasks.values()
            facts |= {"task": next(iter(labels)), "rated": only.rows}
            facts |= {name.upper(): figure.value for name, figure in only.figures.items()}
        typer.echo(json.dumps(facts | evaluation.as_json()))
    else:
        typer.echo(f"{scored:,} of {counted(len(rated.rows), 'row')} scored; report in {out}")
        _show(evaluation, rated, labels, scales)
    if scored < len(rated.rows):
        raise typer.Exit(1)


def _scales(
    scorer: Scorer, labels: Mapping[str, str], given: Mapping[str, tuple[float, float]]
) -> dict[str, tuple[float, float]]:
    """The scale of each label: as given, else the model's own."""
    from diffagiqa.errors import ConfigError

    own = {task.name: (task.mos_min, task.mos_max) for task in scorer.config.tasks}
    for task in (*labels, *given):
        if task not in own:
            raise ConfigError(f"the model has no task {task!r}; it has {', '.join(own)}")
    return {task: given.get(task, own[task]) for task in labels}


def _evaluation(
    rated: RatedTable, predicted: list[dict[str, float]], tasks: list[str]
) -> Evaluation:
    """Agreement by the protocol that ``train`` uses."""
    import pandas as pd

    from diffagiqa.evaluation.protocol import evaluate_predictions
    from diffagiqa.training.measures import RESAMPLES

    frame = pd.DataFrame({"prompt": [row.prompt for row in rated.rows]})
    if rated.generator is not None:
        frame["generator"] = [row.generator for row in rated.rows]
    for task in tasks:
        frame[task] = [row.labels[task] for row in rated.rows]
        values = [own.get(task, float("nan")) for own in predicted]
        frame[f"{task}_predicted"] = pd.Series(values, dtype="float64")
    scored = [bool(own) for own in predicted]
    return evaluate_predictions(frame[scored], tasks, resamples=RESAMPLES)


def _show(
    evaluation: Evaluation,
    rated: RatedTable,
    labels: Mapping[str, str],
    scales: Mapping[str, tuple[float, float]],
) -> None:
    """The figures of every task, and what a reader must know of them."""
    from diffagiqa.data.wording import counted
    from diffagiqa.evaluation.protocol import METRICS
    from diffagiqa.evaluation.tables import figure_texts, generator_table, intervals_text

    if rated.prompt is None:
        typer.echo(
            "note: no column of prompts was found, so pictures were scored against the empty prompt; "
            "name it by --prompt-column"
        )
    for task, found in evaluation.tasks.items():
        over = intervals_text(found, evaluation.settings["by"])
        typer.echo(f"{task}: {counted(found.rows, 'rated and scored row')}, {over}")
        if found.unlabelled:
            typer.echo(
                f"  {counted(found.unlabelled, 'row')} without a number in {labels[task]} left out"
            )
        known = [row.labels[task] for row in rated.rows if row.labels[task] == row.labels[task]]
        low, high = scales[task]
        if known and not (low <= min(known) and max(known) <= high):
            typer.echo(
                f"  note: {labels[task]} runs from {min(known):g} to {max(known):g}, outside the scale "
                f"of {low:g} to {high:g}, so RMSE and MAE mean nothing; give --scale "
                f"{task}=LOWEST:HIGHEST"
            )
        for text in figure_texts(found, METRICS, digits=4):
            typer.echo(f"  {text}")
        for name, value in found.within.items():
            if value is not None and len(found.generators) > 1:
                typer.echo(f"  {name.upper()} within generators {value:.4f}")
        if len(found.generators) > 1:
            typer.echo(f"\n{generator_table(evaluation, task)}\n")
