"""Score any number of inputs into a folder or a file, exactly once, over any number of interruptions."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from diffagiqa import __version__
from diffagiqa.data.atomic import discard_parts
from diffagiqa.data.folders import is_output
from diffagiqa.data.results import RowWriter, check_place
from diffagiqa.data.samples import TABLE_SUFFIXES, local_path, printable, suffix
from diffagiqa.data.wording import counted
from diffagiqa.errors import ConfigError, TableError, quoted
from diffagiqa.jobs.chunks import Chunk, Layout, Share, chunks_of
from diffagiqa.jobs.folder import OutputFolder
from diffagiqa.jobs.inputs import Inputs
from diffagiqa.jobs.journal import JOB, Done, Journal, refuse_strangers
from diffagiqa.jobs.model_spec import ModelFacts
from diffagiqa.jobs.stop import StopRequest
from diffagiqa.jobs.totals import Totals
from diffagiqa.rows import Row, row_columns, seen_from

_NOT_WRITTEN = (".xlsx", ".xls", ".ods", ".tsv", ".txt", ".json", ".arrow", ".gz", ".zip", ".db")


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
    del description["out"], description["limits"]["hosts"]
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
) -> Totals:
    """Score what is missing in ``out``: a folder of parts, or by its suffix one file, which is kept in
    a folder beside it until all rows are there and then appears in one piece.

    ``on_rows(done, reused)`` hears of every chunk: how many rows, and how many of them were there.

    Returns:
        The totals of all rows of the output.
    """
    check_output(out, inputs, layout.share)
    job_folder, folder = out, out
    if is_one_file(out):
        layout = dataclasses.replace(layout, format="jsonl")
        job_folder, folder = f"{out}.job", os.path.dirname(out) or "."
    journal = Journal(OutputFolder(job_folder), row_columns(facts.config), layout)
    journal.folder.make(JOB)
    with journal.folder.locked(f"{JOB}/lock{layout.share.index}"):
        journal.begin(job_description(inputs, layout, facts), restart)
        chunks = 0
        for result in engine.results(inputs, layout, journal.done, stop):
            chunks += 1
            if result.rows is None:
                journal.check(result.index, result.digest)
            else:
                rows = [row | {"file": seen_from(row.get("file"), folder)} for row in result.rows]
                journal.put(result.index, result.digest, rows, result.arithmetic)
            on_rows(result.count, result.count if result.rows is None else 0)
        totals = journal.finish(chunks)
        if is_one_file(out):
            _into_one_file(out, journal)
        return totals


def _into_one_file(out: str, journal: Journal) -> None:
    if (local := local_path(out)) is not None:
        discard_parts(local)
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


def is_one_file(out: str) -> bool:
    """Whether an output is one file, by its suffix, and not a folder of parts."""
    return out.lower().endswith((".csv", ".jsonl", ".parquet"))


def check_output(out: str, inputs: Inputs, share: Share) -> None:
    """Whether ``out`` can be written: asked before a model is loaded for nothing.

    Raises:
        ConfigError: it is of no format that is written, is an input, or holds other files.
        TableError: there is no access or no space.
    """
    if out.lower().endswith(_NOT_WRITTEN):
        raise ConfigError(
            f"--out is {quoted(out)}; name it .csv, .jsonl or .parquet, or give a folder without suffix"
        )
    _refuse_input(out, inputs)
    if not is_one_file(out):
        refuse_strangers(OutputFolder(out))
    elif share.count > 1:
        raise ConfigError(f"{out} is one file; give --shard a folder to write to")
    if (local := local_path(out)) is None:
        return
    name = os.path.basename(local)
    # A file beside it must be able to have its name and a suffix of ours; systems allow 255 bytes.
    if is_one_file(out) and len(os.fsencode(name)) > 240:
        raise ConfigError(
            f"the name of {printable(out)} has over 240 bytes; give --out a shorter one"
        )
    check_place(local)


def _refuse_input(out: str, inputs: Inputs) -> None:
    """Raise ConfigError where the output would take the place of what it is made from."""
    for name in (*inputs.names, inputs.prompts_file or ""):
        same = False
        with contextlib.suppress(OSError, ValueError, TableError):  # missing files are said later
            same = suffix(name) in TABLE_SUFFIXES and is_output(name, out)
            here, output = local_path(name), local_path(out)
            same = same or (
                os.path.isfile(output or "") and os.path.samefile(here or "", output or "")
            )
        if same:
            raise ConfigError(
                f"{printable(name)} is an input of this command and would be overwritten; "
                "give --out another name"
            )


def own_chunks(inputs: Inputs, layout: Layout, done: Done) -> Iterator[tuple[Chunk, bool]]:
    """The chunks of a share and whether each is done already, in order."""
    for chunk in chunks_of(inputs.samples(), layout.chunk_rows, layout.share):
        yield chunk, done.has(chunk.index)
