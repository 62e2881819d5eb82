"""``diffagiqa evaluate``: the released evaluation of one model on one labelled table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import pandas as pd


def evaluate(
    table: Annotated[Path, typer.Argument(help="CSV with columns Image, Prompt, MOS.")],
    root: Annotated[
        Path | None, typer.Option(help="Folder of the images; default: that of the table.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Report CSV to write.")] = Path("report.csv"),
    model: Annotated[
        str | None, typer.Option(help="Model folder or hub id; default: the embedded model.")
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="Local copy of the model's backbone.")
    ] = None,
    task: Annotated[str, typer.Option(help="The task that MOS rates.")] = "perception",
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps.")] = None,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16, float16.")] = "auto",
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
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

    from diffagiqa.errors import ConfigError, DiffAGIQAError
    from diffagiqa.evaluation.correlations import plcc, srcc
    from diffagiqa.scorer import Scorer

    rows = _read(table)
    scorer = Scorer.from_pretrained(model, backbone=backbone, device=device, dtype=dtype, seed=seed)
    if task not in scorer.tasks:
        raise ConfigError(f"the model has no task {task!r}; it has {', '.join(scorer.tasks)}")
    folder = root or table.parent
    pairs = (
        (folder / image, prompt) for image, prompt in zip(rows.Image, rows.Prompt, strict=True)
    )
    found = scorer.score_many(pairs)
    if quiet or not sys.stderr.isatty():
        results = list(found)
    else:
        with typer.progressbar(found, length=len(rows), label="scoring", file=sys.stderr) as bar:
            results = list(bar)
    rows["predicted_score"] = [
        None if isinstance(result, DiffAGIQAError) else result.mos[task] for result in results
    ]
    rows["error"] = [str(r) if isinstance(r, DiffAGIQAError) else "" for r in results]
    rows.to_csv(out, index=False)

    scored = rows.dropna(subset=["predicted_score", "MOS"])
    figures: dict[str, float] = {}
    if len(scored) >= 3:
        predicted, mos = scored.predicted_score.to_numpy(float), scored.MOS.to_numpy(float)
        figures = {"SRCC": srcc(predicted, mos), "PLCC": plcc(predicted, mos)}
    if as_json:
        counts = {"task": task, "rows": len(rows), "scored": len(scored), "report": str(out)}
        known = {n: float(v) if math.isfinite(v) else None for n, v in figures.items()}
        typer.echo(json.dumps(counts | known))
    else:
        typer.echo(f"{len(scored)} of {len(rows)} rows scored; report in {out}")
        for name, value in figures.items():
            typer.echo(f"{name} {value:.4f}")
        if not figures:
            typer.echo("SRCC and PLCC need at least 3 scored rows")
    if len(scored) < len(rows):
        raise typer.Exit(1)


def _read(table: Path) -> pd.DataFrame:
    import pandas as pd

    from diffagiqa.errors import TableError

    try:
        rows = pd.read_csv(table, dtype={"Image": str, "Prompt": str}, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise TableError(f"{table} cannot be read as CSV ({error})") from None
    missing = [name for name in ("Image", "Prompt", "MOS") if name not in rows]
    if missing:
        raise TableError(
            f"{table} has columns {', '.join(map(str, rows.columns))}; "
            f"expected Image, Prompt and MOS, missing {', '.join(missing)}"
        )
    rows["MOS"] = pd.to_numeric(rows["MOS"], errors="coerce")
    return rows
