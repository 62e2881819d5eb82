"""Inputs -> samples, one after the other at flat memory.

An input is a picture, a folder, a pattern (``out/*.png``), a table or a tar shard, on this machine
or in a store that fsspec knows. A fault of one row travels in its sample; a fault of a whole input
(no such column, no picture in the folder) raises a TableError.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from diffagiqa.data.folders import find_files
from diffagiqa.data.images import DEFAULT_LIMITS, ImageLimits
from diffagiqa.data.names import NameIndex
from diffagiqa.data.prompts import clean_prompt, decode_text
from diffagiqa.data.records import MAX_LINE, READERS, LongLineError, Record, json_record, next_line
from diffagiqa.data.samples import (
    TABLE_SUFFIXES,
    Sample,
    local_path,
    open_location,
    printable,
    protocol,
    read_shard,
    reason_of,
    suffix,
)
from diffagiqa.data.wording import counted
from diffagiqa.errors import DiffAGIQAError, TableError

IMAGE_COLUMNS = ("image", "image_path", "img", "img_path", "file", "filename", "file_name",
                 "filepath", "file_path", "path", "name", "url")  # fmt: skip
PROMPT_COLUMNS = ("prompt", "positive_prompt", "caption", "text", "description")
GENERATOR_COLUMNS = ("generator", "model")


def read_samples(
    inputs: Sequence[str | os.PathLike[str]],
    *,
    prompt: str | None = None,
    prompts_file: str | None = None,
    image_column: str | None = None,
    prompt_column: str | None = None,
    root: str | None = None,
    recursive: bool = True,
    limits: ImageLimits = DEFAULT_LIMITS,
    out: str | None = None,
) -> Iterator[Sample]:
    """Samples of all inputs, in the order given, numbered from 0.

    Pictures themselves are not opened: whether they exist and can be read shows when they are
    scored. Samples without a prompt have ``prompt_source`` "none"; ``prompts.find_prompt`` looks
    further once the bytes are there.

    Args:
        inputs: pictures, folders, patterns, tables (CSV, TSV, JSONL, JSON, Parquet, xlsx) and tar shards.
        prompt: the prompt of every sample; goes before all others.
        prompts_file: one prompt per line in the order of the samples (a blank line gives none), or
            a table with image and prompt columns, matched by the image's name as given, else by the
            last parts of it. Goes before the prompts of tables and shards.
        image_column, prompt_column: columns of the tables, where they are not called as in
            ``IMAGE_COLUMNS`` and ``PROMPT_COLUMNS`` (upper or lower case). An empty cell is no
            prompt.
        root: folder that the tables' images are in, by default the folder of each table. Relative
            names must not leave it; full paths and URLs are taken only where no root is given.
        recursive: whether folders are searched below their first level.
        limits: largest picture in a shard.
        out: file or folder that the results are written to, which no pattern matches.

    Raises:
        TableError, PromptError: where an input, the prompt or the prompts file cannot be used.
    """
    names = [os.fsdecode(item) for item in inputs]
    if not names:
        raise TableError("no input was given; give pictures, folders, tables or tar shards.")
    if prompt is not None and prompts_file is not None:
        raise TableError("a prompt and a prompts file were given; give one of the two.")
    columns = _Columns(image_column, prompt_column, root)
    samples = (
        sample for name in names for sample in _expand(name, recursive, columns, limits, out)
    )
    numbered = (replace(sample, row=row) for row, sample in enumerate(samples))
    if prompt is not None:
        text = clean_prompt(prompt)
        return (replace(s, prompt=text, prompt_source="argument") for s in numbered)
    if prompts_file is None:
        return numbered
    if suffix(prompts_file) in TABLE_SUFFIXES:
        return _matched(numbered, prompts_file, _Columns(image_column, prompt_column, None))
    return _aligned(numbered, prompts_file)


@dataclass(frozen=True, slots=True)
class _Columns:
    """What the user calls the columns, and where the images are."""

    image: str | None
    prompt: str | None
    root: str | None


def _expand(
    item: str, recursive: bool, columns: _Columns, limits: ImageLimits, out: str | None
) -> Iterator[Sample]:
    try:
        local_path(item)
    except TableError as fault:  # a web address, say: this row cannot be scored, others can
        yield _bare(item, str(fault))
        return
    for file in find_files(item, recursive, out):
        yield from _file_samples(file, columns, limits)


def _file_samples(file: str, columns: _Columns, limits: ImageLimits) -> Iterator[Sample]:
    if suffix(file) in TABLE_SUFFIXES:
        return _table_samples(file, columns)
    if suffix(file) == ".tar":
        return _shard_samples(file, columns, limits)
    return iter([_bare(file)])


def _bare(image: str, error: str | None = None) -> Sample:
    return Sample(image, None, "none", 0, error=error)


def _shard_samples(shard: str, columns: _Columns, limits: ImageLimits) -> Iterator[Sample]:
    for entry in read_shard(shard, limits.max_bytes, MAX_LINE):
        image = f"{shard}::{entry.name}" if entry.name else shard
        sample = replace(_bare(image, entry.error), data=entry.data)
        try:
            record = json_record(entry.texts.get("json", b"{}"), f"the .json of {printable(image)}")
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
                sample = replace(sample, location=locate(name, folder, columns.root))
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


def columns_of(
    record: Record, image: str | None, prompt: str | None, generator: str | None
) -> tuple[str | None, str | None, str | None]:
    """The columns of a record's image, prompt and generator, as ``read_samples`` finds them."""
    return (
        _column(record, image, IMAGE_COLUMNS),
        _column(record, prompt, PROMPT_COLUMNS),
        _column(record, generator, GENERATOR_COLUMNS),
    )


