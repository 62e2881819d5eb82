"""Inputs -> samples, one after the other at flat memory; and rows of results -> one file, whole.

An input is a picture, a folder, a pattern (``out/*.png``), a table or a tar shard, on this machine
or in a store that fsspec knows. A fault of one row travels in its sample; a fault of a whole input
(no such column, no picture in the folder) raises a TableError.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import posixpath
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from diffagiqa.data.images import DEFAULT_LIMITS
from diffagiqa.data.prompts import clean_prompt, decode_text
from diffagiqa.data.samples import (
    TABLE_SUFFIXES,
    Sample,
    find_files,
    local_path,
    open_location,
    printable,
    protocol,
    read_limited,
    read_shard,
    reason_of,
)
from diffagiqa.errors import DiffAGIQAError, TableError

IMAGE_COLUMNS = ("image", "image_path", "img", "img_path", "file", "filename", "file_name",
                 "filepath", "file_path", "path", "name", "url")  # fmt: skip
PROMPT_COLUMNS = ("prompt", "positive_prompt", "caption", "text", "description")
GENERATOR_COLUMNS = ("generator", "model")
_MAX_LINE = 1_000_000  # characters; ten prompts of the longest kind
_MAX_JSON = 64_000_000  # bytes; a JSON table is held whole, a JSONL table is not

Record = dict[str, Any]


def read_samples(
    inputs: Sequence[str | os.PathLike[str]],
    *,
    prompt: str | None = None,
    prompts_file: str | None = None,
    image_column: str | None = None,
    prompt_column: str | None = None,
    root: str | None = None,
    recursive: bool = True,
) -> Iterator[Sample]:
    """Samples of all inputs, in the order given, numbered from 0.

    Pictures themselves are not opened: whether they exist and can be read shows when they are
    scored. Samples without a prompt have ``prompt_source`` "none"; ``prompts.find_prompt`` looks
    further once the bytes are there.

    Args:
        inputs: pictures, folders, patterns, tables (CSV, TSV, JSONL, JSON, Parquet) and tar shards.
        prompt: the prompt of every sample; goes before all others.
        prompts_file: one prompt per line in the order of the samples (a blank line gives none), or
            a table with image and prompt columns, matched by the image's name as given, else by the
            last part of it. Goes before the prompts of tables and shards.
        image_column, prompt_column: columns of the tables, where they are not called as in
            ``IMAGE_COLUMNS`` and ``PROMPT_COLUMNS`` (upper or lower case). An empty cell is no
            prompt.
        root: folder that the tables' images are in, by default the folder of each table. Relative
            names must not leave it; full paths and URLs are taken only where no root is given.
        recursive: whether folders are searched below their first level.

    Raises:
        TableError, PromptError: where an input, the prompt or the prompts file cannot be used.
    """
    names = [os.fsdecode(item) for item in inputs]
    if not names:
        raise TableError("no input was given; give pictures, folders, tables or tar shards.")
    if prompt is not None and prompts_file is not None:
        raise TableError("a prompt and a prompts file were given; give one of the two.")
    columns = _Columns(image_column, prompt_column, root)
    samples = (sample for name in names for sample in _expand(name, recursive, columns))
    numbered = (replace(sample, row=row) for row, sample in enumerate(samples))
    if prompt is not None:
        text = clean_prompt(prompt)
        return (replace(s, prompt=text, prompt_source="argument") for s in numbered)
    if prompts_file is None:
        return numbered
    if _suffix(prompts_file) in TABLE_SUFFIXES:
        return _matched(numbered, prompts_file, _Columns(image_column, prompt_column, None))
    return _aligned(numbered, prompts_file)


@dataclass(frozen=True, slots=True)
class _Columns:
    """How the user calls the columns, and where the images are."""

    image: str | None
    prompt: str | None
    root: str | None


def _suffix(location: str) -> str:
    return posixpath.splitext(location)[1].lower()


def _expand(item: str, recursive: bool, columns: _Columns) -> Iterator[Sample]:
    try:
        local_path(item)
    except TableError as fault:  # a web address, say: this row cannot be scored, others can
        yield _bare(item, str(fault))
        return
    for file in find_files(item, recursive):
        yield from _file_samples(file, columns)


def _file_samples(file: str, columns: _Columns) -> Iterator[Sample]:
    if _suffix(file) in TABLE_SUFFIXES:
        return _table_samples(file, columns)
    return _shard_samples(file, columns) if _suffix(file) == ".tar" else iter([_bare(file)])


def _bare(image: str, error: str | None = None) -> Sample:
    return Sample(image, None, "none", 0, error=error)


def _shard_samples(shard: str, columns: _Columns) -> Iterator[Sample]:
    for entry in read_shard(shard, DEFAULT_LIMITS.max_bytes, _MAX_LINE):
        image = f"{shard}::{entry.name}" if entry.name else shard
        sample = replace(_bare(image, entry.error), data=entry.data)
        try:
            record = _json_record(
                entry.texts.get("json", b"{}"), f"the .json of {printable(image)}"
            )
            if "cls" in entry.texts:
                record["cls"] = decode_text(entry.texts["cls"], f"the .cls of {printable(image)}")
            sample = _described(sample, record, (), columns.prompt)
            if "txt" in entry.texts:
                text = decode_text(entry.texts["txt"], f"the .txt of {printable(image)}")
                sample = replace(sample, prompt=text, prompt_source="sidecar")
        except DiffAGIQAError as fault:
            sample = replace(sample, error=sample.error or str(fault))
        yield sample


def _table_samples(table: str, columns: _Columns) -> Iterator[Sample]:
    shown, folder = printable(table), _folder(table)
    for number, record in enumerate(_records(table, columns), start=1):
        if isinstance(record, str):
            yield _bare(f"{table}:{number}", f"{shown} row {number}: {record}")
            continue
        image_column = _column(record, columns.image, IMAGE_COLUMNS)
        value: Any = record.get(image_column) if image_column else None
        picture = value if _is_picture(value) else {"path": value, "bytes": None}
        if isinstance(value, bytes):
            picture = {"path": None, "bytes": value}
        name = picture["path"]
        sample = _bare(str(name) if name else f"{table}:{number}")
        try:
            sample = _described(sample, record, (image_column,), columns.prompt)
            if isinstance(picture["bytes"], bytes):
                sample = replace(sample, data=picture["bytes"])
            elif not isinstance(name, str) or not name.strip() or min(name) < " ":
                raise TableError("it names no image; give a file name without control characters.")
            else:
                sample = replace(sample, location=_locate(name, folder, columns.root))
        except DiffAGIQAError as fault:
            sample = replace(sample, error=f"{shown} row {number}: {fault}")
        yield sample


def _is_picture(value: Any) -> bool:
    """Whether a cell is a picture as Hugging Face's datasets keep it."""
    return isinstance(value, dict) and value.keys() == {"bytes", "path"}


