"""``diffagiqa data``: check a downloaded quality database before anything is trained on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffagiqa.cli import training_options as options
from diffagiqa.cli.help import Group, help_text
from diffagiqa.cli.messages import say_error
from diffagiqa.data.columns import TableColumns

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from diffagiqa.data.databases import CheckReport, Database, LabelSummary

app = typer.Typer(cls=Group, no_args_is_help=True)
BARS = " ▁▂▃▄▅▆▇█"


def data() -> None:
    """Check quality databases before training or testing on them.

    Example:
        diffagiqa data check agiqa-3k databases/AGIQA-3K
    """


app.callback(cls=Group, help=help_text(data))(data)


@app.command()
@options.with_columns
def check(
    name: Annotated[
        str,
        typer.Argument(
            help=f"{options.KNOWN}, or a table of your own, of ratings or choices.",
            show_default=False,
        ),
    ],
    root: Annotated[
        Path | None,
        typer.Argument(
            help="Folder of the database, or of a table's images (by default the table's own).",
            show_default=False,
        ),
    ] = None,
    decode: Annotated[
        bool, typer.Option("--decode", help="Open every image, not only those that look damaged.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    *,
    columns: TableColumns,
    pairs: options.Pairs = None,
) -> None:
    """Verify and sum up a database: rows, prompts, generators, scores, duplicates, missing images.

    Exit code: 0 if it can be used (a partial copy can), 1 if not, 2 for wrong use.

    Examples:
        diffagiqa data check agiqa-3k databases/AGIQA-3K
        diffagiqa data check ratings.csv --label perception=mos --scale perception=1:5
    """
    from diffagiqa.data.databases import DATABASES, check_database, database_name
    from diffagiqa.data.databases.opening import read_any
    from diffagiqa.errors import ConfigError, DatabaseError

    name = database_name(name)
    if name in DATABASES and root is None:
        raise ConfigError(f"{name} needs its folder; write diffagiqa data check {name} FOLDER")
    try:
        database = read_any(
            name, None if root is None else str(root), columns, options.pair_columns(pairs)
        )
    except DatabaseError as error:
        if as_json:
            typer.echo(json.dumps({"name": name, "root": str(root or ""), "usable": False,
                                   "errors": [str(error)]}, indent=1))  # fmt: skip
        else:
            say_error(f"cannot be used: {error}")
        raise typer.Exit(1) from None
    report = check_database(database, decode)
    if as_json:
        typer.echo(json.dumps(report.as_json(), indent=1, ensure_ascii=False))
    else:
        _show(report, database, decode)
    if not report.usable:
        raise typer.Exit(1)


def _show(report: CheckReport, database: Database, decoded: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    console.print()
    source = database.source
    console.print(Text(source.title if source else report.name, "bold"), Text(report.root, "dim"))
    if source:
        about = f"{source.citation}. Licence: {source.licence}. {source.home}"
        console.print(Text(about, "dim"))
    console.print()

    facts = Table.grid(padding=(0, 3))
    facts.add_row(Text("rows", "bold"), f"{report.rows:,}")
    facts.add_row(Text("prompts", "bold"), f"{report.prompts:,}")
    parts = ", ".join(f"{part} {rows:,}" for part, rows in report.official.items())
    facts.add_row(Text("official split", "bold"), parts or "none")
    if (choices := report.preferences) is not None:
        text = (
            f"{choices.pairs:,} pairs, {choices.ties:,} of them ties, in {choices.groups:,} groups"
        )
        facts.add_row(Text("preferences", "bold"), f"{text} of up to {choices.largest} images")
    console.print(facts)
    console.print()
    if report.labels:
        console.print(_scores(report.labels))
        console.print()
    console.print(_generators(report, database))
    console.print()
    remarks = Table.grid(padding=(0, 2))
    for note in report.notes:
        remarks.add_row(Text("note", "yellow"), Text(_sentence(note)))
    for error in report.errors:
        remarks.add_row(Text("error", "bold red"), Text(_sentence(error)))
    if report.usable:
        rest = (
            "" if decoded else " Only images that looked damaged were opened; --decode opens all."
        )
        remarks.add_row(Text("result", "bold green"), f"It can be used.{rest}")
    else:
        remarks.add_row(Text("result", "bold red"), "It cannot be used as it is.")
    console.print(remarks)


def _scores(labels: tuple[LabelSummary, ...]) -> RichTable:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("task", no_wrap=True)
    for heading in ("scores", "scale", "range", "mean ± std"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("histogram", no_wrap=True)
    for label in labels:
        table.add_row(
            label.task,
            f"{label.labelled:,}",
            f"{label.scale[0]:g} to {label.scale[1]:g}",
            f"{label.lowest:.2f} to {label.highest:.2f}",
            f"{label.mean:.2f} ± {label.std:.2f}",
            Text(bars(label.histogram), "cyan"),
        )
    return table


def _generators(report: CheckReport, database: Database) -> RichTable:
    """Rows and mean score per generator, best first: what its name alone gives away."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("generator", no_wrap=True)
    for heading in ("rows", *(f"mean {task}" for task in database.tasks)):
        table.add_column(heading, justify="right")
    means = database.table.groupby("generator")[list(database.tasks)].mean()
    if database.tasks:
        means = means.sort_values(database.tasks[0], ascending=False)
    for name, *scores in means.itertuples():
        table.add_row(str(name), f"{report.generators[name]:,}", *(f"{s:.2f}" for s in scores))
    return table


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def bars(counts: tuple[int, ...]) -> str:
    """A histogram as text, one character per bin; any count above 0 shows.

    >>> bars((0, 1, 8, 4))
    ' ▁█▄'
    """
    most = max(counts, default=0)
    return "".join(
        BARS[0 if count == 0 else max(1, round(count / most * (len(BARS) - 1)))] for count in counts
    )
