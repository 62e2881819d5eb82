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
    report: Annotated[
        Path | None, typer.Option(help="Report to write. Default: report.md in --out.")
    ] = None,
    protocol: Annotated[
        list[str] | None,
        options.data_option(
            "--protocol",
            help="How to split: prompt, image, official or generators (each repeat leaves another one "
            "out). May be repeated: each goes to a folder of its own in --out, and protocols.md compares "
            "them. Default: --split.",
        ),
    ] = None,
    repeats: Annotated[
        int, typer.Option(min=0, help="Repeats with frozen prompters, each on a split of its own.")
    ] = 10,
    full_repeats: Annotated[
        int, typer.Option(min=0, help="Repeats in which the prompters learn too: slow.")
    ] = 0,
    cache: options.Cache = None,
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
    batch_size: options.BatchSize = None,
    seed: options.Seed = None,
) -> None:
    """Check a database, train on repeated splits, evaluate, and report beside published figures.

    An interrupted run continues when the same command is given again. The report says what was not
    run.

    Examples:
        diffagiqa reproduce agiqa-3k --root agiqa-3k/ --out runs/agiqa-3k
        diffagiqa reproduce agiqa-3k --root agiqa-3k/ --out runs/splits \\
            --protocol prompt --protocol image \\
            --protocol generators
    """
    from diffagiqa.errors import ConfigError
    from diffagiqa.training.config import override
    from diffagiqa.training.report import differences, protocols_table, render
    from diffagiqa.training.reproduce import reproduce as run_all

    flags = {
        "model.backbone": backbone, "epochs": epochs, "batch_size": batch_size, "seed": seed,
        "split_seed": seed, "split": options.split_of(split, columns.split),
    }  # fmt: skip
    config = options.configuration(databases, recipe, flags, change)
    opened = options.open_rows(databases, root, columns, allow_partial, config.unreadable)
    if split is not None and protocol:
        raise ConfigError(f"--split {split} and --protocol were given; expected one of them")
    if report is not None and len(protocol or ()) > 1:
        raise ConfigError("--report is one file, and several protocols have one each; leave it out")
    by_protocol = {}
    for name in protocol or [config.split]:
        chosen, folder = override(config, {"split": name}), out / name if protocol else out
        by_protocol[name] = done = run_all(
            chosen, opened.rows, folder, repeats=repeats, full_repeats=full_repeats,
            official=opened.official, cache=cache or out / "features", device=device, log=typer.echo,
        )  # fmt: skip
        notes = differences(chosen, opened)
        text = render(chosen, opened.rows, done, notes, options.command_line())
        options.write(report or folder / "report.md", text)
    if protocol:
        options.write(
            out / "protocols.md",
            f"# One model under several splits\n\n```sh\n{options.command_line()}\n```\n\n"
            f"{protocols_table(by_protocol, opened.rows.task_names)}\n",
        )
