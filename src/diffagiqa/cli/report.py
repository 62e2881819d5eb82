"""``diffagiqa report``: one page to look at, from a table of scores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    scores: Annotated[
        Path,
        typer.Argument(help="Scores, as diffagiqa score --out wrote them: a file or a folder."),
    ],
    out: Annotated[Path, typer.Option(help="Page to write, .html.")] = Path("report.html"),
    by: Annotated[
        str | None,
        typer.Option(
            help="Column to group images by, or folder. Default: the column generator, else folder."
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the images; nothing outside of it is shown. Default: where SCORES says that "
            "they lie, the current folder, that of SCORES."
        ),
    ] = None,
    each: Annotated[int, typer.Option(min=1, max=200, help="Images in each gallery.")] = 12,
    title: Annotated[
        str | None, typer.Option(help="Heading of the page. Default: the name of SCORES.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing.")] = False,
) -> None:
    """Write one self-contained page: distributions, best and worst images, generators, errors.

    The page needs no network and runs no scripts.

    Examples:
        diffagiqa report scores.parquet
        diffagiqa report scores.csv --by folder --title "Monday" --out monday.html
    """
    from diffagiqa.report.page import write_report
    from diffagiqa.report.runs import read_run

    path = write_report(read_run(scores), out, by=by, root=root, each=each, title=title)
    if not quiet:
        typer.echo(f"{path}, {path.stat().st_size / 1e6:.1f} MB")
