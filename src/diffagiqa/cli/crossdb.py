"""``diffagiqa crossdb``: test a trained run on another database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffagiqa.cli import training_options as options


def crossdb(
    run: Annotated[Path, typer.Argument(help="Folder that diffagiqa train has written.")],
    databases: options.Databases,
    out: Annotated[
        Path, typer.Option(help="Report to write; the scores go beside it, as .csv.")
    ] = Path("crossdb.md"),
    root: options.Root = None,
    backbone: Annotated[str | None, typer.Option(help="Local copy of the run's backbone.")] = None,
    device: options.Device = None,
    label: options.Label = None,
    scale: options.Scale = None,
    image_column: options.ImageColumn = "image",
    prompt_column: options.PromptColumn = "prompt",
    generator_column: options.GeneratorColumn = None,
    split_column: options.SplitColumn = None,
    allow_partial: options.AllowPartial = False,
    unreadable: Annotated[
        str, typer.Option(help="At a picture that cannot be read: stop or skip.")
    ] = "stop",
) -> None:
    """Test a trained run on another database: on all of it, and on the prompts new to the run.

    Example:
        diffagiqa crossdb runs/first agiqa-1k --root agiqa-1k/
    """
    from diffagiqa.errors import ConfigError
    from diffagiqa.training.crossdb import cross_evaluate, render_cross
    from diffagiqa.training.measures import predictions_csv

    if unreadable not in ("stop", "skip"):
        raise ConfigError(f"--unreadable is {unreadable!r}; expected stop or skip")
    scores = out.with_suffix(".csv")
    if scores == out:
        raise ConfigError(
            f"--out {out} is the place of the scores; name the report crossdb.md, say"
        )
    opened = options.open_rows(
        databases, root, label, scale, image_column, prompt_column, generator_column, split_column,
        allow_partial, unreadable == "skip",
    )  # fmt: skip
    result = cross_evaluate(run, opened.rows, backbone=backbone, device=device, log=typer.echo)
    typer.echo(render_cross(result))
    options.write(out, render_cross(result))
    options.write(scores, predictions_csv(result.predictions))