def _described(
    sample: Sample, record: Record, used: tuple[str | None, ...], prompt: str | None
) -> Sample:
    """The sample with its prompt, its generator and the other simple columns of its record."""
    prompt_column = _column(record, prompt, PROMPT_COLUMNS)
    generator_column = _column(record, None, GENERATOR_COLUMNS)
    text = record.get(prompt_column) if prompt_column else None
    generator = record.get(generator_column) if generator_column else None
    if text is not None and not isinstance(text, str):
        raise TableError(f"its prompt is {type(text).__name__}; give text.")
    if text is not None and text.strip():
        sample = replace(sample, prompt=clean_prompt(text), prompt_source="table")
    extra = {
        str(name): value
        for name, value in record.items()
        if name not in (*used, prompt_column, generator_column)
        and isinstance(value, (str, int, float, bool))
    }
    return replace(sample, generator=str(generator) if generator else None, extra=extra)


def _column(record: Record, wanted: str | None, known: Sequence[str]) -> str | None:
    if wanted is not None and wanted in record:
        return wanted
    lower = {str(name).strip().lower(): name for name in reversed(record)}
    names = known if wanted is None else (wanted.lower(),)
    return next((lower[name] for name in names if name in lower), None)


def _folder(table: str) -> str:
    path = local_path(table)
    return os.path.dirname(path) if path is not None else table.rpartition("/")[0]


def _locate(name: str, folder: str, root: str | None) -> str:
    """Where an image named in a table lies; a relative name never leads out of its folder."""
    if protocol(name) or os.path.isabs(name):
        if root is not None:
            raise TableError(
                f"{printable(name)} is a full path; with a root, give it relative to it."
            )
        return name
    relative = posixpath.normpath(name.replace(os.sep, "/"))
    if relative == ".." or relative.startswith("../"):
        raise TableError(
            f"{printable(name)} leads out of the folder of the images; "
            "name the folder above it as root, and the image relative to it."
        )
    base = folder if root is None else root
    return f"{base.rstrip('/')}/{relative}" if protocol(base) else os.path.join(base, relative)


