"""``diffagiqa evaluate``: how well one model agrees with the people who rated a table of images."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffagiqa.cli import model_options
from diffagiqa.cli import training_options as options

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from diffagiqa.data.databases import Database
    from diffagiqa.evaluation.protocol import Evaluation
    from diffagiqa.evaluation.rated_table import RatedTable
    from diffagiqa.scorer import Scorer


def evaluate(
    table: Annotated[
        Path,
        typer.Argument(
            help="Table of rated images: CSV, TSV, JSONL, JSON, Parquet or xlsx; by default with "
            "the columns Image, Prompt and MOS."
        ),
    ],
    root: Annotated[
        Path | None, options.data_option(help="Folder of the images. Default: the table's.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Report to write, .csv, .jsonl or .parquet.")] = Path(
        "report.csv"
    ),
    label: Annotated[
        list[str] | None,
        options.data_option(
            "--label",
            help="TASK=COLUMN of the task's ratings, such as perception=mos; may be repeated.",
        ),
    ] = None,
    task: Annotated[
        str | None,
        options.data_option(
            help="The task that column MOS rates, without --label. Default: perception."
        ),
    ] = None,
    scale: Annotated[
        list[str] | None,
        options.data_option(
            "--scale",
            help="TASK=LOWEST:HIGHEST, the scale of the task's ratings, such as perception=1:5; may be "
            "repeated. Default: the model's.",
        ),
    ] = None,
    image_column: Annotated[
        str | None, options.data_option(help="Column of the image files.")
    ] = None,
    prompt_column: Annotated[str | None, options.data_option(help="Column of the prompts.")] = None,
    generator_column: Annotated[
        str | None, options.data_option(help="Column of the generators.")
    ] = None,
    pairs: options.Pairs = None,
    model: model_options.Model = None,
    backbone: model_options.Backbone = None,
    device: model_options.Device = None,
    dtype: model_options.Dtype = "auto",
    seed: model_options.Seed = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Score a table of rated images; print SRCC, PLCC and other figures with their intervals.

    The report holds the rows of the table and the columns predicted_score, in units of the ratings
    (with several labels TASK_predicted for each), and error.

    A table of choices between images (prompt, image_a, image_b, preferred; or prompt, image, rank) gives
    the share of pairs in the right order, and the best of n. Its report holds images and scores.

    Exit code: 0 if every row was scored, 1 if some failed (see the column error), 2 for wrong use.

    Examples:
        diffagiqa evaluate val.csv --root images
        diffagiqa evaluate ratings.csv --label perception=q --label alignment=a
        diffagiqa evaluate val.csv --model models/released --json
        diffagiqa evaluate choices.csv --pairs left,right,winner
    """
    import json

    from diffagiqa.data.databases.choices import holds_choices, read_preferences
    from diffagiqa.data.results import check_place, check_suffix
    from diffagiqa.data.wording import counted
    from diffagiqa.errors import ConfigError
    from diffagiqa.evaluation.rated_table import read_rated_table

    check_suffix(out)
    check_place(out)
    if out.exists():
        raise ConfigError(f"{out} is there already; give --out another name, or remove it")
    if not out.parent.is_dir():
        raise ConfigError(
            f"{out} cannot be written (there is no folder {out.parent}); make it first"
        )
    if task and label:
        raise ConfigError(
            f"--task {task} and --label were given; a label names its task, so give one"
        )
    if pairs is not None and (label or task):
        raise ConfigError(
            "--pairs and --label or --task were given; a table holds choices or ratings"
        )
    if pairs is not None or (not (label or task) and holds_choices(table)):
        columns = options.pair_columns(pairs)
        database = read_preferences(table, columns, prompt=prompt_column or "prompt", root=root)
        from diffagiqa.scorer import Scorer

        scorer = Scorer.from_pretrained(
            model, backbone=backbone, device=device, dtype=dtype, seed=seed
        )
        _choices(database, scorer, model, out, as_json, quiet)
        return
    labels = options.parse_pairs(label or [], "--label") or {task or "perception": "MOS"}
    rated = read_rated_table(
        table, labels, root=None if root is None else str(root), image=image_column,
        prompt=prompt_column, generator=generator_column,
    )  # fmt: skip
    from diffagiqa.scorer import Scorer

    scorer = Scorer.from_pretrained(model, backbone=backbone, device=device, dtype=dtype, seed=seed)
    scales = _scales(scorer, labels, options.parse_scales(scale or []))
    predicted = _write_report(out, rated, labels, scales, scorer, quiet)
    seen = _seen(model, [row.sample.source for row in rated.rows])
    new = predicted if seen.all() else [{} if seen[i] else own for i, own in enumerate(predicted)]
    evaluation = _evaluation(rated, new, list(labels))
    scored = sum(bool(own) for own in predicted)
    if as_json:
        facts: dict[str, Any] = {"rows": len(rated.rows), "scored": scored, "report": str(out)}
        if len(labels) == 1:
            (only,) = evaluation.tasks.values()
            facts |= {"task": next(iter(labels)), "rated": only.rows}
            facts |= {name.upper(): figure.value for name, figure in only.figures.items()}
        facts["seen_in_training"] = int(seen.sum())
        typer.echo(json.dumps(facts | evaluation.as_json()))
    else:
        typer.echo(f"{scored:,} of {counted(len(rated.rows), 'row')} scored; report in {out}")
        _say_seen(seen)
        _show(evaluation, rated, labels, scales)
    if scored < len(rated.rows):
        raise typer.Exit(1)


