"""A synthetic database in the layout of AGIQA-3K, with simulated ratings and the truth beside them.

``data.csv`` (name, prompt, adj1, adj2, style, mos_quality, std_quality, mos_align, std_align; MOS 0..5),
``images/<generator>_<setting>_<number>.jpg``, ``truth.jsonl`` (one object per image) and
``observers.json``. The "generator" of an image is the family of its first defect, "clean" without one;
its setting is "normal", or "mixed" with a second defect; its number is its prompt's.
"""

from __future__ import annotations

import csv
import json
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diffagiqa.data.wording import counted
from diffagiqa.errors import ConfigError, DatabaseError
from diffagiqa.synth.captions import Caption, describe, violated
from diffagiqa.synth.defects import DEFECTS, HELD_OUT_DEFECTS, TRAIN_DEFECTS, damage
from diffagiqa.synth.grammar import Split
from diffagiqa.synth.misalign import applicable, misalign, severity
from diffagiqa.synth.observers import (
    NoiseCeiling,
    Panel,
    noise_ceiling,
    opinion,
    rate,
    true_alignment,
    true_quality,
)
from diffagiqa.synth.render import render_layers
from diffagiqa.synth.scene import Scene, sample_scene

Made = TypeVar("Made")
DatabaseSplit = Literal["all", "train", "test-prompts", "test-combinations", "test-defects"]
# split -> (scenes drawn from, defects used)
SOURCES: dict[DatabaseSplit, tuple[Split, tuple[str, ...]]] = {
    "all": ("all", tuple(DEFECTS)),
    "train": ("train", TRAIN_DEFECTS),
    "test-prompts": ("test-prompts", TRAIN_DEFECTS),
    "test-combinations": ("test-combinations", TRAIN_DEFECTS),
    "test-defects": ("test-prompts", HELD_OUT_DEFECTS),
}
COLUMNS = (
    "name", "prompt", "adj1", "adj2", "style", "mos_quality", "std_quality", "mos_align", "std_align",
)  # fmt: skip
_MISALIGNMENT_SHARES = (0.34, 0.33, 0.19, 0.14)  # images with 0, 1, 2, 3 things changed
_CLEAN_SHARE, _SECOND_SHARE = 0.1, 0.35
JPEG_QUALITY = 95


@dataclass(frozen=True, slots=True)
class MadeImage:
    """One image of a synthetic database, before anybody rated it.

    Attributes:
        name: file name.
        image: (size, size, 3) uint8.
        prompt: what was asked for; its claims speak of ``asked``.
        asked, shown: the scene of the prompt, and the scene drawn.
        misalignments: what was done to get from one to the other.
        severities: severity of each defect, by name.
        boxes: (left, top, right, bottom) in pixels of where each local defect acts.
    """

    name: str
    image: NDArray[np.uint8] = field(repr=False)
    prompt: Caption
    asked: Scene
    shown: Scene
    misalignments: tuple[str, ...]
    severities: dict[str, float]
    boxes: dict[str, tuple[int, int, int, int]]

    def truth(self) -> dict[str, Any]:
        """The line of ``truth.jsonl``: no rating in it, all of it exact."""
        return {
            "name": self.name,
            "prompt": self.prompt.text,
            "claims": [asdict(claim) for claim in self.prompt.claims],
            "violated": [[c.start, c.end] for c in violated(self.prompt, self.shown)],
            "misalignments": list(self.misalignments),
            "violations": severity(self.prompt, self.shown),
            "severities": self.severities,
            "boxes": {name: list(box) for name, box in self.boxes.items()},
            "quality": true_quality(self.severities),
            "alignment": true_alignment(severity(self.prompt, self.shown)),
            "asked": self.asked.to_dict(),
            "shown": self.shown.to_dict(),
        }


def made_image(
    index: int, size: int, seed: int, split: DatabaseSplit = "train", per_prompt: int = 6
) -> MadeImage:
    """Image ``index`` of the database of ``seed``: depends on its arguments alone.

    Quality and alignment are drawn from streams of their own, so neither tells about the other.
    """
    scenes, allowed = SOURCES[split]
    number, position = divmod(index, per_prompt)
    prompt_rng = np.random.default_rng((seed, 1, number))
    asked = sample_scene(prompt_rng, scenes)
    prompt = describe(asked, prompt_rng)
    families = prompt_rng.permutation(len(allowed))

    shown, misalignments = _misaligned(asked, np.random.default_rng((seed, 2, index)), scenes)
    rng = np.random.default_rng((seed, 3, index))
    severities, generator = _severities(rng, allowed, families, position, per_prompt)
    setting = "mixed" if len(severities) > 1 else "normal"

    rendering = render_layers(shown, size, int(rng.integers(2**31)), masks=True)
    region = None
    if len(rendering.masks):
        largest = int(np.argmax([mask.mean() for mask in rendering.masks]))
        region = rendering.masks[largest].astype(np.float32) / 255
    image, masks = damage(rendering.image, severities, (seed, 4, index), region)
    boxes = {name: _box(mask) for name, mask in masks.items() if DEFECTS[name].kind == "local"}
    name = f"{generator.replace(' ', '-')}_{setting}_{number:05d}"
    return MadeImage(name, image, prompt, asked, shown, misalignments, severities, boxes)