def _records(table: str, columns: _Columns) -> Iterator[Record | str]:
    """Rows of a table, each as a record or as the reason why it is none; checks the columns."""
    shown, checked, empty = printable(table), False, True
    read = _READERS[_suffix(table)]
    with open_location(table) as file:
        try:
            for record in read(file, shown):
                if isinstance(record, dict) and not checked:
                    _check_columns(record, columns, shown)
                    checked = True
                empty = False
                yield record
        except DiffAGIQAError:
            raise
        except Exception as fault:
            raise TableError(
                f"{shown} cannot be read as {_suffix(table)[1:]} ({reason_of(fault)}); "
                "check its format and its suffix."
            ) from fault
    if empty:
        raise TableError(f"{shown} has no rows; expected a header and one row per image.")


def _check_columns(record: Record, columns: _Columns, shown: str) -> None:
    found = ", ".join(repr(str(name)[:100]) for name in list(record)[:50])
    if _column(record, columns.image, IMAGE_COLUMNS) is None:
        expected = repr(columns.image) if columns.image else f"one of {', '.join(IMAGE_COLUMNS)}"
        raise TableError(
            f"{shown} has no image column: found {found}; expected {expected}; "
            "name the column that holds the images."
        )
    if columns.prompt and _column(record, columns.prompt, ()) is None:
        raise TableError(
            f"{shown} has no column {columns.prompt!r} for prompts: found {found}; "
            "name the column that holds the prompts."
        )


def _csv_records(file: BinaryIO, shown: str, delimiter: str = ",") -> Iterator[Record | str]:
    # Bytes that are not UTF-8 become lone surrogates, so that they spoil only their own row.
    text = io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="")
    lines = iter(lambda: text.readline(_MAX_LINE).replace("\0", "\x01"), "")
    reader = csv.reader(lines, delimiter=delimiter)
    header = next(reader, [])
    if _undecoded(header) or len(set(filter(None, header))) < len(list(filter(None, header))):
        raise TableError(
            f"{shown} has a header that names a column twice or is not UTF-8; correct it."
        )
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as fault:
            yield f"it cannot be read ({fault}); look for a quote that is not closed."
            continue
        if len(row) != len(header):
            if row:  # a blank line is no row
                yield f"it has {len(row)} fields, and the header {len(header)}; quote the commas."
        elif _undecoded(row):
            yield "it is not UTF-8; save the table as UTF-8."
        else:
            yield dict(zip(header, row, strict=True))


def _undecoded(cells: list[str]) -> bool:
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        return True
    return False


def _tsv_records(file: BinaryIO, shown: str) -> Iterator[Record | str]:
    return _csv_records(file, shown, delimiter="\t")


def _jsonl_records(file: BinaryIO, shown: str) -> Iterator[Record | str]:
    for line in iter(lambda: file.readline(_MAX_LINE), b""):
        if line.strip():
            try:
                yield _json_record(line, "it")
            except TableError as fault:
                yield str(fault)


def _json_record(text: bytes, shown: str) -> Record:
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


_READERS = {
    ".csv": _csv_records,
    ".tsv": _tsv_records,
    ".jsonl": _jsonl_records,
    ".json": _json_records,
    ".parquet": _parquet_records,
}


# A file of prompts


def _matched(samples: Iterator[Sample], file: str, columns: _Columns) -> Iterator[Sample]:
    """Prompts of a table, which is held whole, by the image's name as given, else its last part."""
    exact: dict[str, Sample] = {}
    by_name: dict[str, Sample] = {}
    for given in _table_samples(file, columns):
        if exact.setdefault(given.image, given).prompt != given.prompt:
            raise TableError(
                f"{printable(file)} gives {printable(given.image)} two prompts; leave one of them."
            )
        by_name.setdefault(given.image.rpartition("/")[2], given)
    for sample in samples:
        found = exact.get(sample.image) or by_name.get(sample.image.rpartition("/")[2])
        if found is not None and found.prompt is not None:
            sample = replace(sample, prompt=found.prompt, prompt_source="table")
        elif found is not None:
            sample = replace(sample, error=sample.error or found.error)
        yield sample