def _choices(
    database: Database, scorer: Scorer, model: str | None, out: Path, as_json: bool, quiet: bool
) -> None:
    """Score the images of choices, each once; write them, print the agreement with people."""
    import json
    import sys

    import numpy as np

    from diffagiqa.data.results import RowWriter
    from diffagiqa.data.wording import counted
    from diffagiqa.evaluation.pairs import evaluate_pairs, pair_texts, preference_score
    from diffagiqa.evaluation.predict import predict

    samples = database.samples()
    kinds = {"image": str, "prompt": str, **dict.fromkeys(scorer.tasks, float), "error": str}
    bar: Any = contextlib.nullcontext()
    if not quiet and sys.stderr.isatty():
        bar = typer.progressbar(length=len(samples), label="scoring", file=sys.stderr)
    with RowWriter(out, kinds) as report:
        with bar as shown:
            scores, faults = predict(
                scorer, samples, (lambda done: shown.update(1)) if shown else lambda done: None
            )
        for row, sample in enumerate(samples):
            found = {task: None if row in faults else float(v[row]) for task, v in scores.items()}
            cells = {"image": sample.image, "prompt": sample.prompt or ""}
            report.write(cells | found | {"error": faults.get(row, "")})
    seen = _seen(model, [sample.source for sample in samples])
    values = np.array(preference_score(scores, database.groups[0].task))
    if not seen.all():
        values[seen] = np.nan
    result = evaluate_pairs(
        values, database.groups,
        [sample.prompt or "" for sample in samples], [s.generator or "unknown" for s in samples],
    )  # fmt: skip
    scored = len(samples) - len(faults)
    if as_json:
        facts = {"rows": len(samples), "scored": scored, "report": str(out),
                 "seen_in_training": int(seen.sum())}  # fmt: skip
        typer.echo(json.dumps(facts | result.as_json()))
    else:
        typer.echo(f"{scored:,} of {counted(len(samples), 'image')} scored; report in {out}")
        _say_seen(seen)
        for line in pair_texts(result):
            typer.echo(f"  {line}")
    if faults:
        raise typer.Exit(1)


def _seen(model: str | None, sources: Sequence[Any]) -> NDArray[np.bool_]:
    """(N,) whether each image looks like one that the model was trained on, as far as it says."""
    import numpy as np

    from diffagiqa.data.image_hash import near_others, perceptual_hashes
    from diffagiqa.pretrained import DEFAULT_MODEL, find_model, training_images

    trained = training_images(DEFAULT_MODEL if model is None else find_model(model))
    if not len(trained):
        return np.zeros(len(sources), bool)
    return near_others(perceptual_hashes(sources), trained)


