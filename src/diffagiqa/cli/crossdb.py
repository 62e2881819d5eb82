"""``diffagiqa crossdb``: test a trained run on another database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffagiqa.cli import training_options as options
from diffagiqa.data.columns import TableColumns


@options.with_columns
def crossdb(
    run: Annotated[Path, typer.Argument(help="Folder that diffagiqa train wrote.")],
    databases: options.Databases,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Report to write, Markdown; the scores go beside it, as .csv. Default: "
            "crossdb-DATABASE.md in the folder of the run."
        ),
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="Local copy of the run's backbone.")] = None,
    device: options.Device = None,
    root: options.Root = None,
    *,
    columns: TableColumns,
    allow_partial: options.AllowPartial = False,
    unreadable: Annotated[
        str, options.data_option(help="At a picture that cannot be read: stop or skip.")
    ] = "stop",
) -> None:
    """Test a trained run on another database: on all of it, and on the prompts that are new to the run.

    Example:
        diffagiqa crossdb runs/first agiqa-1k --root agiqa-1k/
    """
    from diffagiqa.errors import ConfigError
    from diffagiqa.training.crossdb import cross_evaluate, render_cross
    from diffagiqa.training.measures import predictions_csv

    if unreadable not in ("stop", "skip"):
        raise ConfigError(f"--unreadable is {unreadable!r}; expected stop or skip")
    if out is not None and out.suffix == ".csv":
        raise ConfigError(
            f"--out {out} is the place of the scores; name the report crossdb.md, say"
        )
    opened = options.open_rows(databases, root, columns, allow_partial, unreadable)
    result = cross_evaluate(run, opened.rows, backbone=backbone, device=device, log=typer.echo)
    typer.echo(render_cross(result))
    report = out or run / f"crossdb-{'-'.join(opened.rows.names)}.md"
    options.write(report, render_cross(result))
    options.write(report.with_suffix(".csv"), predictions_csv(result.predictions))
