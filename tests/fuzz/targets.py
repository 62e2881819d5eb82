"""What is fuzzed: bytes in, one of our errors or a plain value out; anything else is a finding.

The same functions serve the coverage-guided fuzzer (``tools/fuzz.py``), the hypothesis tests and the
replay of the kept corpus.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import openpyxl  # noqa: F401  # loaded here: within a case it would count as that one's time
import pandas  # noqa: F401
import pyarrow.parquet  # noqa: F401

from diffagiqa.data.cells import cell_number, cell_text
from diffagiqa.data.embedding import is_simple, read_packet, with_packet
from diffagiqa.data.images import ImageLimits, decode_image
from diffagiqa.data.prompts import (
    MAX_PROMPT_CHARACTERS,
    clean_prompt,
    prompt_from_image_bytes,
    recognise,
    sidecar_prompt,
)
from diffagiqa.data.records import read_frame
from diffagiqa.data.results import guard_cell
from diffagiqa.data.samples import TABLE_SUFFIXES, Sample
from diffagiqa.data.tables import read_samples
from diffagiqa.data.xmp import add_properties, remove_properties
from diffagiqa.errors import ConfigError, DiffAGIQAError, ImageError, PromptError
from diffagiqa.model.config import ModelConfig

LIMITS = ImageLimits(max_bytes=1_000_000, max_pixels=1_000_000)


def image(data: bytes) -> None:
    """The decoders' wrapper."""
    try:
        pixels = decode_image(data, LIMITS)
    except ImageError as fault:
        _check_sentence(fault)
        return
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    assert pixels.dtype == "uint8"
    assert pixels.size <= 3 * LIMITS.max_pixels


def metadata(data: bytes) -> None:
    """Prompts in an image's metadata."""
    try:
        prompt, source = prompt_from_image_bytes(data)
    except PromptError as fault:
        _check_sentence(fault)
        return
    _check_prompt(prompt)
    assert (prompt is None) == (source == "none")


def sidecar(data: bytes) -> None:
    """Text files beside images, and with them all formats of prompts."""
    try:
        prompt, source = sidecar_prompt(data, "x.txt")
    except PromptError as fault:
        _check_sentence(fault)
        return
    _check_prompt(prompt)
    assert source.startswith("sidecar")


def graph(data: bytes) -> None:
    """ComfyUI's graphs, and the other formats in JSON."""
    found = recognise(data.decode("utf-8", "surrogateescape"))
    assert found is None or isinstance(found.prompt, str)


def tag(data: bytes) -> None:
    """An image file with a packet of XMP, and without it."""
    try:
        tagged = with_packet(data, add_properties(read_packet(data), 3, {"perception": "0.5"}))
        packet = read_packet(tagged)
        assert packet is not None
        with_packet(tagged, remove_properties(packet), is_simple(data))
    except ImageError as fault:
        _check_sentence(fault)


def xmp(data: bytes) -> None:
    """A packet of XMP, which comes back as it was."""
    try:
        bare = remove_properties(data)
        assert bare is not None
        assert remove_properties(add_properties(bare, 3, {"perception": '<&">'})) == bare
    except ImageError as fault:
        _check_sentence(fault)


def prompt(data: bytes) -> None:
    """The cleaning of any text."""
    try:
        _check_prompt(clean_prompt(data.decode("utf-8", "surrogatepass")))
    except UnicodeDecodeError:
        _check_prompt(clean_prompt(data.decode("utf-8", "surrogateescape")))


def config(data: bytes) -> None:
    """A model's config.json."""
    try:
        found = ModelConfig.from_json(data.decode("utf-8", "replace"))
    except ConfigError:
        return
    assert ModelConfig.from_json(found.to_json()) == found


def request(data: bytes) -> None:
    """The body of a JSON request to the service."""
    from diffagiqa.serving.requests import Item, Refused, _from_json

    try:
        items = _from_json(data, 16)
    except Refused as fault:
        _check_sentence(fault)
        return
    assert all(isinstance(item, Item) for item in items)


def _table(suffix: str) -> Callable[[bytes], None]:
    def target(data: bytes) -> None:
        with tempfile.TemporaryDirectory(dir=_MEMORY) as folder:
            file = Path(folder) / f"in{suffix}"
            file.write_bytes(data)
            try:
                for sample in read_samples([str(file)]):
                    _check_sample(sample, folder)
            except DiffAGIQAError as fault:
                _check_sentence(fault)
            if suffix in TABLE_SUFFIXES:
                _check_frame(file)
            assert os.listdir(folder) == [file.name]

    target.__doc__ = f"Tables or shards named {suffix}."
    return target


def _check_frame(file: Path) -> None:
    """The whole table: every cell is a text, a number, or a sentence that says why it is neither."""
    try:
        frame = read_frame(file)
        for cell in frame.to_numpy().ravel()[:1000]:
            number = cell_number(cell)
            assert number is None or math.isfinite(number)
            assert isinstance(cell_text(cell), str)
    except DiffAGIQAError as fault:
        _check_sentence(fault)


def _check_sentence(fault: Exception) -> None:
    assert "\n" not in str(fault)
    assert 0 < len(str(fault)) < 20_000


_MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None


def _check_sample(sample: Sample, folder: str) -> None:
    _check_prompt(sample.prompt)
    guarded = guard_cell(sample.image)
    assert not guarded.startswith(("=", "+", "-", "@", "\t", "\r"))
    if sample.location is not None and not os.path.isabs(sample.image):
        place = sample.location
        if "://" not in place and "::" not in place:
            assert (os.path.normpath(place) + os.sep).startswith(folder + os.sep), place


def _check_prompt(text: str | None) -> None:
    if text is None:
        return
    assert len(text) <= MAX_PROMPT_CHARACTERS
    assert not set(text) & set("\0\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\n\r")
    text.encode()  # no lone surrogates


TARGETS: dict[str, Callable[[bytes], None]] = {
    "image": image,
    "tag": tag,
    "xmp": xmp,
    "metadata": metadata,
    "graph": graph,
    "sidecar": sidecar,
    "prompt": prompt,
    "config": config,
    "request": request,
    "csv": _table(".csv"),
    "jsonl": _table(".jsonl"),
    "json": _table(".json"),
    "parquet": _table(".parquet"),
    "xlsx": _table(".xlsx"),
    "tar": _table(".tar"),
}
