"""``diffagiqa benchmark``: baselines and the method on the same splits."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from diffagiqa.cli import training_options as options
from diffagiqa.data.columns import TableColumns

_baseline_option = partial(typer.Option, rich_help_panel="Baselines")
_synth_option = partial(typer.Option, rich_help_panel="With synth")


@options.with_columns
def benchmark(
    databases: Annotated[
        list[str],
        typer.Argument(
            help="Databases by name, a table of ratings, or synth for synthetic pictures with "
            "simulated ratings.",
            callback=options.spelt,
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of all runs.")],
    report: Annotated[
        Path | None, typer.Option(help="Tables to write. Default: benchmark.md in --out.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Repeats, each on a split of its own.")] = 10,
    cache: options.Cache = None,
    device: options.Device = None,
    baseline: Annotated[
        list[str] | None,
        _baseline_option(help="Baseline to run, or none; may be repeated. Default: all of them."),
    ] = None,
    network_repeats: Annotated[
        int | None,
        _baseline_option(
            min=0, help="Repeats of the baselines that are networks. Default: --repeats."
        ),
    ] = None,
    network_epochs: Annotated[
        int, _baseline_option(min=1, help="Most epochs to train a network for.")
    ] = 30,
    made_train: Annotated[int, _synth_option(min=1, help="Pictures to train on.")] = 3000,
    made_test: Annotated[int, _synth_option(min=1, help="Pictures in each test part.")] = 600,
    made_size: Annotated[
        int, _synth_option(min=64, max=512, help="Side of a picture in pixels.")
    ] = 256,
    root: options.Root = None,
    *,
    columns: TableColumns,
    allow_partial: options.AllowPartial = False,
    recipe: options.Recipe = "small",
    change: options.Set = None,
    backbone: options.BackboneOption = "embedded",
    image_size: options.ImageSize = None,
    epochs: options.Epochs = None,
) -> None:
    """Run the method (heads on frozen features) and baselines on the same prompt-disjoint splits.

    With synth, the test parts hold out prompts, combinations of words, and kinds of defects.

    An interrupted run continues when the same command is given again.

    Examples:
        diffagiqa benchmark agiqa-3k --root agiqa-3k/ --out runs/benchmark
        diffagiqa benchmark synth --recipe embedded --out runs/synth
    """
    import os
    from dataclasses import replace

    from diffagiqa.benchmark import made
    from diffagiqa.benchmark.fitting import Budget
    from diffagiqa.benchmark.run import BASELINES, render, run_baselines
    from diffagiqa.training.reproduce import reproduce as run_method

    flags = {
        "model.backbone": backbone, "model.image_size": image_size, "epochs": epochs,
        "split": options.split_of(None, columns.split),
    }  # fmt: skip
    config = options.configuration(databases, recipe, flags, change)
    names = [] if baseline == ["none"] else (baseline or list(BASELINES))
    budget = Budget(epochs=network_epochs)
    synthetic = out / "made" if databases == ["synth"] else None
    if synthetic is not None:
        sizes = made.MadeSizes(made_train, made_test, made_size, config.seed)
        opened = made.open_made(made.write_made(synthetic, sizes, os.cpu_count() or 1, typer.echo))
        budget = replace(budget, image_size=made_size, crop=min(budget.crop, made_size))
        # Its "generators" are the parts of the split: there is nothing to name.
        config = replace(config, split="official", test_prompts=None, naming_weight=0.0)
        if not baseline:
            names.remove("generator mean")  # no training picture is of a test part's "generator"
    else:
        opened = options.open_rows(databases, root, columns, allow_partial, config.unreadable)
    done = run_baselines(
        config, opened.rows, out / "baselines", names=names, repeats=repeats,
        network_repeats=network_repeats, budget=budget,
        official=opened.official, log=typer.echo,
    )  # fmt: skip
    done += run_method(
        config, opened.rows, out / "method", repeats=repeats, cache=cache, device=device,
        official=opened.official, log=typer.echo,
    )  # fmt: skip
    title = " + ".join(opened.rows.names) if synthetic is None else "synthetic pictures"
    text = render(title, options.command_line(), done, names, opened)
    if synthetic is not None:
        text += made.held_out(synthetic, done, opened.rows.task_names)
    options.write(report or out / "benchmark.md", text)
