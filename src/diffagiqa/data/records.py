"""The one reader of tables, for every command: CSV, TSV, JSON, JSONL, Parquet and xlsx.

Text is UTF-8 or UTF-16, with or without a byte order mark. What separates a CSV's columns is seen in
its header, or said by a first line ``sep=;``. ``TableReader`` streams, ``read_frame`` holds a table
whole, and ``data.cells`` says what a cell is as a text or as a number.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from diffagiqa.data.cells import cell_number
from diffagiqa.data.json_stream import json_values
from diffagiqa.data.lines import LongLineError, is_utf8, next_line, open_text
from diffagiqa.data.results import bare_cell, is_ours
from diffagiqa.data.samples import (
    TABLE_SUFFIXES,
    open_location,
    printable,
    quoted,
    reason_of,
    suffix,
)
from diffagiqa.data.wording import counted
from diffagiqa.data.workbooks import sheet_rows
from diffagiqa.errors import DiffAGIQAError, TableError

if TYPE_CHECKING:
    import pandas as pd
    from pyarrow import RecordBatch

Record = dict[str, Any]
_MAX_FRAME = 20_000_000  # rows of a table that is held whole; a few bytes of Parquet may say more
_NOT_UTF8 = "it is not UTF-8; save the table as UTF-8."


class TableReader:
    """The rows of one table, read as they are asked for.

    Iterating gives for every row a record, ``{column: cell}``, or a sentence that says why there is
    none; what is wrong with the whole file raises TableError. Memory is flat, but xlsx is held whole, up
    to a limit. The header and blank rows are not counted as rows.

    Cells of CSV, TSV and xlsx are texts, "" where empty; an xlsx cell is the text that a CSV would hold
    ("1984", "TRUE", "2026-01-02"). JSON and Parquet keep their types: ``cells.cell_text`` and ``number``
    read either. Columns of a CSV, TSV or xlsx without a name are left out.

    Args:
        table: a path or location (``data.samples``) with a suffix of ``TABLE_SUFFIXES``.
        guarded: whether texts carry the quote of ``results.guard_cell``; None: where the header is
            that of a table of ours.
        hosts: that a table on the web may be fetched from.

    Raises:
        TableError: the suffix is that of no table.
    """

    def __init__(
        self,
        table: str | os.PathLike[str],
        guarded: bool | None = None,
        hosts: Collection[str] = (),
    ) -> None:
        self.location = os.fsdecode(table)
        self.shown = printable(self.location)
        self.kind = suffix(self.location)
        self.guarded = guarded
        self.hosts = hosts
        self.comma = False
        """Whether a comma may stand in a number: known with the first row."""
        if self.kind not in TABLE_SUFFIXES:
            raise TableError(
                f"{self.shown} has suffix {self.kind or 'none'}; expected a table in one of "
                f"{', '.join(TABLE_SUFFIXES)}."
            )

    def __iter__(self) -> Iterator[Record | str]:
        return cast("Iterator[Record | str]", self._whole(self._records))

    def cells(self) -> Iterator[list[str] | str]:
        """The rows of a CSV, TSV or xlsx without a header, each as its cells or as its fault."""
        return cast("Iterator[list[str] | str]", self._whole(self._cells))

    def number(self, cell: Any) -> float | None:
        """``cell_number`` by this table's decimal mark."""
        return cell_number(cell, self.comma)

    def _whole(self, read: Callable[[BinaryIO], Iterator[Any]]) -> Iterator[Any]:
        empty = True
        with open_location(self.location, hosts=self.hosts) as file:
            try:
                for row in read(file):
                    empty = False
                    yield row
            except DiffAGIQAError:
                raise
            except Exception as fault:
                raise TableError(
                    f"{self.shown} cannot be read as {self.kind[1:]} ({reason_of(fault)}); "
                    "check its format and its suffix."
                ) from fault
        if empty:
            raise TableError(f"{self.shown} has no rows; expected a header and one row per image.")

    def _records(self, file: BinaryIO) -> Iterator[Record | str]:
        if self.kind == ".parquet":
            return _parquet_records(file, self.shown)
        if self.kind == ".json":
            return _json_records(file, self.shown)
        if self.kind == ".jsonl":
            return _jsonl_records(file)
        return self._under_header(self._cells(file))

    def _cells(self, file: BinaryIO) -> Iterator[list[str] | str]:
        if self.kind == ".xlsx":
            yield from sheet_rows(file, self.shown)
        else:
            with open_text(file) as text:
                yield from self._csv_rows(_Lines(text))

    def _csv_rows(self, lines: _Lines) -> Iterator[list[str] | str]:
        first = next((line for line in lines if line.strip()), "")
        if said := _SEPARATOR_LINE.fullmatch(first):
            mark, first = said[1], next(lines, "")
        else:
            mark = separator_of(first, "\t" if self.kind == ".tsv" else ",")
        self.comma = mark != ","
        # Not strict, a quote that nobody closes would take in all that follows, without an error.
        reader = csv.reader(chain([first], lines), delimiter=mark, strict=True)
        width = 0
        while True:
            begin = lines.count + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except (csv.Error, LongLineError) as fault:
                if not width:
                    raise  # without its first row, nothing is known of the others
                end = lines.count
                lines_read = f"line {begin}" if begin == end else f"lines {begin} to {end}"
                long = isinstance(fault, LongLineError) or "field limit" in str(fault)
                hint = "shorten it" if long else "look for a quote that is not closed"
                yield f"{lines_read} cannot be read ({fault}); {hint}."
                continue
            width = width or len(cells)
            while len(cells) > width and not cells[-1]:
                cells.pop()
            if len(cells) != width and any(cells):
                have = f"it has {counted(len(cells), 'field')}, and the header {width}"
                yield f"{have}; quote the {_SEPARATORS.get(mark, repr(mark))}."
            elif any(cells):  # a blank line is no row
                yield cells

    def _under_header(self, rows: Iterator[list[str] | str]) -> Iterator[Record | str]:
        header = list(next(rows, ()))
        _check_header(header, self.shown)
        bare = is_ours(header) if self.guarded is None else self.guarded
        for cells in rows:
            if isinstance(cells, str):
                yield cells
            elif not is_utf8(cells):
                yield _NOT_UTF8
            else:  # a row of a workbook ends with its last cell
                texts = chain(map(bare_cell, cells) if bare else cells, [""] * len(header))
                record = {name: text for name, text in zip(header, texts, strict=False) if name}
                if any(record.values()):
                    yield record


