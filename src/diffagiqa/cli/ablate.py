"""``diffagiqa ablate``: the paper's claims, each switched off in turn, as one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffagiqa.cli import training_options as options
from diffagiqa.cli.score_options import whole_numbers
from diffagiqa.data.columns import TableColumns


@options.with_columns
def ablate(
    databases: options.Databases,
    out: Annotated[Path, typer.Option(help="Folder of all runs.")],
    report: Annotated[
        Path | None, typer.Option(help="Table to write. Default: ablation.md in --out.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Splits per variant.")] = 3,
    full: Annotated[
        bool, typer.Option("--full", help="Add the variant whose prompters learn too: slow.")
    ] = False,
    timesteps: Annotated[
        str, typer.Option(help="Timesteps to try, separated by commas.")
    ] = "1,51,101,201,401",
    device: options.Device = None,
    root: options.Root = None,
    *,
    columns: TableColumns,
    allow_partial: options.AllowPartial = False,
    split: options.SplitOption = None,
    recipe: options.Recipe = None,
    change: options.Set = None,
    backbone: options.BackboneOption = None,
    epochs: options.Epochs = None,
    seed: options.Seed = None,
) -> None:
    """Switch parts of the method off, one at a time, and compare the variants in one table.

    Without prompters, without text, at other timesteps, with more noise draws, with single layers, with
    plain pooling.

    Example:
        diffagiqa ablate agiqa-3k --root agiqa-3k/ --out runs/ablation
    """
    from diffagiqa.training.ablation import ablate as run_variants

    steps = whole_numbers("--timesteps", timesteps) or ()
    flags = {
        "model.backbone": backbone, "epochs": epochs, "seed": seed, "split_seed": seed,
        "split": options.split_of(split, columns.split),
    }  # fmt: skip
    config = options.configuration(databases, recipe, flags, change)
    opened = options.open_rows(databases, root, columns, allow_partial, config.unreadable)
    table = run_variants(
        config, opened.rows, out, repeats=repeats, full=full, timesteps=steps,
        official=opened.official, device=device, log=typer.echo,
    )  # fmt: skip
    options.write(
        report or out / "ablation.md", f"{table}\nWritten by `{options.command_line()}`.\n"
    )
