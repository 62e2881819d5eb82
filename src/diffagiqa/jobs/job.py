"""Score any number of inputs into a folder or a file, exactly once, over any number of interruptions."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from glob import escape, glob
from typing import Any, Protocol

from diffagiqa import __version__
from diffagiqa.data.folders import is_output
from diffagiqa.data.images import DEFAULT_LIMITS, ImageLimits
from diffagiqa.data.results import RowWriter
from diffagiqa.data.samples import TABLE_SUFFIXES, Sample, local_path, printable, suffix
from diffagiqa.data.tables import read_samples
from diffagiqa.data.wording import counted
from diffagiqa.errors import ConfigError, TableError
from diffagiqa.jobs.chunks import Chunk, Share, chunks_of
from diffagiqa.jobs.folder import OutputFolder
from diffagiqa.jobs.journal import JOB, Done, Journal
from diffagiqa.jobs.model_spec import ModelFacts
from diffagiqa.jobs.rows import Row, row_columns
from diffagiqa.jobs.stop import StopRequest
from diffagiqa.jobs.totals import Totals

FORMATS = ("parquet", "csv", "jsonl")  # of a part


@dataclass(frozen=True)
class Inputs:
    """What to score, as ``read_samples`` takes it; ``out`` is no part of a job's description."""

    names: tuple[str, ...]
    prompt: str | None = None
    prompts_file: str | None = None
    image_column: str | None = None
    prompt_column: str | None = None
    root: str | None = None
    recursive: bool = True
    need_prompt: bool = False
    limits: ImageLimits = DEFAULT_LIMITS
    out: str | None = None

    def samples(self) -> Iterator[Sample]:
        return read_samples(
            self.names,
            prompt=self.prompt,
            prompts_file=self.prompts_file,
            image_column=self.image_column,
            prompt_column=self.prompt_column,
            root=self.root,
            recursive=self.recursive,
            limits=self.limits,
            out=self.out,
        )


