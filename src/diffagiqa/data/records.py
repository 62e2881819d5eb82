"""The rows of one open table, each as a record or as the reason why it cannot be one."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import IO, TYPE_CHECKING, Any, AnyStr, BinaryIO

from diffagiqa.data.header import check_header, is_utf8
from diffagiqa.data.results import bare_cell, is_ours
from diffagiqa.data.samples import read_limited, reason_of
from diffagiqa.data.wording import counted
from diffagiqa.data.workbooks import xlsx_records
from diffagiqa.errors import TableError

if TYPE_CHECKING:
    from pyarrow import RecordBatch

Record = dict[str, Any]
MAX_LINE = 1_000_000  # characters; ten prompts of the longest kind
_MAX_JSON = 64_000_000  # bytes; a JSON table is held whole, a JSONL table is not


class LongLineError(ValueError):
    """A line of over ``MAX_LINE`` characters, of which nothing is kept."""


def next_line(file: IO[AnyStr]) -> AnyStr:
    """The next line of a file, empty at its end; a long one is read over and raised.

    >>> file = io.BytesIO(b"x" * 2_000_000 + b"\\nshort")
    >>> try: next_line(file)
    ... except LongLineError as fault: print(fault)
    a line of over 1,000,000 characters
    >>> next_line(file), next_line(file)
    (b'short', b'')
    """
    line = file.readline(MAX_LINE + 1)
    if len(line) <= MAX_LINE or _ends(line):
        return line
    while (rest := file.readline(MAX_LINE)) and not _ends(rest):
        pass
    raise LongLineError(f"a line of over {MAX_LINE:,} characters")


def _ends(line: str | bytes) -> bool:
    return line.endswith(b"\n") if isinstance(line, bytes) else line.endswith(("\n", "\r"))


_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}


def separator_of(header: str, expected: str) -> str:
    """What separates a table's columns: spreadsheets of many countries write semicolons into .csv.

    >>> separator_of("image;prompt", ","), separator_of("image", ",")
    (';', ',')
    """
    return next((mark for mark in (expected, *_SEPARATORS) if mark in header), expected)


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


def _csv_records(file: BinaryIO, shown: str, delimiter: str = ",") -> Iterator[Record | str]:
    # Bytes that are not UTF-8 become lone surrogates, so that they spoil only their own row.
    text = io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="")
    lines = _Lines(text)
    first = next(lines, "")
    delimiter = separator_of(first, delimiter)
    # Not strict, a quote that nobody closes would take in all that follows, without an error.
    reader = csv.reader(chain([first], lines), delimiter=delimiter, strict=True)
    header = next(reader, [])
    check_header(header, shown)
    ours = is_ours(header)
    while True:
        begin = lines.count + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except (csv.Error, LongLineError) as fault:
            end = lines.count
            place = f"line {begin}" if begin == end else f"lines {begin} to {end}"
            long = isinstance(fault, LongLineError)
            hint = "shorten it" if long else "look for a quote that is not closed"
            yield f"{place} cannot be read ({fault}); {hint}."
            continue
        if len(row) != len(header):
            if row:  # a blank line is no row
                found = f"it has {counted(len(row), 'field')}, and the header {len(header)}"
                yield f"{found}; quote the {_SEPARATORS[delimiter]}."
        elif not is_utf8(row):
            yield "it is not UTF-8; save the table as UTF-8."
        else:
            yield dict(zip(header, map(bare_cell, row) if ours else row, strict=True))


def _tsv_records(file: BinaryIO, shown: str) -> Iterator[Record | str]:
    return _csv_records(file, shown, delimiter="\t")


def _jsonl_records(file: BinaryIO, shown: str) -> Iterator[Record | str]:
    while True:
        try:
            line = next_line(file)
            if not line:
                return
            if line.strip():
                yield json_record(line, "it")
        except LongLineError as fault:
            yield f"it cannot be read ({fault}); shorten it."
        except TableError as fault:
            yield str(fault)


def json_record(text: bytes, shown: str) -> Record:
    try:
        record = json.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as fault:
        raise TableError(f"{shown} is not JSON ({reason_of(fault)}); write it as UTF-8.") from None
    if not isinstance(record, dict):
        raise TableError(f"{shown} is a JSON {type(record).__name__}; expected an object.")
    return record


def _json_records(file: BinaryIO, shown: str) -> Iterator[Record | str]:
    rows = json.loads(read_limited(file, shown, _MAX_JSON, TableError).decode("utf-8-sig"))
    if not isinstance(rows, list):
        raise TableError(f"{shown} is a JSON {type(rows).__name__}; expected a list of objects.")
    for row in rows:
        yield (
            row if isinstance(row, dict) else f"it is a JSON {type(row).__name__}; give an object."
        )


def _parquet_records(file: BinaryIO, shown: str) -> Iterator[Record | str]:
    from pyarrow.parquet import ParquetFile

    # The buffer makes it read pages as they are needed, not row groups whole.
    with ParquetFile(file, buffer_size=1 << 20) as table:
        check_header(table.schema_arrow.names, shown)
        for batch in table.iter_batches(batch_size=64):  # rows; they may hold the pictures
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


READERS: Mapping[str, Callable[[BinaryIO, str], Iterator[Record | str]]] = {
    ".csv": _csv_records,
    ".tsv": _tsv_records,
    ".jsonl": _jsonl_records,
    ".json": _json_records,
    ".parquet": _parquet_records,
    ".xlsx": xlsx_records,
}
