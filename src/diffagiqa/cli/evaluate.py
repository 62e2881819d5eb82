"""``diffagiqa evaluate``: how well one model agrees with the people who rated a table of images."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffagiqa.cli import model_options
from diffagiqa.cli import training_options as options

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from diffagiqa.data.samples import Sample
    from diffagiqa.evaluation.pairs import PairEvaluation
    from diffagiqa.evaluation.protocol import Evaluation
    from diffagiqa.evaluation.rated_table import RatedTable
    from diffagiqa.scorer import Scorer

    Predicted = dict[str, NDArray[np.float64]]


def evaluate(
    table: Annotated[
        Path,
        typer.Argument(
            help="Table of rated images: CSV, TSV, JSONL, JSON, Parquet or xlsx; by default with "
            "the columns Image, Prompt and MOS, which is of perception on the model's scale."
        ),
    ],
    root: Annotated[
        Path | None, options.data_option(help="Folder of the images. Default: the table's.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Report to write, .csv, .jsonl or .parquet.")] = Path(
        "report.csv"
    ),
    label: options.Label = None,
    scale: options.Scale = None,
    image_column: Annotated[
        str | None, options.data_option(help="Column of the image files.")
    ] = None,
    prompt_column: Annotated[str | None, options.data_option(help="Column of the prompts.")] = None,
    generator_column: options.GeneratorColumn = None,
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
    from diffagiqa.evaluation.pairs import evaluate_pairs, pair_texts, preference_score
    from diffagiqa.evaluation.rated_table import column_kinds, read_rated_table

    check_suffix(out)
    check_place(out)
    if out.exists():
        raise ConfigError(f"{out} is there already; give --out another name, or remove it")
    if not out.parent.is_dir():
        raise ConfigError(
            f"{out} cannot be written (there is no folder {out.parent}); make it first"
        )
    if pairs is not None and label:
        raise ConfigError("--pairs and --label were given; a table holds choices or ratings")
    labels = options.parse_pairs(label or [], "--label")
    load = partial(_load, model, backbone=backbone, device=device, dtype=dtype, seed=seed)
    result: Evaluation | PairEvaluation
    facts: dict[str, Any] = {}
    if pairs is not None or (not labels and holds_choices(table)):
        columns = options.pair_columns(pairs)
        database = read_preferences(table, columns, prompt=prompt_column or "prompt", root=root)
        samples, what, scorer = database.samples(), "image", load()
        cells = [{"image": sample.image, "prompt": sample.prompt or ""} for sample in samples]
        scales = dict.fromkeys(scorer.tasks, (0.0, 1.0))
        kinds = {"image": str, "prompt": str}
        predicted, faults = _predict(out, samples, cells, kinds, scales, scales, scorer, quiet)
        predicted, seen = _without_seen(model, samples, predicted)
        result = evaluate_pairs(
            preference_score(predicted, database.groups[0].task), database.groups,
            [sample.prompt or "" for sample in samples],
            [sample.generator or "unknown" for sample in samples],
        )  # fmt: skip
        lines = [f"  {line}" for line in pair_texts(result)]
    else:
        labels = labels or {"perception": "MOS"}
        rated = read_rated_table(
            table, labels, root=None if root is None else str(root), image=image_column,
            prompt=prompt_column, generator=generator_column,
        )  # fmt: skip
        samples, what, scorer = tuple(row.sample for row in rated.rows), "row", load()
        scales = _scales(scorer, labels, options.parse_scales(scale or []))
        names = [f"{task}_predicted" if len(labels) > 1 else "predicted_score" for task in labels]
        predicted, faults = _predict(
            out, samples, [row.cells for row in rated.rows], column_kinds(rated, labels), scales, names,
            scorer, quiet,
        )  # fmt: skip
        predicted, seen = _without_seen(model, samples, predicted)
        result = _evaluation(rated, predicted)
        lines = list(_texts(result, rated, labels, scales))
        if len(labels) == 1:
            (only,) = result.tasks.values()
            facts = {"task": next(iter(labels)), "rated": only.rows}
            facts |= {name.upper(): figure.value for name, figure in only.figures.items()}
    scored = len(samples) - len(faults)
    if as_json:
        counts = {"rows": len(samples), "scored": scored, "report": str(out)}
        facts = counts | facts | {"seen_in_training": int(seen.sum())}
        typer.echo(json.dumps(facts | result.as_json()))
    else:
        typer.echo(f"{scored:,} of {counted(len(samples), what)} scored; report in {out}")
        if seen.any():
            typer.echo(f"note: {_seen_text(seen)}")
        for line in lines:
            typer.echo(line)
    if faults:
        raise typer.Exit(1)


def _load(model: str | None, **options: Any) -> Scorer:
    from diffagiqa.scorer import Scorer

    return Scorer.from_pretrained(model, **options)


def _predict(
    out: Path, samples: Sequence[Sample], cells: Sequence[Mapping[str, Any]],
    kinds: Mapping[str, type], scales: Mapping[str, tuple[float, float]], names: Iterable[str],
    scorer: Scorer, quiet: bool,
) -> tuple[Predicted, dict[int, str]]:  # fmt: skip
    """Score, and write every row's cells, its prediction per task, called as in ``names``, and its error.

    Returns the predictions by task in units of ``scales``, NaN where a row failed, and why it did.
    """
    import sys

    from diffagiqa.data.results import RowWriter
    from diffagiqa.evaluation.predict import predict

    columns = dict(zip(names, scales, strict=True))
    bar: Any = contextlib.nullcontext()
    if not quiet and sys.stderr.isatty():
        bar = typer.progressbar(length=len(samples), label="scoring", file=sys.stderr)
    # Opened first, before hours are spent on what cannot be kept.
    with RowWriter(out, {**kinds, **dict.fromkeys(columns, float), "error": str}) as report:
        with bar as shown:
            scores, faults = predict(
                scorer, samples, (lambda done: shown.update(1)) if shown else lambda done: None
            )
        predicted = {t: low + scores[t] * (high - low) for t, (low, high) in scales.items()}
        for row, given in enumerate(cells):
            values = {name: predicted[task][row] for name, task in columns.items()}
            report.write({**given, **values, "error": faults.get(row)})
    return predicted, faults


def _without_seen(
    model: str | None, samples: Sequence[Sample], predicted: Predicted
) -> tuple[Predicted, NDArray[np.bool_]]:
    """The predictions without those of images the model was trained on, unless all are; and which are."""
    import numpy as np

    seen = _seen(model, [sample.source for sample in samples])
    if seen.all():
        return predicted, seen
    return {task: np.where(seen, np.nan, values) for task, values in predicted.items()}, seen


def _seen(model: str | None, sources: Sequence[Any]) -> NDArray[np.bool_]:
    """(N,) whether each image looks like one that the model was trained on, as far as it says."""
    import numpy as np

    from diffagiqa.data.image_hash import near_others, perceptual_hashes
    from diffagiqa.pretrained import DEFAULT_MODEL, find_model, training_images

    trained = training_images(DEFAULT_MODEL if model is None else find_model(model))
    if not len(trained):
        return np.zeros(len(sources), bool)
    return near_others(perceptual_hashes(sources), trained)


def _seen_text(seen: NDArray[np.bool_]) -> str:
    if seen.all():
        return "the model was trained on these images, so figures say nothing of others"
    return (
        f"{int(seen.sum())} of {len(seen)} images look like ones that the model was trained on; "
        "figures leave them out"
    )


def _scales(
    scorer: Scorer, labels: Mapping[str, str], given: Mapping[str, tuple[float, float]]
) -> dict[str, tuple[float, float]]:
    """The scale of each label: as given, else the model's own."""
    from diffagiqa.errors import ConfigError, quoted

    known = {task.name: (task.mos_min, task.mos_max) for task in scorer.config.tasks}
    for task in (*labels, *given):
        if task not in known:
            raise ConfigError(f"the model has no task {quoted(task)}; it has {', '.join(known)}")
    return {task: given.get(task, known[task]) for task in labels}


