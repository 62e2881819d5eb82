"""``diffagiqa compare``: generators on the same prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffagiqa.checks import MAX_SEED
from diffagiqa.cli import training_options as options

if TYPE_CHECKING:
    from diffagiqa.report.compare import Comparison


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN",
            help="Scores of a generator, as diffagiqa score --out wrote them: a file or a folder.",
        ),
    ],
    by: Annotated[
        str | None, typer.Option(help="Column to split one run into generators by, or folder.")
    ] = None,
    judge: Annotated[
        Path | None,
        typer.Option(
            help="Table of people's choices between the runs' images: adds the share of pairs that "
            "people decided for the run, and for the first."
        ),
    ] = None,
    pairs: options.Pairs = None,
    doubtful: Annotated[
        bool,
        typer.Option(
            "--doubtful", help="Compare scores that the model does not stand behind, too."
        ),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of the bootstrap.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
) -> None:
    """Compare generators on the prompts that they share: every run against the first.

    The interval, of 95 %, is from a paired bootstrap over prompts; a difference whose interval excludes
    0 is marked. A win is a prompt with the higher score; a tie counts as half a win.

    Examples:
        diffagiqa compare old.csv new.csv
        diffagiqa compare scores.csv --by folder
        diffagiqa compare old.csv new.csv --judge choices.csv
    """
    from diffagiqa.data.databases.choices import read_choices
    from diffagiqa.data.samples import quoted
    from diffagiqa.errors import ConfigError
    from diffagiqa.evaluation.pairs import pair_texts
    from diffagiqa.report.compare import compare as compare_runs
    from diffagiqa.report.judge import judge as judge_runs
    from diffagiqa.report.runs import read_run, split_run
    from diffagiqa.rows import doubt_sentence

    names = [path.stem for path in runs]
    unlike = len(set(names)) == len(names)
    opened = [read_run(path, None if unlike else str(path)) for path in runs]
    if by is not None:
        if len(opened) > 1:
            raise ConfigError(f"--by splits one run, and {len(opened)} were given; leave it out")
        opened = split_run(opened[0], by)
        if len(opened) < 2:
            raise ConfigError(
                f"--by {by} finds one group in {runs[0]}, {quoted(opened[0].name)}; name a column that "
                "differs between generators, or give two runs"
            )
    if by is not None:  # the first is what the others are compared with
        opened.sort(key=lambda run: run.prompted["prompt"].nunique(), reverse=True)
    comparisons = compare_runs(opened, doubtful=doubtful, seed=seed)
    wins = {}
    if judge is not None:
        choices = read_choices(judge, options.pair_columns(pairs))
        judged = judge_runs(opened, choices, seed=seed)
        for pair in judged.generators:
            wins[pair.first, pair.second] = (pair.people, pair.pairs)
            wins[pair.second, pair.first] = (1 - pair.people, pair.pairs)
    if as_json:
        records = [row.to_dict() for row in comparisons]
        for record in records if judge is not None else ():
            share, count = wins.get((record["run"], record["base"]), (None, 0))
            record |= {"people_win_rate": share, "people_pairs": count}
        typer.echo(json.dumps(records, ensure_ascii=False))
        return
    _show(comparisons)
    unsure = [task for run in opened for task in run.doubtful]
    if unsure:
        left = "" if doubtful else ": not compared, unless with --doubtful"
        typer.echo(f"{doubt_sentence(list(dict.fromkeys(unsure)))}{left}")
    if judge is not None:
        for line in pair_texts(judged):
            typer.echo(line)


def _show(comparisons: list[Comparison]) -> None:
    """A table whose names fold where the terminal is narrow; numbers never do."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in ("run", "task"):
        table.add_column(name, overflow="fold")
    for name in ("n", "mean", "first", "difference", "95 %", "wins"):
        table.add_column(name, no_wrap=True)
    for row in comparisons:
        mark = " *" if row.clear else ""
        table.add_row(
            Text(row.run), Text(row.task), f"{row.prompts}", f"{row.mean:.3f}", f"{row.base_mean:.3f}",
            f"{row.difference:+.3f}{mark}", _interval(row),
            f"{100 * row.win_rate:.0f} %",
        )  # fmt: skip
    console = Console(width=None if Console().is_terminal else 140)
    console.print(Text(f"against {comparisons[0].base}; * the interval excludes 0"))
    console.print(table)


def _interval(row: Comparison) -> str:
    if row.low is None or row.high is None:
        return "too few prompts"
    return f"{row.low:+.3f}..{row.high:+.3f}"
