"""``diffagiqa crossdb``: train on one database, or load a model, and test on others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffagiqa.cli import training_options as options
from diffagiqa.data.columns import TableColumns

if TYPE_CHECKING:
    from diffagiqa.evaluation.crossdb import Trained


@options.with_columns
def crossdb(
    source: Annotated[
        str,
        typer.Argument(
            help="What to test: a folder that diffagiqa train wrote, a model (folder, hub id or "
            "default), or a database to train on first.",
            callback=options.spelt_one,
        ),
    ],
    databases: options.Databases,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Report to write, Markdown; the scores go beside it, as .csv. Default: crossdb.md in "
            "the folder of the run, else here."
        ),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            help="With a database to train on: folder of the run, continued where there is one. "
            "Default: crossdb-DATABASE."
        ),
    ] = None,
    backbone: options.BackboneOption = None,
    device: options.Device = None,
    root: options.Root = None,
    *,
    columns: TableColumns,
    pairs: options.Pairs = None,
    allow_partial: options.AllowPartial = False,
    unreadable: Annotated[
        str, options.data_option(help="At an image that cannot be read: stop or skip.")
    ] = "stop",
    elements: Annotated[
        int,
        typer.Option(
            min=0,
            help="Explain so many images of each database that says which parts of its prompts are "
            "shown (evalmuse-40k), and report whether the missing ones are named.",
        ),
    ] = 0,
    recipe: options.Recipe = None,
    change: options.Set = None,
) -> None:
    """Test a model on other databases of ratings or choices: on all of each, and on what is new to it.

    The overlap of prompts, and of images that look the same, is reported. To train on several databases,
    use train and give its folder.

    Examples:
        diffagiqa crossdb agiqa-3k hpdv2 --root agiqa-3k=3k/ --root hpdv2=hpd/
        diffagiqa crossdb runs/first agiqa-1k --root agiqa-1k/
        diffagiqa crossdb models/mine choices.csv
    """
    from diffagiqa.data.databases.opening import open_databases
    from diffagiqa.errors import ConfigError
    from diffagiqa.evaluation.crossdb import Trained, cross_evaluate, render_cross
    from diffagiqa.evaluation.elements import evaluate_elements, render_elements
    from diffagiqa.explain import explain
    from diffagiqa.pretrained import DEFAULT_MODEL, find_model, training_images
    from diffagiqa.scorer import Scorer
    from diffagiqa.training.augmented import with_augmentations
    from diffagiqa.training.checkpoint import STATE
    from diffagiqa.training.measures import RESAMPLES, predictions_csv
    from diffagiqa.training.open_data import make_split
    from diffagiqa.training.train import train

    if unreadable not in ("stop", "skip"):
        raise ConfigError(f"--unreadable is {unreadable!r}; expected stop or skip")
    if out is not None and out.suffix == ".csv":
        raise ConfigError(
            f"--out {out} is the place of the scores; name the report crossdb.md, say"
        )
    roots = list(root or [])
    trains = options.is_data(source)
    named = (source, Path(source).stem)
    source_roots = [r for r in roots if trains and options.spelt_one(r.partition("=")[0]) in named]
    others = [r for r in roots if r not in source_roots]
    opened = open_databases(
        databases, others, columns=columns, pairs=options.pair_columns(pairs),
        allow_partial=allow_partial, skip_unreadable=unreadable == "skip",
    )  # fmt: skip
    folder = Path(source)
    if trains:
        folder = run or Path(f"crossdb-{Path(source).stem}")
        flags = {"model.backbone": backbone, "unreadable": unreadable}
        config = options.configuration([source], recipe, flags, change)
        rows = options.open_rows([source], source_roots, columns, allow_partial, unreadable)
        data = with_augmentations(rows.rows, config)
        parts = make_split(config, data, rows.official)
        resume = (folder / STATE).is_file()
        train(config, data, parts, folder, device=device, resume=resume, log=typer.echo)
    if (folder / "rows.csv").is_file():
        trained = _known_run(folder)
    else:
        trained, folder = Trained(source), Path()
    model = None if source == "default" else source
    if folder != Path():
        model = str(folder / "best")
    hashes = training_images(DEFAULT_MODEL if model is None else find_model(model))
    trained = replace(trained, hashes=hashes if len(hashes) else None)
    scorer = Scorer.from_pretrained(model, backbone=backbone, device=device)
    results = [
        cross_evaluate(scorer, database, trained, resamples=RESAMPLES, log=typer.echo)
        for database in opened
    ]
    text = render_cross(results, trained)
    for database in opened if elements else ():
        if "elements" in database.table:
            areas = evaluate_elements(
                lambda image, prompt: explain(scorer, image, prompt).words, database, elements
            )
            text += f"\n## Missing parts of prompts in {database.name}\n\n{render_elements(areas)}"
    typer.echo(text)
    report = out or folder / "crossdb.md"
    options.write(report, text)
    for result in results:
        name = report.with_name(f"{report.stem}-{result.database}.csv")
        options.write(name, predictions_csv(result.predictions))


def _known_run(folder: Path) -> Trained:
    """What ``rows.csv`` of a run says was trained on."""
    import pandas as pd

    from diffagiqa.data.databases import DATABASES
    from diffagiqa.data.splits import prompt_key
    from diffagiqa.errors import TrainingError
    from diffagiqa.evaluation.crossdb import Trained
    from diffagiqa.training.config import TrainingConfig

    try:
        config = TrainingConfig.from_json((folder / "config.json").read_text(encoding="utf-8"))
        table = pd.read_csv(folder / "rows.csv", keep_default_na=False)
        seen = table[table["part"].isin(["train", "validation"])]
        prompts = {prompt_key(prompt) for prompt in seen["prompt"].astype(str)} - {""}
        generators = frozenset(seen["generator"].astype(str)) if "generator" in seen else None
    except (OSError, ValueError, KeyError) as error:
        raise TrainingError(
            f"{folder} is no training run ({error}); give a folder that diffagiqa train has written"
        ) from None
    names = " + ".join(name if name in DATABASES else Path(name).stem for name in config.databases)
    return Trained(names, frozenset(prompts), None, generators)
