"""``diffagiqa benchmark``: baselines and the method on the same splits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffagiqa.cli import training_options as options
from diffagiqa.data.columns import TableColumns


@options.with_columns
def benchmark(
    databases: Annotated[
        list[str],
        typer.Argument(
            help="Databases by name, a table of ratings, or 'synth': the made world.",
            callback=options.spelt,
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of all runs.")],
    root: options.Root = None,
    report: Annotated[
        Path | None, typer.Option(help="Where the tables go; default: benchmark.md in --out.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Repeats, each on a split of its own.")] = 10,
    baseline: Annotated[
        list[str] | None,
        typer.Option(help="Baselines to run, several times; default: all. 'none' runs none."),
    ] = None,
    network_repeats: Annotated[
        int | None,
        typer.Option(min=0, help="Repeats of baseline networks; default: as --repeats."),
    ] = None,
    network_epochs: Annotated[int, typer.Option(help="Epochs of a baseline network.")] = 30,
    made_train: Annotated[int, typer.Option(help="Of 'synth': pictures to learn from.")] = 3000,
    made_test: Annotated[
        int, typer.Option(help="Of 'synth': pictures of each held-out kind.")
    ] = 600,
    made_size: Annotated[int, typer.Option(help="Of 'synth': their side in pixels.")] = 256,
    recipe: options.Recipe = "small",
    backbone: options.BackboneOption = "embedded",
    image_size: options.ImageSize = None,
    epochs: options.Epochs = None,
    change: options.Set = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of cached features.")] = None,
    device: options.Device = None,
    *,
    columns: TableColumns,
    allow_partial: options.AllowPartial = False,
) -> None:
    """Run the method (heads on frozen features) and baselines on the same prompt-disjoint splits.

    'synth' makes pictures with simulated ratings and tests on held-out prompts, combinations and
    kinds of defects. Stopped, the same command goes on where it was.

    Examples:
        diffagiqa benchmark agiqa-3k --root agiqa-3k/ --out runs/benchmark
        diffagiqa benchmark synth --recipe embedded --out runs/synth
    """
    import os
    from dataclasses import replace

    from diffagiqa.benchmark import made
    from diffagiqa.benchmark.fitting import Budget
    from diffagiqa.benchmark.run import BASELINES, run_baselines, table
    from diffagiqa.training.reproduce import reproduce as run_method

    flags = {
        "model.backbone": backbone, "model.image_size": image_size, "epochs": epochs,
        "split": options.split_of(None, columns.split),
    }  # fmt: skip
    config = options.configuration(databases, recipe, flags, change)
    world = databases == ["synth"]
    budget = Budget(epochs=network_epochs)
    if world:
        budget = replace(budget, image_size=made_size, crop=min(budget.crop, made_size))
        sizes = made.MadeSizes(made_train, made_test, made_size, config.seed)
        place = out / "made"
        opened = made.open_made(made.write_made(place, sizes, os.cpu_count() or 1, typer.echo))
        # Its "generators" are the parts of the split: there is nothing to name.
        config = replace(config, split="official", test_prompts=None, naming_weight=0.0)
    else:
        opened = options.open_rows(
            databases,
            root,
            columns,
            allow_partial=allow_partial,
            skip_unreadable=config.unreadable == "skip",
        )
    names = [] if baseline == ["none"] else (baseline or list(BASELINES))
    if world and not baseline:
        names.remove("generator mean")  # the made world has none
    done = run_baselines(
        config, opened.rows, out / "baselines", names=names, repeats=repeats,
        network_repeats=network_repeats, budget=budget,
        official=opened.official, log=typer.echo,
    )  # fmt: skip
    done += run_method(
        config, opened.rows, out / "method", repeats=repeats, cache=cache, device=device,
        official=opened.official, log=typer.echo,
    )  # fmt: skip
    what = "\n".join(f"* {name}: {BASELINES[name]}." for name in names)
    notes = "\n".join(f"* {note}" for note in opened.notes)
    place_of = "the made world" if world else " + ".join(opened.rows.names)
    text = (
        f"# Benchmark on {place_of}\n\nWritten by `{options.command_line()}`. Median over "
        f"repeats, then mean ± standard deviation.\n\n{what}\n{notes}\n\n"
        f"{table(done, opened.rows)}"
    )
    if world:
        text += (
            "\n## By held-out set\n\nLabels are simulated; SRCC between the simulated observers:\n\n"
            f"{made.ceilings(place)}\n\n{made.by_part(done, opened.rows.task_names)}\n"
        )
    options.write(report or out / "benchmark.md", text)
