"""Inputs -> samples, one after the other at flat memory.

An input is an image, a folder, a pattern (``out/*.png``), a table or a tar shard, on this machine
or in a store that fsspec knows. A fault of one row travels in its sample; a fault of a whole input
(no such column, no image in the folder) raises a TableError.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from diffagiqa.data.cells import cell_text
from diffagiqa.data.folders import find_files
from diffagiqa.data.images import DEFAULT_LIMITS, ImageLimits
from diffagiqa.data.lines import MAX_LINE, LongLineError, is_utf8, next_line, open_text
from diffagiqa.data.names import NameIndex, in_other_letters, locate
from diffagiqa.data.prompts import clean_prompt, sidecar_prompt
from diffagiqa.data.records import Record, TableReader, json_record
from diffagiqa.data.samples import (
    TABLE_SUFFIXES,
    Sample,
    local_path,
    open_location,
    printable,
    quoted,
    read_shard,
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

    Images themselves are not opened: whether they exist and can be read shows when they are
    scored. Samples without a prompt have ``prompt_source`` "none"; ``prompts.find_prompt`` looks
    further once the bytes are there.

    Args:
        inputs: images, folders, patterns, tables (CSV, TSV, JSONL, JSON, Parquet, xlsx) and tar shards.
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
        limits: largest image in a shard.
        out: file or folder that the results are written to, which no pattern matches.

    Raises:
        TableError, PromptError: where an input, the prompt or the prompts file cannot be used.
    """
    names = [os.fsdecode(item) for item in inputs]
    if not names:
        raise TableError("no input was given; give images, folders, tables or tar shards.")
    if prompt is not None and prompts_file is not None:
        raise TableError("a prompt and a prompts file were given; give one of the two.")
    columns = Columns(image_column, prompt_column, root=root)
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
        reader = TableReader(prompts_file, hosts=limits.hosts)
        return _matched(numbered, reader, Columns(image_column, prompt_column))
    return _aligned(numbered, prompts_file, limits)


@dataclass(frozen=True, slots=True)
class Columns:
    """What a table's columns are called, None where they are known by name, and where its images are."""

    image: str | None = None
    prompt: str | None = None
    generator: str | None = None
    root: str | None = None

    def of(self, record: Record) -> tuple[str | None, str | None, str | None]:
        """A record's columns of image, prompt and generator, "Image Path" as image_path; None without."""
        known_as = {_plain(name): name for name in reversed(record)}

        def column(wanted: str | None, known: Sequence[str]) -> str | None:
            if wanted is not None and wanted in record:
                return wanted
            names = known if wanted is None else (_plain(wanted),)
            return next((known_as[name] for name in names if name in known_as), None)

        return (
            column(self.image, IMAGE_COLUMNS),
            column(self.prompt, PROMPT_COLUMNS),
            column(self.generator, GENERATOR_COLUMNS),
        )

    def check(self, record: Record, shown: str) -> None:
        """Raise TableError where a record lacks the images, or a column that the user named."""
        image, prompt, generator = self.of(record)
        there = ", ".join(quoted(name[:100]) for name in list(record)[:50])
        if image is None:
            expected = quoted(self.image) if self.image else f"one of {', '.join(IMAGE_COLUMNS)}"
            raise TableError(
                f"{shown} has no image column: found {there}; expected {expected}; "
                "name the column that holds the images."
            )
        for wanted, column, what in (
            (self.prompt, prompt, "prompts"),
            (self.generator, generator, "generators"),
        ):
            if wanted and column is None:
                raise TableError(
                    f"{shown} has no column {quoted(wanted)} for {what}: found {there}; "
                    f"name the column that holds the {what}."
                )


