"""``diffagiqa benchmark``: baselines and the method on the same splits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffagiqa.cli import training_options as options


def benchmark(
    databases: options.Databases,
    out: Annotated[Path, typer.Option(help="Folder of all runs.")],
    root: options.Root = None,
    report: Annotated[
        Path | None, typer.Option(help="Where the tables go; default: benchmark.md in --out.")
    ] = None,
    repeats: Annotated[int, typer.Option(help="Repeats, each on a split of its own.")] = 10,
    baseline: Annotated[
        list[str] | None,
        typer.Option(help="Baselines to run, several times; default: all. 'none' runs none."),
    ] = None,
    network_repeats: Annotated[
        int | None, typer.Option(help="Repeats of baseline networks; default: as --repeats.")
    ] = None,
    network_epochs: Annotated[int, typer.Option(help="Epochs of a baseline network.")] = 30,
    recipe: options.Recipe = "small",
    backbone: options.BackboneOption = "embedded",
    image_size: options.ImageSize = None,
    epochs: options.Epochs = None,
    change: options.Set = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of cached features.")] = None,
    device: options.Device = None,
    label: options.Label = None,
    scale: options.Scale = None,
    image_column: options.ImageColumn = "image",
    prompt_column: options.PromptColumn = "prompt",
    generator_column: options.GeneratorColumn = None,
    split_column: options.SplitColumn = None,
    allow_partial: options.AllowPartial = False,
) -> None:
    """Run the method (heads on frozen features) and baselines on the same prompt-disjoint splits.

    Stopped, the same command goes on where it was.

    Example:
        diffagiqa benchmark agiqa-3k --root agiqa-3k/ --out runs/benchmark
    """
    from diffagiqa.benchmark.fitting import Budget
    from diffagiqa.benchmark.run import BASELINES, run_baselines, table
    from diffagiqa.training.report import command_line
    from diffagiqa.training.reproduce import reproduce as run_method

    flags = {"model.backbone": backbone, "model.image_size": image_size, "epochs": epochs}
    config = options.configuration(databases, recipe, flags, change)
    opened = options.open_rows(
        databases, root, label, scale, image_column, prompt_column, generator_column, split_column,
        allow_partial,
    )  # fmt: skip
    names = [] if baseline == ["none"] else (baseline or list(BASELINES))
    done = run_baselines(
        config, opened.rows, out / "baselines", names=names, repeats=repeats,
        network_repeats=network_repeats, budget=Budget(epochs=network_epochs), log=typer.echo,
    )  # fmt: skip
    done += run_method(
        config, opened.rows, out / "method", repeats=repeats, cache=cache, device=device,
        log=typer.echo,
    )  # fmt: skip
    what = "\n".join(f"* {name}: {BASELINES[name]}." for name in names)
    notes = "\n".join(f"* {note}" for note in opened.notes)
    text = (
        f"# Benchmark on {' + '.join(opened.rows.names)}\n\nWritten by `{command_line()}`. Median over "
        f"repeats, then mean ± standard deviation.\n\n{what}\n{notes}\n\n"
        f"{table(done, opened.rows.task_names)}"
    )
    options.write(report or out / "benchmark.md", text)
