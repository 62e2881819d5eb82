"""``diffagiqa report``: one page to look at, from a table of scores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    scores: Annotated[Path, typer.Argument(help="What diffagiqa score --out wrote.")],
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("report.html"),
    by: Annotated[
        str | None,
        typer.Option(help="Column of the generators, or 'folder'. Default: generator or folder."),
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="Folder of the pictures; nothing outside it is shown.")
    ] = None,
    each: Annotated[int, typer.Option(min=1, max=200, help="Pictures per gallery.")] = 12,
    title: Annotated[str | None, typer.Option(help="Heading of the page.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing.")] = False,
) -> None:
    """Write one self-contained page: distributions, best and worst pictures, generators, errors.

    It needs no network and holds no script.

    Example: diffagiqa report scores.parquet --out report.html
    """
    from diffagiqa.report.page import write_report
    from diffagiqa.report.runs import read_run

    path = write_report(read_run(scores), out, by=by, root=root, each=each, title=title)
    if not quiet:
        typer.echo(f"{path}, {path.stat().st_size / 1e6:.1f} MB")