def _plain(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def _expand(
    item: str, recursive: bool, columns: Columns, limits: ImageLimits, out: str | None
) -> Iterator[Sample]:
    try:
        path = local_path(item)
    except TableError as fault:  # this row cannot be scored, others can
        yield _bare(item, str(fault))
        return
    if path is not None and not os.path.lexists(path):
        item = in_other_letters(path) or item
    for file in find_files(item, recursive, out):
        if suffix(file) in TABLE_SUFFIXES:
            reader = TableReader(file, hosts=limits.hosts)
            yield from (sample for sample, _ in table_samples(reader, columns))
        elif suffix(file) == ".tar":
            yield from _shard_samples(file, columns, limits)
        else:
            yield _bare(file)


def _bare(image: str, error: str | None = None) -> Sample:
    return Sample(image, None, "none", 0, error=error)


def _shard_samples(shard: str, columns: Columns, limits: ImageLimits) -> Iterator[Sample]:
    for entry in read_shard(shard, limits.max_bytes, MAX_LINE, limits.hosts):
        image = f"{shard}::{entry.name}" if entry.name else shard
        sample = replace(_bare(image, entry.error), data=entry.data)
        try:
            record = json_record(entry.texts.get("json", b"{}"), f"the .json of {printable(image)}")
            sample = _described(sample, record, *columns.of(record)[1:])
            if "txt" in entry.texts:
                beside = sidecar_prompt(entry.texts["txt"], f"the .txt of {printable(image)}")
                sample = replace(sample, prompt=beside.text, prompt_source=beside.source)
        except DiffAGIQAError as fault:
            sample = replace(sample, error=sample.error or str(fault))
        yield sample


def table_samples(reader: TableReader, columns: Columns) -> Iterator[tuple[Sample, Record]]:
    """The rows of a table, each as a sample, all of number 0, and its record, empty where it has none.

    Raises:
        TableError: the table cannot be read, or lacks the images or a column that was named.
    """
    table, checked = reader.location, False
    folder = _folder(table) if columns.root is None else columns.root
    for number, record in enumerate(reader, start=1):
        if isinstance(record, str):
            yield _bare(f"{table}:{number}", f"{reader.shown} row {number}: {record}"), {}
            continue
        if not checked:
            columns.check(record, reader.shown)
            checked = True
        image, *others = columns.of(record)
        name, data = _cell(record, image), None
        if isinstance(name, dict) and name.keys() == {"bytes", "path"}:  # as datasets keep images
            name, data = name["path"], name["bytes"]
        elif isinstance(name, bytes):
            name, data = None, name
        sample = _bare(f"{table}:{number}")
        try:
            name = cell_text(name, "image")
            sample = _described(replace(sample, image=name or sample.image), record, *others)
            if isinstance(data, bytes):
                sample = replace(sample, data=data)
            elif not name.strip() or min(name) < " ":
                raise TableError("it names no image; give a file name without control characters.")
            else:
                inside = columns.root is not None
                ours = "prompt_source" in record and columns.image is None and not inside
                file = cell_text(record.get("file"), "file") if ours else ""
                sample = replace(sample, location=locate(file or name, folder, inside))
        except DiffAGIQAError as fault:
            sample = replace(sample, error=f"{reader.shown} row {number}: {fault}")
        yield sample, record


def _described(
    sample: Sample, record: Record, prompt_column: str | None, generator_column: str | None
) -> Sample:
    """The sample with the prompt and the generator of its record."""
    text = cell_text(_cell(record, prompt_column), "prompt")
    if text.strip():
        sample = replace(sample, prompt=clean_prompt(text), prompt_source="table")
    generator = _cell(record, generator_column)
    generator = "" if isinstance(generator, (list, dict, bytes)) else cell_text(generator).strip()
    return replace(sample, generator=generator or None)


def _cell(record: Record, column: str | None) -> Any:
    return None if column is None else record.get(column)


def _folder(table: str) -> str:
    path = local_path(table)
    return os.path.dirname(path) if path is not None else table.rpartition("/")[0]


# A file of prompts


def _matched(samples: Iterator[Sample], reader: TableReader, columns: Columns) -> Iterator[Sample]:
    """Prompts of a table, which is held whole, by the image's name as given, else by its last parts.

    Of several rows whose last part is the image's, the one that shares most parts of the path counts.
    """
    exact: dict[str, Sample] = {}
    for given, _ in table_samples(reader, columns):
        if given.error and given.image.startswith(f"{reader.location}:"):  # it names no image
            raise TableError(given.error)
        known = exact.setdefault(given.image, given)
        if known.prompt != given.prompt:
            raise TableError(
                f"{reader.shown} gives {printable(given.image)} two prompts; leave one of them."
            )
    index = NameIndex(exact)
    matched, image = False, None
    for sample in samples:
        image = sample.image
        nearest = [exact[name] for name in index.find(image)]
        matched = matched or bool(nearest)
        if len({given.prompt for given in nearest}) > 1:
            names = " and ".join(printable(given.image) for given in nearest[:2])
            fault = f"{reader.shown} has prompts for {names}, and {printable(image)} may be either"
            fault += "; name the images there as they are named here."
            sample = replace(sample, error=sample.error or fault)
        elif nearest and nearest[0].prompt is not None:
            sample = replace(sample, prompt=nearest[0].prompt, prompt_source="table")
        elif nearest:
            sample = replace(sample, error=sample.error or nearest[0].error)
        yield sample
    if image is not None and not matched:
        raise TableError(
            f"{reader.shown} has a prompt for none of the images: it names "
            f"{printable(next(iter(exact)))}, and the last image is {printable(image)}; "
            "name the images there as they are named here."
        )


def _aligned(samples: Iterator[Sample], file: str, limits: ImageLimits) -> Iterator[Sample]:
    """One line of text per sample."""
    shown, count = printable(file), 0
    with open_location(file, hosts=limits.hosts) as opened, open_text(opened) as lines:
        for count, sample in enumerate(samples, start=1):
            try:
                line = next_line(lines)
                if not line:
                    raise TableError(
                        f"{shown} has {counted(count - 1, 'line')}, and this is image {count}; "
                        "give one line per image."
                    )
                if not is_utf8([line]):
                    raise TableError(f"{shown} line {count} is not UTF-8 text; save it as UTF-8.")
                text = clean_prompt(line)
            except LongLineError as fault:
                long = f"{shown} line {count} cannot be read ({fault}); shorten it."
                yield replace(sample, error=sample.error or long)
                continue
            except DiffAGIQAError as fault:
                yield replace(sample, error=sample.error or str(fault))
                continue
            yield replace(sample, prompt=text, prompt_source="table") if text else sample
        if any(line.strip() for line in iter(lambda: lines.readline(MAX_LINE), "")):
            raise TableError(
                f"{shown} has more lines than there are images ({count}), so prompts and images may "
                "not belong together; give one line per image."
            )