def _say_seen(seen: NDArray[np.bool_]) -> None:
    if seen.all() and len(seen):
        typer.echo("note: the model was trained on these images, so figures say nothing of others")
    elif seen.any():
        typer.echo(
            f"note: {int(seen.sum())} of {len(seen)} images look like ones that the model was trained "
            "on; figures leave them out"
        )


def _scales(
    scorer: Scorer, labels: Mapping[str, str], given: Mapping[str, tuple[float, float]]
) -> dict[str, tuple[float, float]]:
    """The scale of each label: as given, else the model's own."""
    from diffagiqa.errors import ConfigError, quoted

    own = {task.name: (task.mos_min, task.mos_max) for task in scorer.config.tasks}
    for task in (*labels, *given):
        if task not in own:
            raise ConfigError(f"the model has no task {quoted(task)}; it has {', '.join(own)}")
    return {task: given.get(task, own[task]) for task in labels}


def _write_report(
    out: Path,
    rated: RatedTable,
    labels: Mapping[str, str],
    scales: Mapping[str, tuple[float, float]],
    scorer: Scorer,
    quiet: bool,
) -> list[dict[str, float]]:
    """Score the rows and write each with its prediction or its error.

    Returns the predictions by task, in units of the labels; an empty one for a row that failed.
    """
    import sys

    from diffagiqa.data.results import RowWriter
    from diffagiqa.errors import DiffAGIQAError
    from diffagiqa.evaluation.rated_table import column_kinds

    columns = {t: f"{t}_predicted" if len(labels) > 1 else "predicted_score" for t in labels}
    kinds = column_kinds(rated, labels)
    kinds |= {**dict.fromkeys(columns.values(), float), "error": str}
    found = scorer.score_many(
        (row.sample.source, row.sample.prompt or "") for row in rated.rows if not row.sample.error
    )
    bar: Any = contextlib.nullcontext(rated.rows)
    if not quiet and sys.stderr.isatty():
        bar = typer.progressbar(rated.rows, label="scoring", file=sys.stderr)
    predicted: list[dict[str, float]] = []
    # Opened first, before hours are spent on what cannot be kept.
    with RowWriter(out, kinds) as report, bar as rows:
        for row in rows:
            result = None if row.sample.error else next(found)
            own, fault = {}, row.sample.error
            if isinstance(result, DiffAGIQAError):
                fault = str(result)
            elif result is not None:
                own = {t: low + result[t] * (high - low) for t, (low, high) in scales.items()}
            predicted.append(own)
            report.write(row.cells | {columns[t]: own.get(t) for t in labels} | {"error": fault})
    return predicted


def _evaluation(
    rated: RatedTable, predicted: list[dict[str, float]], tasks: list[str]
) -> Evaluation:
    """Agreement by the protocol that ``train`` uses."""
    import pandas as pd

    from diffagiqa.evaluation.protocol import evaluate_predictions
    from diffagiqa.training.measures import RESAMPLES

    samples = [row.sample for row in rated.rows]
    frame = pd.DataFrame({"prompt": [sample.prompt or "" for sample in samples]})
    if rated.generator is not None:
        frame["generator"] = [sample.generator or "unknown" for sample in samples]
    for task in tasks:
        frame[task] = [sample.labels.get(task, float("nan")) for sample in samples]
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
            "note: no column of prompts was found, so images were scored against the empty prompt; "
            "name it by --prompt-column"
        )
    for task, found in evaluation.tasks.items():
        over = intervals_text(found, evaluation.settings["by"])
        typer.echo(f"{task}: {counted(found.rows, 'rated and scored row')}, {over}")
        if found.unlabelled:
            typer.echo(
                f"  {counted(found.unlabelled, 'row')} without a number in {labels[task]} left out"
            )
        known = [r.sample.labels[task] for r in rated.rows if task in r.sample.labels]
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
