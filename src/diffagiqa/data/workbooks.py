"""The first sheet of an xlsx workbook, row by row."""

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
    """The rows below the header; columns without a name are left out."""
    rows = sheet_rows(file, shown)
    header = [str(cell) for cell in next(rows, ())]
    check_header(header, shown)
    for row in rows:
        record = {name: cell for name, cell in zip(header, row, strict=False) if name}
        if any(cell != "" for cell in record.values()):
            yield record


def sheet_rows(file: BinaryIO, shown: str) -> Iterator[list[Any]]:
    """Cells as their numbers and texts; empty ones and errors are "", and blank rows left out, as in a
    CSV."""
    try:
        from openpyxl import load_workbook
        from openpyxl.cell.cell import ERROR_CODES
    except ImportError:
        raise MissingExtraError("openpyxl", "train") from None
    with ZipFile(file) as parts:
        size = sum(part.file_size for part in parts.infolist())
    if size > _MAX_UNPACKED:
        raise TableError(
            f"{shown} holds {size:,} bytes unpacked, and the limit is {_MAX_UNPACKED:,}; save it as CSV."
        )
    sheet = load_workbook(file, read_only=True, data_only=True).worksheets[0]
    for row in sheet.iter_rows(values_only=True):
        cells = ["" if cell is None or cell in ERROR_CODES else _plain(cell) for cell in row]
        if any(cell != "" for cell in cells):
            yield cells


def _plain(cell: Any) -> Any:
    return cell.isoformat() if isinstance(cell, (date, time)) else cell