def _misaligned(
    asked: Scene, rng: np.random.Generator, split: Split
) -> tuple[Scene, tuple[str, ...]]:
    shown, done = asked, []
    times = int(np.searchsorted(np.cumsum(_MISALIGNMENT_SHARES), rng.random(), side="right"))
    for _ in range(min(times, 3)):
        kinds = [kind for kind in applicable(shown) if kind not in done]
        if kinds:
            kind = kinds[int(rng.integers(len(kinds)))]
            changed = misalign(shown, kind, rng, split)
            if changed.violated:
                shown = changed.scene
                done.append(kind)
    return shown, tuple(done)


def _severities(
    rng: np.random.Generator,
    allowed: tuple[str, ...],
    families: NDArray[np.intp],
    position: int,
    per_prompt: int,
) -> tuple[dict[str, float], str]:
    """Each image of a prompt has its own family, so file names differ; one in ten is clean."""
    clean = position == 0 and (rng.random() < _CLEAN_SHARE * per_prompt)
    if clean:
        return {}, "clean"
    first = allowed[int(families[position % len(families)])]
    severities = {first: round(float(rng.random()), 4)}
    if rng.random() < _SECOND_SHARE:
        second = allowed[int(rng.integers(len(allowed)))]
        if second != first:
            severities[second] = round(0.7 * float(rng.random()), 4)
    return severities, first


def _box(mask: NDArray[np.float32]) -> tuple[int, int, int, int]:
    ys, xs = np.nonzero(mask > 0.3)
    if len(xs) == 0:
        return (0, 0, 0, 0)
    return (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)


def _write_one(
    index: int,
    folder: Path,
    suffix: str,
    size: int,
    seed: int,
    split: DatabaseSplit,
    per_prompt: int,
) -> dict[str, Any]:
    made = made_image(index, size, seed, split, per_prompt)
    picture = Image.fromarray(made.image)
    path = folder / f"{made.name}.{suffix}"
    if suffix == "jpg":
        picture.save(path, quality=JPEG_QUALITY, subsampling=0)
    else:
        picture.save(path)
    return {**made.truth(), "name": path.name}


def write_database(
    root: Path,
    n: int,
    size: int = 256,
    seed: int = 0,
    split: DatabaseSplit = "train",
    per_prompt: int | None = None,
    panel: Panel | None = None,
    image_format: Literal["jpg", "png"] = "jpg",
    workers: int = 1,
) -> dict[str, NoiseCeiling]:
    """Write ``n`` images, their simulated ratings and their truth under ``root``.

    JPEG is written at quality 95 without chroma subsampling. The bytes do not depend on ``workers``.

    Args:
        per_prompt: images of one prompt, each of another defect family; by default 6, or as many as
            the split has families.
        panel: the observers; by default 24 of them, seeded like the images.

    Returns:
        The observers' noise ceiling for "quality" and "alignment".

    Raises:
        ConfigError: the split is unknown, or a number out of range.
        DatabaseError: the folder is not empty.
    """
    if split not in SOURCES:
        raise ConfigError(f"the split is {split!r}; expected one of {', '.join(SOURCES)}")
    families = len(SOURCES[split][1])
    per_prompt = min(6, families) if per_prompt is None else per_prompt
    if not 1 <= per_prompt <= families:
        raise ConfigError(
            f"{counted(per_prompt, 'image')} per prompt; split {split!r} allows 1 to {families}"
        )
    if n < 1 or workers < 1:
        raise ConfigError(
            f"{counted(n, 'image')} by {counted(workers, 'worker')}; expected at least 1 of each"
        )
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DatabaseError(f"{root} is not an empty folder; name a new one")
    folder = root / "images"
    folder.mkdir(parents=True, exist_ok=True)
    write = partial(
        _write_one,
        folder=folder,
        suffix=image_format,
        size=size,
        seed=seed,
        split=split,
        per_prompt=per_prompt,
    )
    panel = Panel(seed=seed) if panel is None else panel
    truths = list(mapped(write, n, workers))
    with (root / "truth.jsonl").open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(truth) + "\n" for truth in truths)
    return _write_ratings(root, truths, panel)


def mapped(write: Callable[[int], Made], n: int, workers: int) -> Iterator[Made]:
    """``write(0)`` to ``write(n - 1)`` in order, by so many processes of their own."""
    if workers == 1:
        yield from map(write, range(n))
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(write, range(n), chunksize=16)


def _write_ratings(
    root: Path, truths: list[dict[str, Any]], panel: Panel
) -> dict[str, NoiseCeiling]:
    opinions, ceilings = {}, {}
    for stream, task in enumerate(("quality", "alignment")):
        truth = np.array([line[task] for line in truths])
        ratings = rate(truth, panel, stream)
        opinions[task] = opinion(ratings)
        ceilings[task] = (
            noise_ceiling(ratings, truth) if len(truths) > 2 else NoiseCeiling(*[float("nan")] * 3)
        )
    with (root / "data.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for i, line in enumerate(truths):
            spoken = {c["aspect"]: line["prompt"][c["start"] : c["end"]] for c in line["claims"]}
            words = [spoken.get(aspect, "") for aspect in ("background", "light", "style")]
            numbers = [
                f"{value[i]:.6f}"
                for task in ("quality", "alignment")
                for value in (opinions[task].mos, opinions[task].std)
            ]
            table.writerow([line["name"], line["prompt"], *words, *numbers])
    summary = {
        "labels": "simulated",
        "panel": asdict(panel),
        "rejected": {task: list(found.rejected) for task, found in opinions.items()},
        "noise_ceiling": {
            task: {k: None if np.isnan(v) else v for k, v in asdict(found).items()}
            for task, found in ceilings.items()
        },
    }
    (root / "observers.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return ceilings
