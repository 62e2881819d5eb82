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
    pairs: options.Pairs = None,
    allow_partial: options.AllowPartial = False,
    unreadable: Annotated[
        str | None, options.data_option(help="At an image that cannot be read: stop or skip.")
    ] = None,
    split: options.SplitOption = None,
    recipe: options.Recipe = None,
    change: options.Set = None,
    backbone: options.BackboneOption = None,
    freeze_prompters: Annotated[
        bool | None,
        options.config_option(
            "--freeze-prompters/--full",
            help="Train pyramid and heads alone, on cached features, or the prompters too.",
        ),
    ] = None,
    init: Annotated[
        str | None,
        options.config_option(
            help="Trained model to start from: folder, hub id or default; none for random weights."
        ),
    ] = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    seed: options.Seed = None,
) -> None:
    """Train a scorer on one or more rated databases, or on a table of your own ratings.

    A table of your own starts from the package's model; sixty ratings teach it something.

    The test part of the split is scored once, by the epoch that was best on the validation part;
    test.csv holds its scores. Where it would have fewer than 30 rows and features are cached, figures
    are of a cross-validation, and the model learns from all rows. An interrupted run continues with
    --resume, even if it was killed.
    For several processes or machines: accelerate launch -m diffagiqa.cli.main train ...

    Examples:
        diffagiqa train agiqa-3k --root agiqa-3k/ --out runs/full
        diffagiqa train agiqa-3k --root agiqa-3k/ --freeze-prompters --out runs/fast
        diffagiqa train ratings.csv --label perception=mos \\
            --scale perception=1:5 --out runs/mine
    """
    from diffagiqa.data.wording import counted
    from diffagiqa.training.augmented import with_augmentations
    from diffagiqa.training.open_data import make_split, prompts_of
    from diffagiqa.training.outcome import train_and_test
    from diffagiqa.training.run_folder import check_free

    flags = {
        "model.backbone": backbone, "freeze_prompters": freeze_prompters, "init": init,
        "epochs": epochs, "batch_size": batch_size, "unreadable": unreadable, "seed": seed,
        "split_seed": seed, "split": options.split_of(split, columns.split),
    }  # fmt: skip
    check_free(out, resume)
    config = options.configuration(databases, recipe, flags, change)
    opened = options.open_rows(databases, root, columns, allow_partial, config.unreadable, pairs)
    data = with_augmentations(opened.rows, config)
    parts = make_split(config, data, opened.official)
    prompts = len(prompts_of(data, parts["test"]))
    tested = f" ({counted(prompts, 'prompt')})" if prompts else ""
    typer.echo(", ".join(f"{name} {len(part)}" for name, part in parts.items()) + tested)
    outcome = train_and_test(
        config, data, parts, out, cache=cache, device=device, resume=resume, log=typer.echo
    )
    for line in outcome.texts if outcome else ():
        typer.echo(line)
    for name, text in outcome.files.items() if outcome else ():
        options.write(out / name, text)