def _evaluation(rated: RatedTable, predicted: Mapping[str, NDArray[np.float64]]) -> Evaluation:
    """Agreement by the protocol that ``train`` uses, of the rows that have a prediction."""
    import pandas as pd

    from diffagiqa.evaluation.protocol import evaluate_predictions
    from diffagiqa.training.measures import RESAMPLES

    samples = [row.sample for row in rated.rows]
    frame = pd.DataFrame({"prompt": [sample.prompt or "" for sample in samples]})
    if rated.generator is not None:
        frame["generator"] = [sample.generator or "unknown" for sample in samples]
    for task, values in predicted.items():
        frame[task] = [sample.labels.get(task, float("nan")) for sample in samples]
        frame[f"{task}_predicted"] = values
    scored = frame[frame[[f"{task}_predicted" for task in predicted]].notna().any(axis=1)]
    return evaluate_predictions(scored, list(predicted), resamples=RESAMPLES)


def _texts(
    evaluation: Evaluation,
    rated: RatedTable,
    labels: Mapping[str, str],
    scales: Mapping[str, tuple[float, float]],
) -> Iterator[str]:
    """The figures of every task, and what a reader must know of them."""
    from diffagiqa.data.wording import counted
    from diffagiqa.evaluation.protocol import METRICS
    from diffagiqa.evaluation.tables import figure_texts, generator_table, intervals_text

    if rated.prompt is None:
        yield (
            "note: no column of prompts was found, so no image has a score that is about its prompt; "
            "name it by --prompt-column"
        )
    for task, measured in evaluation.tasks.items():
        over = intervals_text(measured, evaluation.settings["by"])
        yield f"{task}: {counted(measured.rows, 'rated and scored row')}, {over}"
        if measured.unlabelled:
            yield (
                f"  {counted(measured.unlabelled, 'row')} without a number in {labels[task]} left out"
            )
        known = [r.sample.labels[task] for r in rated.rows if task in r.sample.labels]
        low, high = scales[task]
        if known and not (low <= min(known) and max(known) <= high):
            yield (
                f"  note: {labels[task]} runs from {min(known):g} to {max(known):g}, outside the scale "
                f"of {low:g} to {high:g}, so RMSE and MAE mean nothing; give --scale "
                f"{task}=LOWEST:HIGHEST"
            )
        for text in figure_texts(measured, METRICS, digits=4):
            yield f"  {text}"
        for name, value in measured.within.items():
            if value is not None and len(measured.generators) > 1:
                yield f"  {name.upper()} within generators {value:.4f}"
        if len(measured.generators) > 1:
            yield f"\n{generator_table(evaluation, task)}\n"
