"""``diffagiqa rank``: the best images of every prompt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffagiqa.cli import training_options as options
from diffagiqa.data.wording import counted

if TYPE_CHECKING:
    import pandas as pd

    from diffagiqa.report.images import ImageFinder
    from diffagiqa.report.runs import Run


def rank(
    scores: Annotated[
        Path,
        typer.Argument(help="Scores, as diffagiqa score --out wrote them: a file or a folder."),
    ],
    top: Annotated[int, typer.Option(min=1, help="Images to keep per prompt.")] = 1,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            help="TASK=NUMBER, its weight in the score to rank by; may be repeated. Default: all equal, "
            "without scores that the model does not stand behind."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to write, .csv, .jsonl or .parquet. Default: CSV on standard output."
        ),
    ] = None,
    copy_to: Annotated[
        Path | None, typer.Option(help="New folder to copy the images to that are kept.")
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(help="Folder of the images. Default: where the scores say that they lie."),
    ] = None,
    judge: Annotated[
        Path | None,
        typer.Option(
            help="Table of people's choices between the images: print how well the scores agree, and "
            "rank nothing."
        ),
    ] = None,
    pairs: options.Pairs = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON instead of CSV: a row per line.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no summary.")] = False,
) -> None:
    """Rank the images of each prompt, and keep the best.

    Images without a prompt are left out, unless none has one.

    Examples:
        diffagiqa rank scores.csv
        diffagiqa rank scores.csv --weight alignment=2 --weight perception=1
        diffagiqa rank scores.csv --top 4 --out best.csv --copy-to best/
        diffagiqa rank scores.csv --judge choices.csv
    """
    from diffagiqa.data.databases.choices import read_choices
    from diffagiqa.data.results import check_suffix
    from diffagiqa.errors import ConfigError
    from diffagiqa.evaluation.pairs import pair_texts
    from diffagiqa.report.images import ImageFinder
    from diffagiqa.report.judge import judge as judge_runs
    from diffagiqa.report.rank import rank as rank_rows
    from diffagiqa.report.runs import read_run
    from diffagiqa.rows import doubt_sentence

    if out is not None:
        check_suffix(out)
    if copy_to is not None and copy_to.exists() and any(copy_to.iterdir()):
        raise ConfigError(f"--copy-to {copy_to} is not empty; name a new folder")
    run = read_run(scores)
    if judge is not None:
        choices = read_choices(judge, options.pair_columns(pairs))
        agreement = judge_runs([run], choices, weights=parse_weights(weight))
        lines = [json.dumps(agreement.as_json())] if as_json else pair_texts(agreement)
        typer.echo("\n".join(lines))
        return
    best = rank_rows(run, top=top, weights=parse_weights(weight))
    files = _find(best, ImageFinder(root, run.folder)) if copy_to is not None else []
    _write(best, run, out, as_json)
    if copy_to is not None:
        _copy(files, copy_to)
    if not quiet:
        count = best["prompt"].nunique()
        bare = int((run.scored["prompt"] == "").sum())
        left = f"; {bare:,} without a prompt left out" if 0 < bare < len(run.scored) else ""
        if run.doubtful and not weight:
            left += f"; {doubt_sentence(run.doubtful)}, so it has no part in this"
        typer.echo(
            f"{len(best):,} of {counted(len(run.rows), 'image')}, {counted(count, 'prompt')}{left}",
            err=True,
        )


def parse_weights(items: list[str] | None) -> dict[str, float] | None:
    """``["alignment=2", "perception=1"]`` -> weights by task; None where nothing was given.

    >>> parse_weights(["alignment=2"])
    {'alignment': 2.0}
    """
    from diffagiqa.errors import ConfigError, quoted

    weights = {}
    for item in items or []:
        task, _, value = item.partition("=")
        try:
            weights[task.strip()] = float(value)
        except ValueError:
            raise ConfigError(
                f"--weight is {quoted(item)}; write TASK=NUMBER, such as alignment=2"
            ) from None
    return weights or None


def _write(best: pd.DataFrame, run: Run, out: Path | None, as_json: bool) -> None:
    """Into a file, or on standard output as CSV or JSON."""
    from diffagiqa.data.results import RowWriter, guard_cell
    from diffagiqa.rows import seen_from

    if "file" in best.columns:
        before, folder = run.folder or Path(), str(out.parent if out is not None else Path())
        local = [file if "://" in file or not file else str(before / file) for file in best["file"]]
        best["file"] = [seen_from(file, folder) for file in local]
    records = [
        {str(name): None if value != value else value for name, value in row.items()}
        for row in best.to_dict("records")
    ]
    if out is not None:
        kinds = dict.fromkeys(best.columns, str) | dict.fromkeys(("score", *run.tasks), float)
        with RowWriter(out, kinds | {"rank": int, "of": int}) as rows:
            for record in records:
                rows.write(record)
    elif as_json:
        for record in records:
            typer.echo(json.dumps(record, ensure_ascii=False))
    else:
        texts = best.columns.intersection(["prompt", "image", "file"])
        safe = best.assign(**{name: best[name].map(guard_cell) for name in texts})
        typer.echo(safe.to_csv(index=False, float_format="%.4f"), nl=False)


def _find(best: pd.DataFrame, finder: ImageFinder) -> list[Path]:
    """The files of the images; raises ImageError where one is not there."""
    from diffagiqa.data.samples import printable
    from diffagiqa.errors import ImageError

    files = [finder.find(row["image"], row.get("file")) for row in best.to_dict("records")]
    absent = best["image"][[file is None for file in files]]
    if len(absent):
        raise ImageError(
            f"{counted(len(absent), 'image was', 'images were')} not found, such as "
            f"{printable(absent.iloc[0])}; give their folder by --root"
        )
    return [file for file in files if file is not None]


def _copy(files: list[Path], folder: Path) -> None:
    import shutil

    from diffagiqa.errors import ImageError

    folder.mkdir(parents=True, exist_ok=True)
    for number, file in enumerate(files):
        try:
            shutil.copy2(file, folder / f"{number:05d}_{file.name}")
        except OSError as fault:
            raise ImageError(f"{file} cannot be copied ({fault.strerror})") from None
