"""``diffagiqa crossdb``: test a trained run on another database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffagiqa.cli import training_options as options


def crossdb(
    run: Annotated[Path, typer.Argument(help="Folder that diffagiqa train has written.")],
    databases: options.Databases,
    out: Annotated[Path, typer.Option(help="Report to write.")] = Path("crossdb.md"),
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
) -> None:
    """Train on A, test on B: agreement on all of B, and on the prompts that A does not share.

    Example:
        diffagiqa crossdb runs/first agiqa-1k --root agiqa-1k/
    """
    from diffagiqa.training.crossdb import cross_evaluate, render_cross

    opened = options.open_rows(
        databases, root, label, scale, image_column, prompt_column, generator_column, split_column,
        allow_partial,
    )  # fmt: skip
    result = cross_evaluate(run, opened.rows, backbone=backbone, device=device, log=typer.echo)
    typer.echo(render_cross(result))
    options.write(out, render_cross(result))
