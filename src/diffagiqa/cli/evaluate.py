"""``diffagiqa evaluate``: the released evaluation of one model on one labelled table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from diffagiqa.errors import DiffAGIQAError


def evaluate(
    table: Annotated[Path, typer.Argument(help="Table with columns Image, Prompt, MOS.")],
    root: Annotated[
        Path | None, typer.Option(help="Folder of the images; default: that of the table.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Report to write: .csv, .jsonl, .parquet.")] = Path(
        "report.csv"
    ),
    model: Annotated[
        str | None, typer.Option(help="Model folder or hub id; default: the embedded model.")
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="Local copy of the model's backbone.")
    ] = None,
    task: Annotated[str, typer.Option(help="The task that MOS rates.")] = "perception",
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps.")] = None,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16, float16.")] = "auto",
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of the noise.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Score a labelled table and print SRCC and PLCC, as the released evaluation does.

    The report holds the table's rows plus predicted_score (in MOS units) and error.

    Exit code: 0 where every row was scored, 1 where some failed (see column error), 2 wrong use.

    Examples:
        diffagiqa evaluate val.csv --root images
        diffagiqa evaluate val.csv --model models/released --json
    """
    import json
    import math
    import sys

    import numpy as np

    from diffagiqa.data.results import RowWriter
    from diffagiqa.errors import ConfigError, DiffAGIQAError
    from diffagiqa.evaluation.correlations import plcc, srcc
    from diffagiqa.scorer import Scorer

    rows = _read(table)
    if out.exists() and out.samefile(table):
        raise ConfigError(f"{out} is the table itself; give --out another name")
    places = [_place(row, table, root) for row in rows]
    scorer = Scorer.from_pretrained(model, backbone=backbone, device=device, dtype=dtype, seed=seed)
    if task not in scorer.tasks:
        raise ConfigError(f"the model has no task {task!r}; it has {', '.join(scorer.tasks)}")
    with RowWriter(out, _columns(rows)) as report:  # before hours are spent on what cannot be kept
        found = scorer.score_many(
            (place, str(row["Prompt"] or ""))
            for place, row in zip(places, rows, strict=True)
            if isinstance(place, str)
        )
        if quiet or not sys.stderr.isatty():
            scores = list(found)
        else:
            with typer.progressbar(
                found, length=len(rows), label="scoring", file=sys.stderr
            ) as bar:
                scores = list(bar)
        left = iter(scores)
        results = [next(left) if isinstance(place, str) else place for place in places]
        for row, result in zip(rows, results, strict=True):
            if isinstance(result, DiffAGIQAError):
                report.write(row | {"predicted_score": None, "error": str(result)})
            else:
                report.write(row | {"predicted_score": result.mos[task], "error": ""})

    scored = [
        (result.mos[task], row["MOS"])
        for row, result in zip(rows, results, strict=True)
        if not isinstance(result, DiffAGIQAError)
    ]
    pairs = np.array([pair for pair in scored if pair[1] is not None], float)
    figures: dict[str, float] = {}
    if len(pairs) >= 3:
        figures = {"SRCC": srcc(*pairs.T), "PLCC": plcc(*pairs.T)}
    if as_json:
        counts = {"task": task, "rows": len(rows), "scored": len(scored), "rated": len(pairs)}
        known = {n: float(v) if math.isfinite(v) else None for n, v in figures.items()}
        typer.echo(json.dumps(counts | {"report": str(out)} | known))
    else:
        typer.echo(f"{len(scored)} of {len(rows)} rows scored; report in {out}")
        if unrated := len(scored) - len(pairs):
            typer.echo(f"{unrated} of them have no number in MOS and take no part in what follows")
        for name, value in figures.items():
            typer.echo(f"{name} {value:.4f}")
        if not figures:
            typer.echo("SRCC and PLCC need at least 3 scored and rated rows")
    if len(scored) < len(rows):
        raise typer.Exit(1)


def _read(table: Path) -> list[dict[str, Any]]:
    """The rows with MOS as a number or None; a row that cannot be read has its reason in "error"."""
    from diffagiqa.data.tables import read_records
    from diffagiqa.errors import TableError

    rows: list[dict[str, Any]] = []
    for number, record in enumerate(read_records(str(table), "Image"), start=1):
        if isinstance(record, str):
            fault = f"{table} row {number}: {record}"
            rows.append({"Image": f"{table}:{number}", "Prompt": "", "MOS": None, "error": fault})
            continue
        names = {str(name).strip().lower(): name for name in record}
        missing = [name for name in ("Image", "Prompt", "MOS") if name.lower() not in names]
        if missing:
            raise TableError(
                f"{table} has columns {', '.join(map(str, record))}; "
                f"expected Image, Prompt and MOS, missing {', '.join(missing)}"
            )
        wanted = {names[name.lower()]: name for name in ("Image", "Prompt", "MOS")}
        row = {wanted.get(name, str(name)): value for name, value in record.items()}
        rows.append(row | {"MOS": _number(row["MOS"]), "error": ""})
    return rows


def _place(row: dict[str, Any], table: Path, root: Path | None) -> str | DiffAGIQAError:
    """Where the row's picture lies, or why it cannot be scored."""
    from diffagiqa.data.tables import locate
    from diffagiqa.errors import TableError

    if row["error"]:
        return TableError(row["error"])
    name = row["Image"]
    if not isinstance(name, str) or not name.strip():
        return TableError("it names no image; give a file name.")
    try:
        return locate(name, str(table.parent), None if root is None else str(root))
    except TableError as fault:
        return fault


def _number(value: Any) -> float | None:
    import math

    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _columns(rows: list[dict[str, Any]]) -> dict[str, type]:
    """The report's columns: text as it was, but negative numbers as numbers, which no formula is."""
    columns: dict[str, type] = {}
    for name in dict.fromkeys(name for row in rows for name in row if name != "error"):
        values = [row.get(name) for row in rows if row.get(name) not in (None, "")]
        numbers = [_number(value) for value in values]
        negative = None not in numbers and any(n < 0 for n in numbers if n is not None)
        columns[name] = float if negative or name == "MOS" else str
    return columns | {"predicted_score": float, "error": str}
