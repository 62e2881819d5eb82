"""The first sheet of an xlsx workbook, row by row, as the cells of a CSV."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO
from zipfile import ZipFile

from diffagiqa.data.cells import cell_text
from diffagiqa.errors import MissingExtraError, TableError

_MAX_UNPACKED = 500_000_000
"""Bytes: a workbook of 1 MB may hold 1 GB of zeros, and its texts are held whole."""
_MAX_ROWS, _MAX_CELLS = 1_048_576, 20_000_000
"""Empty ones too: a row may say that it is the billionth, and a cell that it is in column ZZZ."""


def sheet_rows(file: BinaryIO, shown: str) -> Iterator[list[str]]:
    """Cells as texts, up to a row's last; empty ones and errors are "", and blank rows left out.

    Raises:
        TableError: it is too large.
        MissingExtraError: openpyxl is not installed.
    """
    try:
        from openpyxl import load_workbook
        from openpyxl.utils.escape import unescape
    except ImportError:
        raise MissingExtraError("openpyxl", "train") from None
    with ZipFile(file) as parts:
        size = sum(part.file_size for part in parts.infolist())
    if size > _MAX_UNPACKED:
        raise TableError(
            f"{shown} holds {size:,} bytes unpacked, and the limit is {_MAX_UNPACKED:,}; save it as CSV."
        )
    sheet = load_workbook(file, read_only=True, data_only=True).worksheets[0]
    sheet.reset_dimensions()  # what the file says of its size may be wrong, and rows would be lost
    count = 0
    for number, row in enumerate(sheet.iter_rows(values_only=True), start=1):
        count += len(row)
        if number > _MAX_ROWS or count > _MAX_CELLS:
            raise TableError(
                f"{shown} has over {_MAX_ROWS:,} rows or {_MAX_CELLS:,} cells, empty ones included; "
                "save it as CSV."
            )
        cells = [unescape(cell_text(cell)) for cell in row]  # a line break may be _x000D_
        if any(cells):
            yield cells