def whole_rows(reader: TableReader) -> Iterator[tuple[int, Record]]:
    """The rows of a table, from 1; TableError names the first that cannot be read."""
    for number, record in enumerate(reader, start=1):
        if isinstance(record, str):
            raise TableError(f"{reader.shown} row {number}: {record}")
        yield number, record


def read_frame(table: str | os.PathLike[str], guarded: bool | None = None) -> pd.DataFrame:
    """A whole table as a frame, read by ``TableReader``; the first row that cannot be read is an error.

    Columns are of objects, the cells as the reader gives them, but decimal commas are points in columns
    that hold nothing but numbers, so that pandas can read them.

    Raises:
        TableError: the table or one of its rows cannot be read, or it has over 20 million rows.
    """
    import pandas as pd

    reader = TableReader(table, guarded)
    records: list[Record] = []
    for number, record in whole_rows(reader):
        if number > _MAX_FRAME:
            raise TableError(
                f"{reader.shown} has over {_MAX_FRAME:,} rows, and all are needed at once; split it."
            )
        records.append(record)
    frame = pd.DataFrame(records, dtype=object)
    if reader.comma:
        for name in frame.columns:
            if all(cell == "" or reader.number(cell) is not None for cell in frame[name]):
                frame[name] = frame[name].str.strip().str.replace(",", ".")
    return frame


def _check_header(names: Iterable[str], shown: str) -> None:
    """Raise where a column is named twice or not in UTF-8; columns without a name may be several."""
    named = [name for name in names if name]
    if not is_utf8(named):
        raise TableError(f"{shown} has a header that is not UTF-8; save the table as UTF-8.")
    if len(named) > len(set(named)):
        twice = next(name for name, count in Counter(named).items() if count > 1)
        raise TableError(
            f"{shown} has a header that names the column {quoted(twice[:100])} twice; correct it."
        )


class _Lines:
    """The lines of a CSV, counted; after a LongLineError, which ends a generator, others follow."""

    def __init__(self, file: io.TextIOWrapper) -> None:
        self.file = file
        self.count = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        self.count += 1
        if line := next_line(self.file):
            return line.replace("\0", "\x01")
        self.count -= 1
        raise StopIteration


_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
# By which spreadsheets go; they write it with as many cells as the other rows have.
_SEPARATOR_LINE = re.compile(r'"?sep=([^\w\s"]|\t)"?[,;\s]*', re.I)


def separator_of(header: str, expected: str) -> str:
    """What separates a table's columns: spreadsheets of many countries write semicolons into .csv.

    The mark that stands most often outside of quotes.

    >>> separator_of('image;"prompt, English"', ","), separator_of("image", ",")
    (';', ',')
    """
    bare = re.sub('"[^"]*"', "", header)
    mark = max("\t;,|", key=bare.count)
    return mark if mark in bare else expected


# Records that carry their columns


def _jsonl_records(file: BinaryIO) -> Iterator[Record | str]:
    with open_text(file) as lines:
        while True:
            try:
                line = next_line(lines)
                if not line:
                    return
                if not is_utf8([line]):
                    yield _NOT_UTF8
                elif line.strip():
                    yield json_record(line, "it")
            except LongLineError as fault:
                yield f"it cannot be read ({fault}); shorten it."
            except TableError as fault:
                yield str(fault)


def json_record(text: str | bytes, shown: str) -> Record:
    """A JSON object; bytes are UTF-8 or UTF-16."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise TableError(f"{shown} is not JSON ({reason_of(fault)}); write it as UTF-8.") from None
    if not isinstance(record, dict):
        raise TableError(f"{shown} is a JSON {type(record).__name__}; expected an object.")
    return record


def _json_records(file: BinaryIO, shown: str) -> Iterator[Record | str]:
    with open_text(file) as text:
        for key, row in json_values(text):
            if isinstance(key, str):
                raise TableError(f"{shown} is a JSON object; expected a list of objects.")
            is_record = isinstance(row, dict)
            yield row if is_record else f"it is a JSON {type(row).__name__}; give an object."


def _parquet_records(file: BinaryIO, shown: str) -> Iterator[Record | str]:
    from pyarrow.parquet import ParquetFile

    # The buffer makes it read pages as they are needed, not row groups whole.
    with ParquetFile(file, buffer_size=1 << 20) as table:
        _check_header(table.schema_arrow.names, shown)
        for batch in table.iter_batches(batch_size=64):  # rows; they may hold the images
            try:
                rows = batch.to_pylist()
            except (ValueError, OverflowError):  # some text is not UTF-8, or a date not Python's
                rows = [_parquet_row(batch.slice(row, 1)) for row in range(batch.num_rows)]
            yield from rows


def _parquet_row(batch: RecordBatch) -> Record | str:
    try:
        return dict(batch.to_pylist()[0])
    except (ValueError, OverflowError) as fault:
        reason = reason_of(fault)
        return (
            f"it cannot be read ({reason}); write text as UTF-8, and dates of the years 1 to 9999."
        )