def _folder(table: str) -> str:
    path = local_path(table)
    return os.path.dirname(path) if path is not None else table.rpartition("/")[0]


def locate(name: str, folder: str, root: str | None) -> str:
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


def read_records(
    table: str, image_column: str | None = None, prompt_column: str | None = None
) -> Iterator[Record | str]:
    """Rows of a table with such columns, or ``IMAGE_COLUMNS``, each as a record or as its fault."""
    return _records(table, _Columns(image_column, prompt_column, None))


def _records(table: str, columns: _Columns) -> Iterator[Record | str]:
    """Rows of a table, each as a record or as the reason why it cannot be one; checks the columns."""
    checked = False
    for record in read_rows(table):
        if isinstance(record, dict) and not checked:
            _check_columns(record, columns, printable(table))
            checked = True
        yield record


def read_rows(table: str) -> Iterator[Record | str]:
    """Rows of a table of any columns, each as a record or as the reason why it cannot be one."""
    shown, empty = printable(table), True
    with open_location(table) as file:
        try:
            for record in READERS[suffix(table)](file, shown):
                empty = False
                yield record
        except DiffAGIQAError:
            raise
        except Exception as fault:
            raise TableError(
                f"{shown} cannot be read as {suffix(table)[1:]} ({reason_of(fault)}); "
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


# A file of prompts


def _matched(samples: Iterator[Sample], file: str, columns: _Columns) -> Iterator[Sample]:
    """Prompts of a table, which is held whole, by the image's name as given, else by its last parts.

    Of several rows whose last part is the image's, the one that shares most parts of the path counts.
    """
    exact: dict[str, Sample] = {}
    for given in _table_samples(file, columns):
        if given.error and given.image.startswith(f"{file}:"):  # it names no picture
            raise TableError(given.error)
        known = exact.setdefault(given.image, given)
        if known.prompt != given.prompt:
            raise TableError(
                f"{printable(file)} gives {printable(given.image)} two prompts; leave one of them."
            )
    index = NameIndex(exact)
    matched, image = False, None
    for sample in samples:
        image = sample.image
        nearest = [exact[name] for name in index.find(image)]
        matched = matched or bool(nearest)
        if len({found.prompt for found in nearest}) > 1:
            names = " and ".join(printable(found.image) for found in nearest[:2])
            fault = (
                f"{printable(file)} has prompts for {names}, and {printable(image)} may be either"
            )
            fault += "; name the images there as they are named here."
            sample = replace(sample, error=sample.error or fault)
        elif nearest and nearest[0].prompt is not None:
            sample = replace(sample, prompt=nearest[0].prompt, prompt_source="table")
        elif nearest:
            sample = replace(sample, error=sample.error or nearest[0].error)
        yield sample
    if image is not None and not matched:
        raise TableError(
            f"{printable(file)} has a prompt for none of the images: it names "
            f"{printable(next(iter(exact)))}, and the last image is {printable(image)}; "
            "name the images there as they are named here."
        )


def _aligned(samples: Iterator[Sample], file: str) -> Iterator[Sample]:
    """One line of text per sample."""
    shown, count = printable(file), 0
    with open_location(file) as lines:
        for count, sample in enumerate(samples, start=1):
            try:
                line = next_line(lines)
                if not line:
                    raise TableError(
                        f"{shown} has {counted(count - 1, 'line')}, and this is image {count}; "
                        "give one line per image."
                    )
                text = decode_text(line, f"{shown} line {count}")
            except LongLineError as fault:
                long = f"{shown} line {count} cannot be read ({fault}); shorten it."
                yield replace(sample, error=sample.error or long)
                continue
            except DiffAGIQAError as fault:
                yield replace(sample, error=sample.error or str(fault))
                continue
            yield replace(sample, prompt=text, prompt_source="table") if text else sample
        if any(line.strip() for line in iter(lambda: lines.readline(MAX_LINE), b"")):
            raise TableError(
                f"{shown} has more lines than there are images ({count}), so prompts and images may "
                "not belong together; give one line per image."
            )
