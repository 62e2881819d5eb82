"""What a job has done, on disk: finished parts, the chunks of unfinished ones, and what it scores.

Layout of an output folder, here with Parquet::

    part-00000.parquet              a finished part; whole from the moment it is there
    _job/job.json                   inputs, model, seed and options; another command is refused
    _job/part-00000.json            its rows, failures, sums and the digests of its chunks
    _job/part-00001/chunk-...json   finished chunks of the part in work
    _job/arithmetic.json            device kind and number format of the first chunk
    _job/finished.json              all rows are there; one file per share

A chunk is on the disk before it counts, a part before its chunks go. Whatever moment the process
ends at, each row is in exactly one place that the next run takes it from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from diffagiqa.data.results import RowWriter
from diffagiqa.data.samples import open_location, printable
from diffagiqa.errors import ConfigError, TableError
from diffagiqa.jobs.chunks import Layout, Share
from diffagiqa.jobs.folder import OutputFolder
from diffagiqa.jobs.totals import Totals
from diffagiqa.rows import Row

JOB = "_job"
_FINISHED = "finished.json"
_EVERY_SHARE = r"(shard-\d+-of-\d+-)?"
_CHUNK = re.compile(r"chunk-(\d+)-([0-9a-f]+)\.json")


@dataclass(frozen=True)
class Done:
    """Which chunks need no scoring; small enough to send to a worker."""

    layout: Layout
    parts: frozenset[int]
    chunks: frozenset[int]

    def has(self, chunk: int) -> bool:
        return chunk in self.chunks or self.layout.part_of(chunk) in self.parts


class Journal:
    """The state of one share of a job in an output folder; ``begin``, then ``put`` or ``check`` every
    chunk, then ``finish``, all under the folder's lock."""

    def __init__(self, folder: OutputFolder, columns: Mapping[str, type], layout: Layout) -> None:
        self.folder = folder
        self.columns = dict(columns)
        self.layout = layout
        self.share = layout.share
        self.totals = Totals(tuple(name for name, kind in columns.items() if kind is float))
        self._parts: dict[int, dict[str, Any]] = {}  # what is said of each finished part
        self._open: dict[int, dict[int, str]] = {}  # part -> chunk -> digest, not yet one file
        self._arithmetic: str | None = None

    # What is there

    def begin(self, job: Mapping[str, Any], restart: bool = False) -> None:
        """Take up the job that is in the folder, or start it; call it under the folder's lock.

        Raises ConfigError where the folder holds another job, or files and no job.
        """
        wanted = json.loads(json.dumps(job))
        text = self.folder.read(f"{JOB}/job.json")
        if text is not None and not _same(text, wanted):
            restart = restart or self._is_mine_and_empty(text)
        if text is not None and restart:
            if self.share.count > 1 and _same(text, wanted):
                self._remove_of(re.escape(self.share.prefix))  # others may be at work already
            else:
                self._forget_job()
                text = None
        if text is None:
            refuse_strangers(self.folder)
            self.folder.write(f"{JOB}/job.json", json.dumps(wanted, indent=1).encode())
        else:
            self._compare(_parsed(text, self.folder, "job.json"), wanted)
        self._look()

    def _is_mine_and_empty(self, text: bytes) -> bool:
        """Whether nothing was scored yet, and no run of another share can be about to."""
        shares = _parsed(text, self.folder, "job.json").get("shards")
        if shares != 1 or self.share.index != 0:  # then our lock is not the one that they hold
            return False
        parts = [name for name in self.folder.names(JOB) if "part-" in name]
        return not any(
            part.endswith(".json") or any(map(_CHUNK.fullmatch, self.folder.names(f"{JOB}/{part}")))
            for part in parts
        )

    def _compare(self, started: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        for name in sorted({*started, *wanted}):
            if started.get(name) != wanted.get(name):
                raise ConfigError(
                    f"the job in {printable(self.folder.location)} was started with {name} "
                    f"{_shown(started.get(name))}, and this command has {_shown(wanted.get(name))}; "
                    "give the old value, another --out, or --restart to score everything again"
                )

    def _forget_job(self) -> None:
        """Remove what all shares of the job wrote, and last what says that there is one."""
        self._remove_of(_EVERY_SHARE)
        for name in self.folder.names(JOB):
            if re.fullmatch(r"(job|arithmetic)\.json.*", name):
                self.folder.remove(f"{JOB}/{name}")

    def _remove_of(self, shares: str) -> None:
        """``shares``: a pattern of the prefixes that their files' names begin with."""
        for name in self.folder.names():
            if re.fullmatch(rf"\.?{shares}part-\d+\..*", name):
                self.folder.remove(name)
        for name in self.folder.names(JOB):
            if re.fullmatch(rf"{shares}part-\d+", name):
                self.folder.remove_folder(f"{JOB}/{name}")
            elif re.fullmatch(rf"{shares}(part-\d+|finished)\.json.*", name):
                self.folder.remove(f"{JOB}/{name}")

    def _look(self) -> None:
        prefix = re.escape(self.share.prefix)
        for name in self.folder.names():
            if re.fullmatch(rf"\.{prefix}part-\d+\..*\.part", name):  # of a run that was killed
                self.folder.remove(name)
        names = self.folder.names(JOB)
        for name in names:
            if match := re.fullmatch(rf"{prefix}part-(\d+)\.json", name):
                text = self.folder.read(f"{JOB}/{name}") or b""
                part = self._parts[int(match[1])] = _parsed(text, self.folder, name)
                self.totals.add_part(part)
        for name in names:
            if (match := re.fullmatch(rf"{prefix}part-(\d+)", name)) is None:
                continue
            if (number := int(match[1])) in self._parts:
                self.folder.remove_folder(f"{JOB}/{name}")
                continue
            for file in self.folder.names(f"{JOB}/{name}"):
                chunk = _CHUNK.fullmatch(file)
                if chunk is None:  # half written
                    self.folder.remove(f"{JOB}/{name}/{file}")
                else:
                    self._open.setdefault(number, {})[int(chunk[1])] = chunk[2]

    @property
    def done(self) -> Done:
        chunks = frozenset(chunk for part in self._open.values() for chunk in part)
        return Done(self.layout, frozenset(self._parts), chunks)

    def check(self, chunk: int, digest: str) -> None:
        """Raise ConfigError where a finished chunk held other images or prompts than now."""
        part = self.layout.part_of(chunk)
        if part in self._parts:
            known = self._parts[part]["chunks"].get(str(chunk))
        else:
            known = self._open[part][chunk]
        if known != digest:
            raise ConfigError(
                f"the inputs changed since the job in {printable(self.folder.location)} was "
                f"started (rows from {chunk * self.layout.chunk_rows}); put them back, give another "
                "--out, or --restart to score everything again"
            )

    # What is added

    def put(self, chunk: int, digest: str, rows: list[Row], arithmetic: str) -> None:
        """Keep the rows of a scored chunk, and make a part of it where it was the last one missing."""
        if self._arithmetic is None:
            self._arithmetic = self._agreed(arithmetic)
        if self._arithmetic != arithmetic:
            raise ConfigError(
                f"the job was started on {self._arithmetic} and this run computes on {arithmetic}, "
                "so its scores would differ; give --device and --dtype of the start, or --restart"
            )
        part = self.layout.part_of(chunk)
        lines = "\n".join(json.dumps(row, ensure_ascii=True) for row in rows)
        name = f"{JOB}/{self._part_name(part)}/chunk-{chunk:09d}-{digest}.json"
        self.folder.write(name, lines.encode())
        self._open.setdefault(part, {})[chunk] = digest
        if len(self._open[part]) == self.layout.chunks_per_part:
            self._finish_part(part)

    def _agreed(self, arithmetic: str) -> str:
        """What the job computes on: that of its first chunk, which another share may have scored."""
        name = f"{JOB}/arithmetic.json"
        text = self.folder.read(name)
        if text is not None:
            return str(_parsed(text, self.folder, "arithmetic.json")["arithmetic"])
        self.folder.write(name, json.dumps({"arithmetic": arithmetic}).encode())
        return arithmetic

    def finish(self, chunks: int) -> Totals:
        """After the last of ``chunks``: write the part that is shorter than the others; all totals."""
        if self.totals.chunks + sum(map(len, self._open.values())) != chunks:
            raise ConfigError(
                f"the job in {printable(self.folder.location)} holds more rows than the inputs "
                "have now; put them back, give another --out, or --restart to score everything again"
            )
        for part in sorted(self._open):
            self._finish_part(part)
        state = json.dumps({"rows": self.totals.rows}).encode()
        self.folder.write(f"{JOB}/{self.share.prefix}{_FINISHED}", state)
        return self.totals

    def _part_name(self, part: int) -> str:
        return f"{self.share.prefix}part-{part:05d}"

    def _finish_part(self, part: int) -> None:
        name = self._part_name(part)
        chunks = self._open[part]
        totals = Totals(self.totals.columns)
        path = self.folder.path(f"{name}.{self.layout.format}")
        with RowWriter(path, self.columns) as writer:
            for chunk in sorted(chunks):
                rows = list(self._rows(f"{JOB}/{name}/chunk-{chunk:09d}-{chunks[chunk]}.json"))
                totals.add_chunk(rows)
                for row in rows:
                    writer.write(row)
        manifest = totals.as_dict() | {"chunks": {str(c): chunks[c] for c in sorted(chunks)}}
        self.folder.write(f"{JOB}/{name}.json", json.dumps(manifest).encode())
        self._parts[part] = manifest
        self.totals.add_part(manifest)
        del self._open[part]
        self.folder.remove_folder(f"{JOB}/{name}")

    def _rows(self, name: str) -> Iterator[Row]:
        text = self.folder.read(name)
        if text is None:
            raise TableError(
                f"{name} in {printable(self.folder.location)} was removed by another program; "
                "run the same command again"
            )
        for line in text.splitlines():
            yield _parsed(line, self.folder, name)

    # A job whose result is one file

    def rows(self) -> Iterator[Row]:
        """All rows of a finished job in JSONL, in order."""
        for part in sorted(self._parts):
            with open_location(self.folder.path(f"{self._part_name(part)}.jsonl")) as file:
                for line in file:
                    yield _parsed(line, self.folder, self._part_name(part))

    def remove(self) -> None:
        """Remove the job from its folder, and the folder."""
        self._forget_job()
        self.folder.remove_folder(JOB)
        self.folder.remove_folder("")


def refuse_strangers(folder: OutputFolder) -> None:
    """Raise ConfigError where a folder without a job holds files."""
    names = [name for name in folder.names() if name != JOB]
    if names and folder.read(f"{JOB}/job.json") is None:
        raise ConfigError(
            f"{printable(folder.location)} holds {printable(names[0])} and no job of ours; give an "
            "empty or new folder"
        )


def unfinished(location: str) -> str | None:
    """What an output folder still lacks, in words; None where a job ended there, or none began."""
    folder = OutputFolder(location)
    text = folder.read(f"{JOB}/job.json")
    if text is None:
        return None
    count, names = int(_parsed(text, folder, "job.json").get("shards", 1)), folder.names(JOB)
    missing = [i for i in range(count) if f"{Share(i, count).prefix}{_FINISHED}" not in names]
    if count == 1 or not missing:
        return "its job has not ended; run the same command again" if missing else None
    *most, last = [str(index) for index in missing]
    if most:
        return f"shares {', '.join(most)} and {last} of {count} have not ended; run their commands"
    return f"share {last} of {count} has not ended; run its command"


def _parsed(text: bytes, folder: OutputFolder, name: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
        if not isinstance(value, dict):
            raise ValueError("no object")
    except (ValueError, RecursionError):
        raise TableError(
            f"{name} in {printable(folder.location)} is damaged; run the job with --restart"
        ) from None
    return value


def _same(text: bytes, wanted: Mapping[str, Any]) -> bool:
    try:
        return bool(json.loads(text) == wanted)
    except (ValueError, RecursionError):
        return False


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 120 else text[:117] + "..."
