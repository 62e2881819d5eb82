"""A table of rated pictures, row by row: where each picture lies, and what people thought of it.

A row that cannot be scored says why; only a table without the columns is an error.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diffagiqa.data.records import Record
from diffagiqa.data.samples import TABLE_SUFFIXES, printable, suffix
from diffagiqa.data.tables import columns_of, locate, read_records
from diffagiqa.errors import TableError


@dataclass(frozen=True)
class RatedRow:
    """One row.

    Attributes:
        cells: by column, as the table has them, the opinion scores as numbers or None.
        place: where the picture lies; None where ``fault`` says why there is none.
        labels: opinion scores by task, NaN where there is no number.
    """

    cells: dict[str, Any]
    place: str | None
    prompt: str
    generator: str
    labels: dict[str, float]
    fault: str = ""


@dataclass(frozen=True)
class RatedTable:
    """The rows, and the columns that were found for the image, the prompt and the generator."""

    rows: tuple[RatedRow, ...]
    image: str
    prompt: str | None
    generator: str | None


def read_rated_table(
    table: str | os.PathLike[str],
    labels: Mapping[str, str],
    *,
    root: str | None = None,
    image: str | None = None,
    prompt: str | None = None,
    generator: str | None = None,
) -> RatedTable:
    """Read a table by the rules of ``data.tables``: columns are found by name unless they are named.

    Args:
        labels: {task: column of its opinion scores}, in any case.
        root: folder of the images, by default that of the table.

    Raises:
        TableError: it is no table, or lacks the image, a label or a column that was named.
    """
    path = os.fsdecode(table)
    if suffix(path) not in TABLE_SUFFIXES:
        raise TableError(
            f"{printable(path)} has suffix {suffix(path) or 'none'}; expected a table in one of "
            f"{', '.join(TABLE_SUFFIXES)}."
        )
    records = list(read_records(path, image, prompt))
    first = next((record for record in records if not isinstance(record, str)), None)
    if first is None:
        raise TableError(f"{printable(path)} row 1: {records[0]}")
    image, prompt, generator = columns_of(first, image, prompt, generator)
    assert image is not None  # read_records has looked
    named = _label_columns(first, labels, path)
    rows = []
    for number, record in enumerate(records, start=1):
        shown = f"{printable(path)} row {number}"
        if isinstance(record, str):
            nothing = dict.fromkeys(labels, math.nan)
            rows.append(
                RatedRow({image: shown}, None, "", "unknown", nothing, f"{shown}: {record}")
            )
            continue
        found = {task: _number(record.get(column)) for task, column in named.items()}
        place, fault = _place(record.get(image), path, root)
        rows.append(
            RatedRow(
                cells=record | {column: found[task] for task, column in named.items()},
                place=place,
                prompt=str(record.get(prompt) or "") if prompt else "",
                generator=str(record.get(generator) or "unknown") if generator else "unknown",
                labels={t: math.nan if value is None else value for t, value in found.items()},
                fault=fault,
            )
        )
    return RatedTable(tuple(rows), image, prompt, generator)


def _label_columns(record: Record, labels: Mapping[str, str], path: str) -> dict[str, str]:
    """The columns of opinion scores by task, as the table writes them."""
    known = {str(name).strip().lower(): str(name) for name in record}
    for task, column in labels.items():
        if column.strip().lower() not in known:
            raise TableError(
                f"{printable(path)} has columns {', '.join(map(str, record))}; expected "
                f"{column!r} with the opinion scores of {task}; name another by "
                f"--label {task}=COLUMN."
            )
    return {task: known[column.strip().lower()] for task, column in labels.items()}


def _place(name: Any, table: str, root: str | None) -> tuple[str | None, str]:
    """Where the picture lies, or why it cannot be scored."""
    if not isinstance(name, str) or not name.strip():
        return None, "it names no image; give a file name."
    try:
        return locate(name, os.path.dirname(table), root), ""
    except TableError as fault:
        return None, str(fault)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def column_kinds(table: RatedTable, labels: Mapping[str, str]) -> dict[str, type]:
    """The columns as a report keeps them: text as it was, but negative numbers as numbers, which no
    formula is."""
    scores = {column.strip().lower() for column in labels.values()}
    kinds: dict[str, type] = {}
    for name in dict.fromkeys(name for row in table.rows for name in row.cells):
        values = [row.cells[name] for row in table.rows if row.cells.get(name) not in (None, "")]
        numbers = [_number(value) for value in values]
        negative = None not in numbers and any(n < 0 for n in numbers if n is not None)
        kinds[name] = float if negative or name.strip().lower() in scores else str
    return kinds
