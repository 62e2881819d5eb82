"""The unit of work: so many successive rows of the inputs, named by their position alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from diffagiqa.data.prompts import read_sidecar
from diffagiqa.data.samples import Sample, protocol
from diffagiqa.errors import ConfigError, PromptError

FORMATS = ("parquet", "csv", "jsonl")  # of a part


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows ``index * chunk_rows`` and following; ``digest`` says which images and prompts."""

    index: int
    digest: str
    rows: int
    samples: tuple[Sample, ...] = field(default=(), repr=False)

    def without_samples(self) -> Chunk:
        return replace(self, samples=())


@dataclass(frozen=True, slots=True)
class Share:
    """Which chunks are this run's: those whose index leaves ``index`` when divided by ``count``.

    >>> share = Share.parse("1/4")
    >>> [chunk for chunk in range(10) if share.owns(chunk)]
    [1, 5, 9]
    """

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Share:
        """``i/n`` with i from 0 to n - 1."""
        index, slash, count = text.partition("/")
        if not (slash and index.isdecimal() and count.isdecimal() and int(index) < int(count)):
            raise ConfigError(
                f"shard is {text!r}; expected i/n with i from 0 to n - 1, such as 0/8."
            )
        return cls(int(index), int(count))

    def owns(self, chunk: int) -> bool:
        return chunk % self.count == self.index

    @property
    def prefix(self) -> str:
        """How this share's files begin; empty where there is one share only."""
        return f"shard-{self.index:04d}-of-{self.count:04d}-" if self.count > 1 else ""


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

    def part_of(self, chunk: int) -> int:
        """The part of the output that one of the share's chunks belongs to."""
        return chunk // self.share.count // self.chunks_per_part


def chunks_of(samples: Iterable[Sample], rows: int, share: Share) -> Iterator[Chunk]:
    """The chunks of a share, in order; of the others, the samples are passed over."""
    held: list[Sample] = []
    index = 0
    for sample in samples:
        index = sample.row // rows
        if share.owns(index):
            held.append(_with_sidecar(sample))
        if held and (sample.row + 1) % rows == 0:
            yield _chunk(index, held)
            held = []
    if held:
        yield _chunk(index, held)


def _with_sidecar(sample: Sample) -> Sample:
    """The sample with the prompt beside its image, so that the digest shows where that changed.

    On this machine alone: in a store every look is a request, and is made where the image is read.
    """
    location = sample.location or sample.image
    open_to_one = sample.prompt is None and sample.error is None and sample.data is None
    if not open_to_one or protocol(location) not in (None, "file"):
        return sample
    try:
        beside = read_sidecar(location)
    except PromptError as fault:
        return replace(sample, error=str(fault))
    if beside is None:
        return sample
    return replace(sample, prompt=beside.text, prompt_source=beside.source)


def _chunk(index: int, samples: list[Sample]) -> Chunk:
    digest = hashlib.sha256()
    for sample in samples:
        for text in (sample.image, sample.prompt, sample.error):
            encoded = b"" if text is None else text.encode("utf-8", "surrogatepass")
            digest.update(b"%d:" % (-1 if text is None else len(encoded)) + encoded)
    return Chunk(index, digest.hexdigest()[:24], len(samples), tuple(samples))
