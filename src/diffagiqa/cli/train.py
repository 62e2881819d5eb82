"""``diffagiqa train``: learn prompters, pyramid and heads from a rated database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffagiqa.cli import training_options as options
from diffagiqa.data.columns import TableColumns


@options.with_columns
def train(
    databases: options.Databases,
    out: Annotated[Path, typer.Option(help="Folder of the run; the model is best/ in it.")],
    cache: options.Cache = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out.")] = False,
    device: options.Device = None,
    root: options.Root = None,
    *,
    columns: TableColumns,
    allow_partial: options.AllowPartial = False,
    unreadable: Annotated[
        str | None, options.data_option(help="At an image that cannot be read: stop or skip.")
    ] = None,
    split: options.SplitOption = None,
    recipe: options.Recipe = None,
    change: options.Set = None,
    backbone: options.BackboneOption = None,
    image_size: options.ImageSize = None,
    features: options.Features = None,
    freeze_prompters: Annotated[
        bool | None,
        options.config_option(
            "--freeze-prompters/--full",
            help="Train pyramid and heads alone, on cached features, or the prompters too.",
        ),
    ] = None,
    init: Annotated[
        str | None, options.config_option(help="Trained model to start from, folder or hub id.")
    ] = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    accumulation: Annotated[
        int | None, options.config_option(help="Pieces that a batch is computed in.")
    ] = None,
    lr_heads: Annotated[
        float | None, options.config_option(help="Peak learning rate of pyramid and heads.")
    ] = None,
    lr_prompters: Annotated[
        float | None, options.config_option(help="Peak learning rate of the prompters.")
    ] = None,
    regression: Annotated[
        str | None, options.config_option(help="Loss of each score: mse, huber or l1.")
    ] = None,
    relation: Annotated[
        str | None,
        options.config_option(help="Loss between scores: none, plcc, margin or fidelity."),
    ] = None,
    relation_weight: Annotated[
        float | None, options.config_option(help="Weight of the loss between scores.")
    ] = None,
    precision: Annotated[
        str | None, options.config_option(help="auto, float32 or bfloat16.")
    ] = None,
    flip: Annotated[
        bool | None, options.config_option("--flip/--no-flip", help="Mirror images at random.")
    ] = None,
    seed: options.Seed = None,
) -> None:
    """Train a scorer on one or more rated databases, or on a table of your own ratings.

    The test part of the split is scored once, by the epoch that was best on the validation part;
    test.csv holds its scores. An interrupted run continues with --resume, even if it was killed.
    For several processes or machines: accelerate launch -m diffagiqa.cli.main train ...

    Examples:
        diffagiqa train agiqa-3k --root agiqa-3k/ --out runs/full
        diffagiqa train agiqa-3k --root agiqa-3k/ --freeze-prompters --out runs/fast
        diffagiqa train ratings.csv --label perception=mos \\
            --scale perception=1:5 --out runs/mine
    """
    from diffagiqa.data.wording import counted
    from diffagiqa.evaluation.tables import figure_texts, intervals_text
    from diffagiqa.training.measures import evaluate_databases, predictions, predictions_csv
    from diffagiqa.training.open_data import make_split, prompts_of
    from diffagiqa.training.processes import Processes
    from diffagiqa.training.train import train as run_training
    from diffagiqa.training.unrated import with_unrated

    flags = {
        "model.backbone": backbone, "model.image_size": image_size, "model.features": features,
        "freeze_prompters": freeze_prompters, "init": init, "epochs": epochs,
        "batch_size": batch_size, "accumulation": accumulation, "lr_heads": lr_heads,
        "lr_prompters": lr_prompters, "regression": regression, "relation": relation,
        "relation_weight": relation_weight, "precision": precision, "flip": flip,
        "unreadable": unreadable, "seed": seed, "split_seed": seed,
        "split": options.split_of(split, columns.split),
    }  # fmt: skip
    config = options.configuration(databases, recipe, flags, change)
    opened = options.open_rows(databases, root, columns, allow_partial, config.unreadable)
    rows = with_unrated(opened.rows, config)
    parts = make_split(config, rows, opened.official)
    prompts = len(prompts_of(rows, parts["test"]))
    tested = f" ({counted(prompts, 'prompt')})" if prompts else ""
    typer.echo(", ".join(f"{name} {len(part)}" for name, part in parts.items()) + tested)
    fitted = run_training(
        config, rows, parts, out, cache=cache, device=device, resume=resume, log=typer.echo
    )
    if not Processes(device).main:
        return
    typer.echo(f"best epoch {fitted.best_epoch}, model in {out / 'best'}")
    several = len(opened.rows.names) > 1
    evaluations = evaluate_databases(fitted.test_scores, opened.rows, fitted.test_rows)
    for name, found in evaluations.items():
        typer.echo(f"test part of {name}:" if several else "test part:")
        for task, figures in found.tasks.items():
            over = intervals_text(figures, found.settings["by"])
            typer.echo(f"  {task}, {over}: {'  '.join(figure_texts(figures))}")
    frame = predictions(fitted.test_scores, opened.rows, fitted.test_rows)
    options.write(out / "test.csv", predictions_csv(frame))
    for name, found in evaluations.items():
        file = out / (f"test-{name}.json" if several else "test.json")
        found.save(file)
        typer.echo(f"written: {file}")
