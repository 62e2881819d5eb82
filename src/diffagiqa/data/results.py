"""Rows of results -> one file, whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from diffagiqa.data.atomic import whole_file
from diffagiqa.data.samples import printable, quoted, reason_of, suffix
from diffagiqa.errors import TableError

_FORMULA = re.compile("'*[=+@\t\r-]")


def guard_cell(text: str) -> str:
    """Text as a CSV cell that a spreadsheet will not run as a formula; ``bare_cell`` undoes it.

    >>> guard_cell("=HYPERLINK(1)"), guard_cell("a cat"), guard_cell("'=1")
    ("'=HYPERLINK(1)", 'a cat', "''=1")
    """
    return "'" + text if _FORMULA.match(text) else text


def bare_cell(cell: str) -> str:
    """The text that ``guard_cell`` made the cell of.

    >>> bare_cell("'=HYPERLINK(1)"), bare_cell("a cat"), bare_cell("'tis")
    ('=HYPERLINK(1)', 'a cat', "'tis")
    """
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def is_ours(columns: Iterable[str]) -> bool:
    """Whether ``score``, ``rank`` or ``evaluate`` wrote a CSV of such columns, its cells guarded.

    >>> is_ours(["row", "image", "prompt", "prompt_source"]), is_ours(["image", "prompt"])
    (True, False)
    """
    names = set(columns)
    predicted = any(name.endswith(("_predicted", "predicted_score")) for name in names)
    return "prompt_source" in names or {"rank", "of"} <= names or (predicted and "error" in names)


def check_suffix(path: str | os.PathLike[str]) -> None:
    """Raise TableError where ``RowWriter`` could not tell by the name what to write."""
    if suffix(os.fsdecode(path)) not in (".csv", ".jsonl", ".parquet"):
        raise TableError(
            f"{printable(os.fsdecode(path))} has no suffix of a format that can be written; "
            "name it .csv, .jsonl or .parquet."
        )


ROOM = 20_000_000
"""Bytes that must be free to start: some 50,000 rows."""


def check_place(path: str | os.PathLike[str]) -> None:
    """Raise TableError where a local file or folder cannot be made, for want of access or space."""
    shown, folder = (
        printable(os.fsdecode(path)),
        os.path.dirname(os.path.abspath(os.fsdecode(path))),
    )
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    if not (os.path.isdir(folder) and os.access(folder, os.W_OK)):
        raise TableError(
            f"{shown} cannot be written ({printable(folder)} is no folder, or without access); "
            "give --out another place"
        )
    if (free := shutil.disk_usage(folder).free) < ROOM:
        raise TableError(
            f"the disk of {shown} has {free / 1e6:.0f} MB left, and {ROOM / 1e6:.0f} MB are the least "
            "to start with; free some, or give --out another place"
        )


class RowWriter:
    """Rows of results -> one CSV, JSONL or Parquet file that is there whole or not at all.

    Rows go to a temporary file beside ``path``, which takes its name when the ``with`` block ends
    without an exception, and is removed otherwise. Memory is flat. In CSV, text that a spreadsheet
    would run as a formula gets a quote in front (``guard_cell``); JSONL and Parquet keep it as it
    is. Numbers that are not finite are written as empty.

    Args:
        path: local path or store URL; its suffix names the format.
        columns: name -> str, int, float or bool, in the order of the file.

    Raises:
        TableError: for another suffix, or where the file cannot be written.

    >>> import tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "scores.csv")
    >>> with RowWriter(path, {"image": str, "perception": float}) as rows:
    ...     rows.write({"image": "cat.png", "perception": 0.5})
    >>> open(path).read()
    'image,perception\\ncat.png,0.5\\n'
    """

    def __init__(self, path: str | os.PathLike[str], columns: Mapping[str, type]) -> None:
        self.path = os.fsdecode(path)
        self.columns = dict(columns)
        check_suffix(self.path)
        self._batch: list[dict[str, Any]] = []
        self._file: Any = None
        self._parquet: Any = None

    def __enter__(self) -> RowWriter:
        self._context = self._opened()
        return self._context.__enter__()

    def __exit__(self, *fault: Any) -> None:
        self._context.__exit__(*fault)

    @contextmanager
    def _opened(self) -> Iterator[RowWriter]:
        within = False
        try:
            with whole_file(self.path) as self._file:
                if suffix(self.path) == ".csv":
                    self._put(self.columns)
                elif suffix(self.path) == ".parquet":
                    self._parquet = self._parquet_writer()
                within = True
                yield self
                within = False
                if self._parquet is not None:
                    self._flush()
                    self._parquet.close()
        except Exception as fault:
            raise fault if within or isinstance(fault, TableError) else self._unwritten(fault)  # noqa: B904
        finally:
            if self._parquet is not None:
                with suppress(Exception):  # after a fault its file is gone
                    self._parquet.close()

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a row; columns it lacks are empty, and a column of its own is a TableError."""
        if unknown := [name for name in row if name not in self.columns]:
            raise TableError(
                f"the row has a column {quoted(unknown[0])} that the file lacks; "
                f"expected {', '.join(self.columns)}."
            )
        values = {name: _plain(row.get(name), kind) for name, kind in self.columns.items()}
        try:
            self._write(values)
        except Exception as fault:  # a full disk shows at any row, or only at the last
            raise self._unwritten(fault) from fault

    def _write(self, values: Mapping[str, Any]) -> None:
        if suffix(self.path) == ".csv":
            self._put(
                "" if value is None else guard_cell(value) if isinstance(value, str) else value
                for value in values.values()
            )
        elif suffix(self.path) == ".jsonl":
            self._file.write(json.dumps(values, ensure_ascii=False).encode() + b"\n")
        else:
            self._batch.append(dict(values))
            if len(self._batch) == 4096:
                self._flush()

    def _unwritten(self, fault: Exception) -> TableError:
        return TableError(
            f"{printable(self.path)} cannot be written ({reason_of(fault)}); "
            "check its folder, its access and the space there."
        )

    def _put(self, cells: Iterable[Any]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(cells)
        self._file.write(line.getvalue().encode())

    def _parquet_writer(self) -> Any:
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter

        kinds = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
        schema = pa.schema([(name, kinds[kind]) for name, kind in self.columns.items()])
        return ParquetWriter(self._file, schema)

    def _flush(self) -> None:
        import pyarrow as pa

        if self._batch:
            self._parquet.write_table(pa.Table.from_pylist(self._batch, self._parquet.schema))
            self._batch = []


def _plain(value: Any, kind: type) -> Any:
    """A value of the column's type; None for what is missing or no finite number."""
    value = value.item() if hasattr(value, "item") else value  # numpy and torch scalars
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if kind is str:
        return str(value).encode("utf-8", "backslashreplace").decode()
    return kind(value)
