"""``diffagiqa reproduce``: from a downloaded database to a report beside published figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffagiqa.cli import training_options as options
from diffagiqa.data.columns import TableColumns


@options.with_columns
def reproduce(
    databases: options.Databases,
    out: Annotated[Path, typer.Option(help="Folder of all runs.")],
    root: options.Root = None,
    report: Annotated[
        Path | None, typer.Option(help="Where the report goes; default: report.md in --out.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=0, help="Repeats with frozen prompters.")] = 10,
    full_repeats: Annotated[int, typer.Option(min=0, help="Repeats of the full method.")] = 0,
    recipe: options.Recipe = None,
    backbone: options.BackboneOption = None,
    image_size: options.ImageSize = None,
    features: options.Features = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    split: options.SplitOption = None,
    seed: options.Seed = None,
    change: options.Set = None,
    full_change: Annotated[
        list[str] | None,
        typer.Option("--full-set", help="Like --set, for the full method's repeats only."),
    ] = None,
    note: Annotated[
        list[str] | None, typer.Option("--note", help="A line for the report's differences.")
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of cached features.")] = None,
    device: options.Device = None,
    *,
    columns: TableColumns,
    allow_partial: options.AllowPartial = False,
) -> None:
    """Check, split, train, evaluate, and write report.md with a table beside published figures.

    Stopped, the same command goes on where it was. What was not run is printed as not run.

    Example:
        diffagiqa reproduce agiqa-3k --root agiqa-3k/ --out runs/agiqa-3k
    """
    from diffagiqa.training.config import override
    from diffagiqa.training.report import differences, render
    from diffagiqa.training.reproduce import reproduce as run_all

    flags = {
        "model.backbone": backbone, "model.image_size": image_size, "model.features": features,
        "epochs": epochs, "batch_size": batch_size, "seed": seed,
        "split_seed": seed,
        "split": options.split_of(split, columns.split),
    }  # fmt: skip
    config = options.configuration(databases, recipe, flags, change)
    full = override(config, dict(options.parse_pairs(full_change or [], "--full-set")))
    opened = options.open_rows(
        databases,
        root,
        columns,
        allow_partial=allow_partial,
        skip_unreadable=config.unreadable == "skip",
    )
    done = run_all(
        config, opened.rows, out, repeats=repeats, full_repeats=full_repeats, full_config=full,
        official=opened.official, cache=cache, device=device, log=typer.echo,
    )  # fmt: skip
    text = render(
        config,
        opened.rows,
        done,
        [*differences(config, opened), *(note or [])],
        options.command_line(),
    )
    options.write(report or out / "report.md", text)
