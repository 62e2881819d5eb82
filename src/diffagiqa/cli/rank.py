"""``diffagiqa rank``: the best pictures of every prompt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from diffagiqa.cli import training_options as options
from diffagiqa.data.wording import counted


def rank(
    scores: Annotated[
        Path,
        typer.Argument(help="Scores, as diffagiqa score --out wrote them: a file or a folder."),
    ],
    top: Annotated[int, typer.Option(min=1, help="Pictures to keep per prompt.")] = 1,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            help="TASK=NUMBER, its weight in the score to rank by; may be repeated. Default: all equal."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to write, .csv, .jsonl or .parquet. Default: CSV on standard output."
        ),
    ] = None,
    copy_to: Annotated[
        Path | None, typer.Option(help="New folder to copy the pictures to that are kept.")
    ] = None,
    judge: Annotated[
        Path | None,
        typer.Option(
            help="Table of people's choices between the pictures: print how well the scores agree, and "
            "rank nothing."
        ),
    ] = None,
    pairs: options.Pairs = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON instead of CSV: a row per line.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no summary.")] = False,
) -> None:
    """Rank the pictures of each prompt, and keep the best.

    Pictures without a prompt are left out, unless none has one.

    Examples:
        diffagiqa rank scores.csv
        diffagiqa rank scores.csv --weight alignment=2 --weight perception=1
        diffagiqa rank scores.csv --top 4 --out best.csv --copy-to best/
        diffagiqa rank scores.csv --judge choices.csv
    """
    from diffagiqa.data.databases.choices import read_choices
    from diffagiqa.data.results import RowWriter, guard_cell
    from diffagiqa.evaluation.pairs import pair_texts
    from diffagiqa.report.judge import judge as judge_runs
    from diffagiqa.report.rank import rank as rank_rows
    from diffagiqa.report.runs import read_run

    run = read_run(scores)
    if judge is not None:
        choices = read_choices(judge, options.pair_columns(pairs))
        found = judge_runs([run], choices, weights=parse_weights(weight))
        lines = [json.dumps(found.as_json())] if as_json else pair_texts(found)
        typer.echo("\n".join(lines))
        return
    kept = rank_rows(run, top=top, weights=parse_weights(weight))
    if out is not None:
        whole = ("rank", "of")
        numbers = ("score", *run.tasks)
        columns = {n: int if n in whole else float if n in numbers else str for n in kept.columns}
        with RowWriter(out, columns) as rows:
            for row in kept.to_dict("records"):
                rows.write({str(name): value for name, value in row.items()})
    elif as_json:
        for record in kept.to_dict("records"):
            typer.echo(json.dumps(record))
    else:
        safe = kept.assign(
            prompt=kept["prompt"].map(guard_cell), image=kept["image"].map(guard_cell)
        )
        typer.echo(safe.to_csv(index=False, float_format="%.4f"), nl=False)
    if copy_to is not None:
        _copy(kept["image"].tolist(), copy_to)
    if not quiet:
        count = kept["prompt"].nunique()
        bare = int((run.scored["prompt"] == "").sum())
        left = f"; {bare:,} without a prompt left out" if 0 < bare < len(run.scored) else ""
        typer.echo(
            f"{len(kept):,} of {counted(len(run.rows), 'picture')}, {counted(count, 'prompt')}{left}",
            err=True,
        )


def parse_weights(items: list[str] | None) -> dict[str, float] | None:
    """``["alignment=2", "perception=1"]`` -> weights by task; None where nothing was given.

    >>> parse_weights(["alignment=2"])
    {'alignment': 2.0}
    """
    from diffagiqa.errors import ConfigError

    weights = {}
    for item in items or []:
        task, equals, value = item.partition("=")
        try:
            weights[task.strip()] = float(value)
        except ValueError:
            equals = ""
        if not equals:
            raise ConfigError(f"--weight is {item!r}; write TASK=NUMBER, such as alignment=2")
    return weights or None


def _copy(images: list[str], folder: Path) -> None:
    import shutil

    from diffagiqa.errors import ConfigError, ImageError

    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"--copy-to {folder} is not empty; name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        try:
            shutil.copy2(image, folder / f"{number:05d}_{Path(image).name}")
        except OSError as fault:
            raise ImageError(f"{image} cannot be copied ({fault.strerror})") from None
