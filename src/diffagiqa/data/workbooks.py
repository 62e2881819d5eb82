"""The first sheet of an xlsx workbook as records, row by row."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, time
from typing import Any, BinaryIO
from zipfile import ZipFile

from diffagiqa.data.header import check_header
from diffagiqa.errors import MissingExtraError, TableError

_MAX_UNPACKED = 500_000_000
"""Bytes: a workbook of 1 MB may hold 1 GB of zeros, and its texts are held whole."""


def xlsx_records(file: BinaryIO, shown: str) -> Iterator[dict[str, Any]]:
    """Cells as their numbers and texts; empty ones are "", and blank rows left out, as in a CSV."""
    try:
        from openpyxl import load_workbook
    except ImportError:
        raise MissingExtraError("openpyxl", "train") from None
    with ZipFile(file) as parts:
        size = sum(part.file_size for part in parts.infolist())
    if size > _MAX_UNPACKED:
        raise TableError(
            f"{shown} holds {size:,} bytes unpacked, and the limit is {_MAX_UNPACKED:,}; save it as CSV."
        )
    rows = (
        load_workbook(file, read_only=True, data_only=True)
        .worksheets[0]
        .iter_rows(values_only=True)
    )
    header = [None if cell is None else str(cell) for cell in next(rows, ())]
    check_header(header, shown)
    for row in rows:
        cells = zip(header, row, strict=False)
        record = {name: _plain(cell) for name, cell in cells if name}
        if any(cell != "" for cell in record.values()):
            yield record


def _plain(cell: Any) -> Any:
    if cell is None:
        return ""
    return cell.isoformat() if isinstance(cell, (date, time)) else cell
