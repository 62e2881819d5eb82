"""The rows of one open table, each as a record or as the reason why it is none."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any, BinaryIO

from diffagiqa.data.results import bare_cell, is_ours
from diffagiqa.data.samples import read_limited, reason_of
from diffagiqa.data.workbooks import xlsx_records
from diffagiqa.errors import TableError

Record = dict[str, Any]
MAX_LINE = 1_000_000  # characters; ten prompts of the longest kind
_MAX_JSON = 64_000_000  # bytes; a JSON table is held whole, a JSONL table is not


_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}


def separator_of(header: str, expected: str) -> str:
    """What separates a table's columns: spreadsheets of many countries write semicolons into .csv.

    >>> separator_of("image;prompt", ","), separator_of("image", ",")
    (';', ',')
    """
    return next((mark for mark in (expected, *_SEPARATORS) if mark in header), expected)


def _csv_records(file: BinaryIO, shown: str, delimiter: str = ",") -> Iterator[Record | str]:
    # Bytes that are not UTF-8 become lone surrogates, so that they spoil only their own row.
    text = io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="")
    lines = iter(lambda: text.readline(MAX_LINE).replace("\0", "\x01"), "")
    first = next(lines, "")
    delimiter = separator_of(first, delimiter)
    # Not strict, a quote that nobody closes would take in all that follows, without an error.
    reader = csv.reader(chain([first], lines), delimiter=delimiter, strict=True)
    header = next(reader, [])
    if _undecoded(header) or len(set(filter(None, header))) < len(list(filter(None, header))):
        raise TableError(
            f"{shown} has a header that names a column twice or is not UTF-8; correct it."
        )
    ours = is_ours(header)
    while True:
        begin = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as fault:
            end = reader.line_num
            place = f"line {begin}" if begin == end else f"lines {begin} to {end}"
            yield f"{place} cannot be read ({fault}); look for a quote that is not closed."
            continue
        if len(row) != len(header):
            if row:  # a blank line is no row
                found = f"it has {len(row)} fields, and the header {len(header)}"
                yield f"{found}; quote the {_SEPARATORS[delimiter]}."
        elif _undecoded(row):
            yield "it is not UTF-8; save the table as UTF-8."
        else:
            yield dict(zip(header, map(bare_cell, row) if ours else row, strict=True))


def _undecoded(cells: list[str]) -> bool:
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        return True
    return False


def _tsv_records(file: BinaryIO, shown: str) -> Iterator[Record | str]:
    return _csv_records(file, shown, delimiter="\t")


def _jsonl_records(file: BinaryIO, shown: str) -> Iterator[Record | str]:
    for line in iter(lambda: file.readline(MAX_LINE), b""):
        if line.strip():
            try:
                yield json_record(line, "it")
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
        for batch in table.iter_batches(batch_size=64):  # rows; they may hold the pictures
            yield from batch.to_pylist()


READERS: Mapping[str, Callable[[BinaryIO, str], Iterator[Record | str]]] = {
    ".csv": _csv_records,
    ".tsv": _tsv_records,
    ".jsonl": _jsonl_records,
    ".json": _json_records,
    ".parquet": _parquet_records,
    ".xlsx": xlsx_records,
}
