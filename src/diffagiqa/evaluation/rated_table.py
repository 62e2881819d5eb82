"""A table of rated images, row by row: what is to be scored, and what people thought of it.

A row that cannot be scored says why; only a table without the columns is an error.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from diffagiqa.data.cells import cell_number
from diffagiqa.data.records import Record, TableReader
from diffagiqa.data.samples import Sample, printable, quoted
from diffagiqa.data.tables import Columns, table_samples
from diffagiqa.errors import TableError


@dataclass(frozen=True)
class RatedRow:
    """One row.

    Attributes:
        cells: by column, as the table has them, the opinion scores as numbers or None.
        sample: what is to be scored; ``labels`` holds the opinion scores that are numbers, by task.
    """

    cells: dict[str, Any]
    sample: Sample


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
    reader, columns = TableReader(table), Columns(image, prompt, generator, root)
    of_row: tuple[str | None, ...] = ()
    named: dict[str, str] = {}
    rows = []
    for sample, record in table_samples(reader, columns):
        if record and not of_row:
            of_row = columns.of(record)
            named = _label_columns(record, labels, reader.shown)
        numbers = {task: reader.number(record.get(column)) for task, column in named.items()}
        scores = {task: number for task, number in numbers.items() if number is not None}
        cells = record | {column: numbers[task] for task, column in named.items() if record}
        rows.append(RatedRow(cells, replace(sample, labels=scores)))
    if not of_row:
        raise TableError(str(rows[0].sample.error))
    name, *others = of_row
    assert name is not None  # table_samples has looked
    fresh = [row if row.cells else replace(row, cells={name: row.sample.image}) for row in rows]
    return RatedTable(tuple(fresh), name, *others)


def _label_columns(record: Record, labels: Mapping[str, str], shown: str) -> dict[str, str]:
    """The columns of opinion scores by task, as the table writes them."""
    known = {name.strip().lower(): name for name in record}
    for task, column in labels.items():
        if column.strip().lower() not in known:
            raise TableError(
                f"{shown} has columns {', '.join(map(printable, record))}; expected "
                f"{quoted(column)} with the opinion scores of {task}; name another by "
                f"--label {task}=COLUMN."
            )
    return {task: known[column.strip().lower()] for task, column in labels.items()}


def column_kinds(table: RatedTable, labels: Mapping[str, str]) -> dict[str, type]:
    """The columns as a report keeps them: text as it was, but negative numbers as numbers, which no
    formula is."""
    scores = {column.strip().lower() for column in labels.values()}
    kinds: dict[str, type] = {}
    for name in dict.fromkeys(name for row in table.rows for name in row.cells):
        values = [row.cells[name] for row in table.rows if row.cells.get(name) not in (None, "")]
        numbers = [None if "," in str(value) else cell_number(value) for value in values]
        negative = None not in numbers and any(n < 0 for n in numbers if n is not None)
        kinds[name] = float if negative or name.strip().lower() in scores else str
    return kinds
