"""Scores into the images' own metadata, for viewers and photo managers, and out again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from diffagiqa.data.atomic import write_file
from diffagiqa.data.embedding import can_hold, is_simple, read_packet, with_packet
from diffagiqa.data.images import DEFAULT_LIMITS
from diffagiqa.data.samples import quoted, read_location
from diffagiqa.data.xmp import MAX_PACKET, add_properties, read_properties, remove_properties
from diffagiqa.errors import DiffAGIQAError, ImageError, TableError
from diffagiqa.report.images import ImageFinder
from diffagiqa.report.runs import Run

_ALSO = ("model", "doubtful", "unfamiliar")  # columns that say what the scores are worth
_LAYOUT = "layout"  # our property of a WebP that had no room for metadata


class Outcome(NamedTuple):
    """What became of one row: the image as the table names it, and why nothing was done, if so."""

    image: str
    fault: str | None


def rating_of(score: float) -> int:
    """1 to 5 stars for a score in [0, 1], by equal fifths.

    >>> [rating_of(score) for score in (0.0, 0.19, 0.2, 0.99, 1.0)]
    [1, 1, 2, 5, 5]
    """
    return min(5, int(5 * score + 1e-9) + 1)


def tag_images(
    run: Run, *, root: Path | None = None, weights: Mapping[str, float] | None = None,
    sidecar: bool = False,
) -> Iterator[Outcome]:  # fmt: skip
    """Write the scores of a run into its images as XMP: one outcome per row that has scores.

    ``xmp:Rating`` is ``rating_of`` the weighted mean of the scores; the scores themselves, the model and
    what it doubts stand in our own namespace (``data.xmp``). Everything else in a file stays byte for
    byte, and a file is replaced at once.

    Args:
        root: folder of the images; default: where ``ImageFinder`` finds them.
        weights: of the tasks, as in ``rank``.
        sidecar: write ``NAME.SUFFIX.xmp`` beside the image instead, or into a ``NAME.xmp`` that is there.

    Raises:
        TableError: a task cannot be the name of a property.
        ConfigError: a weight is for an unknown task.
    """
    if wrong := next((t for t in run.tasks if not re.fullmatch(r"[^\W\d][\w.-]*", t)), None):
        raise TableError(f"{quoted(wrong)} cannot be a name in XMP; rename the column")
    rows, means = run.scored, run.weighted(weights)
    tagged: dict[Path, dict[str, str]] = {}
    for row, image, path in _located(rows, root, run.folder):
        values = rows.loc[row]
        texts = {task: f"{values[task]:.4f}" for task in run.tasks if values[task] == values[task]}
        texts |= {name: str(values[name]) for name in _ALSO if values.get(name)}
        if means[row] != means[row]:
            yield Outcome(image, "it has no score that can be weighted")
        elif path is not None and tagged.setdefault(path, texts) != texts:
            yield Outcome(
                image, "another row gave it other scores, which stay; leave one of the rows"
            )
        else:
            rating = rating_of(means[row])
            yield _tried(image, path, lambda file: _tag(file, rating, texts, sidecar))  # noqa: B023


def untag_images(run: Run, root: Path | None = None) -> Iterator[Outcome]:
    """Undo ``tag_images`` in the images of a run and in their sidecars: one outcome per row.

    A file without other XMP is as it was before, byte for byte; of other XMP only ours is taken out, and
    a rating that ours had replaced comes back.
    """
    for _, image, path in _located(run.rows, root, run.folder):
        yield _tried(image, path, _untag)


def _located(
    rows: Any, root: Path | None, folder: Path | None
) -> Iterator[tuple[Any, str, Path | None]]:
    finder = ImageFinder(root, folder)
    for row, image, file in zip(
        rows.index, rows["image"], rows.get("file", rows["image"]), strict=True
    ):
        yield row, image, finder.find(image, file if "file" in rows else None)


def _tried(image: str, path: Path | None, change: Callable[[Path], None]) -> Outcome:
    if path is None:
        return Outcome(image, "it is not there; give its folder as --root")
    try:
        change(path)
    except DiffAGIQAError as fault:
        return Outcome(image, str(fault))
    except OSError as fault:
        return Outcome(image, f"it cannot be written ({fault.strerror}); check its access")
    return Outcome(image, None)


def _tag(image: Path, rating: int, properties: Mapping[str, str], sidecar: bool) -> None:
    if sidecar:
        file = _sidecar(image)
        old = _read(file, MAX_PACKET) if file.exists() else None
        write_file(file, add_properties(old, rating, properties))
        return
    image = image.resolve()  # a link stays one
    data = _read(image, DEFAULT_LIMITS.max_bytes)
    packet = read_packet(data)
    before = {} if packet is None else read_properties(packet)
    layout = "simple" if is_simple(data) else before.get(_LAYOUT)
    extra = {} if layout is None else {_LAYOUT: layout}
    tagged = with_packet(data, add_properties(packet, rating, {**properties, **extra}))
    if tagged != data:
        _replace(image, tagged)


def _untag(image: Path) -> None:
    file = _sidecar(image)
    if file.exists():
        old = _read(file, MAX_PACKET)
        bare = remove_properties(old)
        if bare is None:
            file.unlink()
        elif bare != old:
            write_file(file, bare)
    image = image.resolve()
    data = _read(image, DEFAULT_LIMITS.max_bytes)
    packet = read_packet(data) if can_hold(data) else None
    if packet is not None and (ours := read_properties(packet)):
        simple = ours.get(_LAYOUT) == "simple"
        _replace(image, with_packet(data, remove_properties(packet), simple))


def _replace(image: Path, data: bytes) -> None:
    if not image.stat().st_mode & 0o222:
        raise ImageError("it is read-only; make it writable, or use --sidecar")
    write_file(image, data)


def _sidecar(image: Path) -> Path:
    """``a.png.xmp``, or ``a.xmp`` where only that is there."""
    both = image.with_name(f"{image.name}.xmp")
    alone = image.with_suffix(".xmp")
    return alone if alone.exists() and not both.exists() else both


def _read(file: Path, most: int) -> bytes:
    return read_location(str(file), most, ImageError)