def _aligned(samples: Iterator[Sample], file: str) -> Iterator[Sample]:
    """One line of text per sample."""
    shown, count = printable(file), 0
    with open_location(file) as lines:
        for count, sample in enumerate(samples, start=1):
            line = lines.readline(_MAX_LINE)
            try:
                if not line:
                    raise TableError(
                        f"{shown} has {count - 1} lines, and this is image {count}; "
                        "give one line per image."
                    )
                text = decode_text(line, f"{shown} line {count}")
            except DiffAGIQAError as fault:
                yield replace(sample, error=sample.error or str(fault))
                continue
            yield replace(sample, prompt=text, prompt_source="table") if text else sample
        if any(line.strip() for line in iter(lambda: lines.readline(_MAX_LINE), b"")):
            raise TableError(
                f"{shown} has more lines than there are images ({count}), so prompts and images may "
                "not belong together; give one line per image."
            )


# Results


def guard_cell(text: str) -> str:
    """Text as a CSV cell that a spreadsheet will not run as a formula.

    >>> guard_cell("=HYPERLINK(1)"), guard_cell("a cat")
    ("'=HYPERLINK(1)", 'a cat')
    """
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


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
        if _suffix(self.path) not in (".csv", ".jsonl", ".parquet"):
            raise TableError(
                f"{printable(self.path)} has no suffix of a format that can be written; "
                "name it .csv, .jsonl or .parquet."
            )
        self._local = local_path(self.path)
        folder, _, name = (self._local or self.path).rpartition("/")
        self._temporary = f"{folder}{_}.{name}.{uuid.uuid4().hex[:8]}.part"
        self._batch: list[Record] = []
        self._parquet: Any = None

    def __enter__(self) -> RowWriter:
        import fsspec

        try:
            self._filesystem, _ = fsspec.core.url_to_fs(self._local or self.path)
            self._file: Any = self._filesystem.open(self._temporary, "wb")
        except Exception as fault:
            raise TableError(
                f"{printable(self.path)} cannot be written ({reason_of(fault)}); "
                "check its folder and access."
            ) from fault
        if _suffix(self.path) == ".csv":
            self._put(self.columns)
        elif _suffix(self.path) == ".parquet":
            self._parquet = self._parquet_writer()
        return self

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a row; columns it lacks are empty, and a column of its own is a TableError."""
        if unknown := [name for name in row if name not in self.columns]:
            raise TableError(
                f"the row has a column {unknown[0]!r} that the file lacks; "
                f"expected {', '.join(self.columns)}."
            )
        values = {name: _plain(row.get(name), kind) for name, kind in self.columns.items()}
        if _suffix(self.path) == ".csv":
            self._put(
                "" if value is None else guard_cell(value) if isinstance(value, str) else value
                for value in values.values()
            )
        elif _suffix(self.path) == ".jsonl":
            self._file.write(json.dumps(values, ensure_ascii=False).encode() + b"\n")
        else:
            self._batch.append(values)
            if len(self._batch) == 4096:
                self._flush()

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

    def __exit__(self, kind: Any, *_: Any) -> None:
        try:
            if kind is None:
                self._finish()
        finally:  # still there only where the block, or the writing of the last bytes, failed
            for opened in (self._parquet, self._file):
                with suppress(Exception):
                    opened.close()
            with suppress(Exception):
                self._filesystem.rm(self._temporary)

    def _finish(self) -> None:
        try:
            if self._parquet is not None:
                self._flush()
                self._parquet.close()
            if self._local is not None:
                self._file.flush()
                os.fsync(self._file.fileno())
            self._file.close()
            if self._local is not None:
                os.replace(self._temporary, self._local)
            else:
                self._filesystem.mv(self._temporary, self.path)
        except Exception as fault:
            raise TableError(
                f"{printable(self.path)} cannot be written ({reason_of(fault)}); "
                "check the space and access of its folder."
            ) from fault


def _plain(value: Any, kind: type) -> Any:
    """A value of the column's type; None for what is missing or no finite number."""
    value = value.item() if hasattr(value, "item") else value  # numpy and torch scalars
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if kind is str:
        return str(value).encode("utf-8", "backslashreplace").decode()
    return kind(value)