@dataclass(frozen=True)
class Layout:
    """How rows are cut: into chunks that are scored and kept at once, and parts of the output."""

    batch_size: int = 8
    chunk_rows: int = 32
    part_rows: int = 9_600
    format: str = "parquet"
    share: Share = field(default_factory=Share)

    def __post_init__(self) -> None:
        if not 1 <= self.batch_size <= self.chunk_rows <= self.part_rows:
            raise ConfigError(
                f"batch size {self.batch_size}, chunk rows {self.chunk_rows} and part rows "
                f"{self.part_rows} do not grow; expected 1 <= batch <= chunk <= part"
            )
        if self.format not in FORMATS:
            raise ConfigError(f"format is {self.format!r}; expected one of {', '.join(FORMATS)}")

    @property
    def chunks_per_part(self) -> int:
        return -(-self.part_rows // self.chunk_rows)


@dataclass(frozen=True)
class ChunkResult:
    """One chunk that an engine has been through; ``rows`` is None where it had been done before."""

    index: int
    digest: str
    count: int
    rows: list[Row] | None = None
    arithmetic: str = ""


class Engine(Protocol):
    """Anything that scores chunks: in any order, each once, done ones passed through unscored."""

    def results(
        self, inputs: Inputs, layout: Layout, done: Done, stop: StopRequest
    ) -> Iterator[ChunkResult]: ...


def job_description(inputs: Inputs, layout: Layout, facts: ModelFacts) -> dict:
    """Everything that decides what an output holds, to compare a command with the job's start."""
    description: dict[str, Any] = {
        **dataclasses.asdict(inputs),
        "batch_size": layout.batch_size,
        "chunk_rows": layout.chunk_rows,
        "part_rows": layout.part_rows,
        "format": layout.format,
        "shards": layout.share.count,
        "model": facts.fingerprint,
        "seed": facts.seed,
        "version": __version__,
    }
    description["inputs"] = description.pop("names")
    del description["out"]
    return description


def run_job(
    engine: Engine,
    inputs: Inputs,
    out: str,
    *,
    layout: Layout,
    facts: ModelFacts,
    stop: StopRequest,
    restart: bool = False,
    on_rows: Callable[[int, int], None] = lambda done, reused: None,
    on_end: Callable[[Journal], None] = lambda journal: None,
) -> Totals:
    """Score what is missing in the output folder ``out``; the totals of all its rows.

    ``on_rows(done, reused)`` hears of every chunk: how many rows, and how many of them were there;
    ``on_end`` gets the whole job while no other run may touch it.
    """
    _refuse_input(out, inputs)
    journal = open_journal(out, layout, facts)
    journal.refuse_strangers()
    journal.folder.make(JOB)
    with journal.folder.locked(f"{JOB}/lock{layout.share.index}"):
        journal.begin(job_description(inputs, layout, facts), restart)
        chunks = 0
        for result in engine.results(inputs, layout, journal.done, stop):
            chunks += 1
            if result.rows is None:
                journal.check(result.index, result.digest)
            else:
                journal.put(result.index, result.digest, result.rows, result.arithmetic)
            on_rows(result.count, result.count if result.rows is None else 0)
        totals = journal.finish(chunks)
        on_end(journal)
        return totals


def open_journal(out: str, layout: Layout, facts: ModelFacts) -> Journal:
    """The journal of an output folder; nothing is read or written yet."""
    return Journal(
        OutputFolder(out),
        row_columns(facts),
        format=layout.format,
        share=layout.share,
        chunk_rows=layout.chunk_rows,
        chunks_per_part=layout.chunks_per_part,
    )


def run_to_file(engine: Engine, inputs: Inputs, out: str, **options: Any) -> Totals:
    """``run_job`` into one file: in a folder beside it until all rows are there, then in one piece."""
    layout = dataclasses.replace(options.pop("layout"), format="jsonl")
    if layout.share.count > 1:
        raise ConfigError(f"{out} is one file; give --shard a folder to write to")
    _refuse_input(out, inputs)
    _check_length(out)
    return run_job(
        engine, inputs, f"{out}.job", layout=layout, on_end=partial(_into_one_file, out), **options
    )


def _into_one_file(out: str, journal: Journal) -> None:
    if (local := local_path(out)) is not None:  # what a kill in the last moment left behind
        folder, name = os.path.split(local)
        for stale in glob(os.path.join(escape(folder), f".{escape(name)}.*.part")):
            os.remove(stale)
    with RowWriter(out, journal.columns) as writer:
        count = 0
        for row in journal.rows():
            writer.write(row)
            count += 1
        if count != journal.totals.rows:
            raise TableError(
                f"{printable(out)} is left as it was: {printable(journal.folder.location)} has "
                f"{counted(count, 'row')}, expected {journal.totals.rows}; give --restart to score "
                "everything again."
            )
    journal.remove()


def _check_length(out: str) -> None:
    """Raise ConfigError where no file beside ``out`` could have its name and a suffix of ours: said
    before anything is scored, not when all is."""
    most = 240  # bytes, of 255 on most systems
    if local_path(out) is not None and len(os.fsencode(os.path.basename(out))) > most:
        raise ConfigError(
            f"the name of {printable(out)} has over {most} bytes; give --out a shorter one"
        )


def _refuse_input(out: str, inputs: Inputs) -> None:
    """Raise ConfigError where the output would take the place of what it is made from."""
    for name in (*inputs.names, inputs.prompts_file or ""):
        same = False
        with contextlib.suppress(OSError, ValueError, TableError):  # missing files are said later
            same = suffix(name) in TABLE_SUFFIXES and is_output(name, out)
            here, place = local_path(name), local_path(out)
            same = same or (
                os.path.isfile(place or "") and os.path.samefile(here or "", place or "")
            )
        if same:
            raise ConfigError(
                f"{printable(name)} is an input of this command and would be overwritten; "
                "give --out another name"
            )


def run_stream(
    engine: Engine,
    inputs: Inputs,
    write: Callable[[Row], None],
    *,
    layout: Layout,
    facts: ModelFacts,
    stop: StopRequest,
    on_rows: Callable[[int, int], None] = lambda done, reused: None,
) -> Totals:
    """Hand every row to ``write`` and keep nothing."""
    columns = tuple(name for name, kind in row_columns(facts).items() if kind is float)
    totals = Totals(columns)
    nothing = Done(layout.share, layout.chunks_per_part, frozenset(), frozenset())
    for result in engine.results(inputs, layout, nothing, stop):
        rows = result.rows or []
        for row in rows:
            write(row)
        totals.add_chunk(rows)
        on_rows(len(rows), 0)
    return totals


def own_chunks(inputs: Inputs, layout: Layout, done: Done) -> Iterator[tuple[Chunk, bool]]:
    """The chunks of a share and whether each is done already, in order."""
    for chunk in chunks_of(inputs.samples(), layout.chunk_rows, layout.share):
        yield chunk, done.has(chunk.index)
