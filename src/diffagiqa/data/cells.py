"""A cell of a table as a text or as a number: one rule for every format."""

from __future__ import annotations

import math
import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from diffagiqa.errors import TableError

_ERRORS = ("#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!")  # of spreadsheets


def cell_text(cell: Any, what: str = "cell") -> str:
    """A cell as the text that a CSV would hold; "" for an empty one and for a spreadsheet's error.

    >>> [cell_text(cell) for cell in ("a cat", 1984.0, True, None, date(2026, 1, 2))]
    ['a cat', '1984', 'TRUE', '', '2026-01-02']

    Raises:
        TableError: it is a list, an object or bytes.
    """
    if isinstance(cell, str):
        return "" if cell in _ERRORS else cell
    if cell is None or cell != cell:  # NaN stands for an empty cell
        return ""
    if isinstance(cell, bool):
        return str(cell).upper()
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else repr(cell)
    if isinstance(cell, datetime):
        return cell.isoformat(" ").removesuffix(" 00:00:00")
    if isinstance(cell, (int, Decimal, date, time, timedelta)):
        return str(cell)
    raise TableError(f"its {what} is {type(cell).__name__}; give text.")


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_DECIMAL_COMMA = re.compile(r"([+-]?\d*),(\d+(?:[eE][+-]?\d+)?)", re.ASCII)
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}", re.ASCII)


def cell_number(cell: Any, comma: bool = False) -> float | None:
    """A cell as a finite number, or None.

    A comma is taken for a decimal point, but in "1,234", which may be over a thousand, only where
    ``comma`` says so: in a table whose columns are separated by something else.

    >>> [cell_number(cell) for cell in (" 3.5 ", "3,5", "1,234", "1.234,5", "inf", "", True)]
    [3.5, 3.5, None, None, None, None, None]
    >>> cell_number("1,234", comma=True)
    1.234
    """
    if isinstance(cell, str):
        text = cell.strip()
        if comma or not _GROUPED.fullmatch(text):
            text = _DECIMAL_COMMA.sub(r"\1.\2", text) if text.count(",") == 1 else text
        number = float(text) if len(text) < 400 and _NUMBER.fullmatch(text) else math.nan
    elif isinstance(cell, (int, float, Decimal)) and not isinstance(cell, bool):
        number = float(cell) if -1e308 < cell < 1e308 else math.nan
    else:
        return None
    return number if math.isfinite(number) else None
