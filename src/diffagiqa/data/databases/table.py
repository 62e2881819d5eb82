"""Ratings of one's own: any CSV, TSV, JSON, JSONL, Parquet or xlsx with named columns."""

from __future__ import annotations

import math
import os
from pathlib import Path

from diffagiqa.data.columns import TableColumns
from diffagiqa.data.databases.database import Database
from diffagiqa.data.databases.files import Folder, MissingColumnsError
from diffagiqa.data.databases.listing import Listing, build, part_of, read_rated
from diffagiqa.data.samples import quoted
from diffagiqa.errors import DatabaseError


def read_table(
    path: str | os.PathLike[str],
    columns: TableColumns,
    root: str | os.PathLike[str] | None = None,
) -> Database:
    """Read a table of ratings as it is, faults and all: for ``check_database``.

    Args:
        path: the table; JSONL and Parquet included.
        columns: what its columns are called.
        root: folder of the images, by default that of the table; names are looked for in it, and at
            last anywhere below it.

    Raises:
        DatabaseError: it cannot be read as a table with such columns.
    """
    where, labels = Path(path), columns.labels
    _check_scales(columns, where)
    if not where.is_file():
        raise DatabaseError(f"{where} is not a file; give the table of ratings")
    others = {name: getattr(columns, name) for name in ("prompt", "generator", "split")}
    wanted = {"image": columns.image, **labels}
    wanted |= {name: column for name, column in others.items() if column is not None}
    try:
        table = read_rated(where, wanted, list(labels))
    except MissingColumnsError as fault:
        raise DatabaseError(
            f"{fault}; name them, on the command line by --image-column, --prompt-column ('' where "
            "there are no prompts) and --label"
        ) from None
    if columns.prompt is None:
        table["prompt"] = ""
    if columns.generator is None:
        table["generator"] = "unknown"
    if columns.split is not None:
        given = table.pop("split").astype(str)
        table["part"] = given.map(part_of)
        if len(unknown := given[table["part"].isna()]):
            raise DatabaseError(
                f"{where} has {quoted(unknown.iloc[0].strip().lower())} in {quoted(columns.split)}; "
                "expected train, validation or test"
            )
    return build(
        where.stem,
        Folder(root if root is not None else where.parent),
        Listing(table),
        {task: columns.scales[task] for task in labels},
    )


def _check_scales(columns: TableColumns, where: Path) -> None:
    """Raise where no label is named, or a scale is missing or none."""
    labels, scales = columns.labels, columns.scales
    if not labels:
        raise DatabaseError(f"no label was named for {where}; give labels={{'perception': 'mos'}}")
    if without := [task for task in labels if task not in scales]:
        raise DatabaseError(
            f"{', '.join(without)} of {where} has no scale; give scales={{{without[0]!r}: (1, 5)}}, on "
            f"the command line --scale {without[0]}=1:5"
        )
    for task, (low, high) in scales.items():
        if not (low < high and math.isfinite(high - low)):
            raise DatabaseError(
                f"the scale of {task} is {low} to {high}; expected two numbers, the lower one first"
            )
