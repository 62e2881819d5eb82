"""``diffagiqa ablate``: the paper's claims, each switched off in turn, as one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffagiqa.cli import training_options as options
from diffagiqa.data.columns import TableColumns


@options.with_columns
def ablate(
    databases: options.Databases,
    out: Annotated[Path, typer.Option(help="Folder of all runs.")],
    root: options.Root = None,
    report: Annotated[
        Path | None, typer.Option(help="Where the table goes; default: ablation.md in --out.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Splits per variant.")] = 3,
    full: Annotated[
        bool, typer.Option("--full", help="Run the variant whose prompters learn, too: slow.")
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Run only rows whose name holds this, several times, such as 'timestep'."
        ),
    ] = None,
    timesteps: Annotated[
        str, typer.Option(help="To try, separated by commas.")
    ] = "1,51,101,201,401",
    recipe: options.Recipe = None,
    backbone: options.BackboneOption = None,
    image_size: options.ImageSize = None,
    features: options.Features = None,
    epochs: options.Epochs = None,
    split: options.SplitOption = None,
    seed: options.Seed = None,
    change: options.Set = None,
    device: options.Device = None,
    *,
    columns: TableColumns,
    allow_partial: options.AllowPartial = False,
) -> None:
    """No prompter, no text, other timesteps, more noise draws, single layers, plain pooling: one table.

    Example:
        diffagiqa ablate agiqa-3k --root agiqa-3k/ --out runs/ablation
    """
    from diffagiqa.errors import ConfigError
    from diffagiqa.training.ablation import ablate as run_variants

    try:
        steps = [int(step) for step in timesteps.split(",") if step.strip()]
    except ValueError:
        raise ConfigError(f"--timesteps is {timesteps!r}; write numbers such as 1,201") from None
    flags = {
        "model.backbone": backbone, "model.image_size": image_size, "model.features": features,
        "epochs": epochs, "seed": seed, "split_seed": seed,
        "split": options.split_of(split, columns.split),
    }  # fmt: skip
    config = options.configuration(databases, recipe, flags, change)
    opened = options.open_rows(
        databases,
        root,
        columns,
        allow_partial=allow_partial,
        skip_unreadable=config.unreadable == "skip",
    )
    table = run_variants(
        config, opened.rows, out, repeats=repeats, full=full, timesteps=steps, only=only or (),
        official=opened.official, device=device, log=typer.echo,
    )  # fmt: skip
    options.write(
        report or out / "ablation.md", f"{table}\nWritten by `{options.command_line()}`.\n"
    )
