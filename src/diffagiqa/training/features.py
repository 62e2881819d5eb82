"""The feature cache: what the frozen parts give for every image, computed once, kept on disk.

``spec.json`` says what was computed from what; ``shard-00000.safetensors`` holds the features of
``SHARD_ROWS`` rows, by name, (rows, views, passes, C, h, w), already averaged to the pyramid's size
where that is its first step; ``shard-00000.json`` is
written after it, with its SHA-256, and so marks it as done: a stopped run goes on at the next shard.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffagiqa.backbones.base import Backbone
from diffagiqa.backbones.noise import Noise
from diffagiqa.data.wording import counted
from diffagiqa.device import DTYPES
from diffagiqa.errors import TrainingError
from diffagiqa.model.config import ModelConfig
from diffagiqa.model.pyramid import pool_to
from diffagiqa.model.scoring import DiffAGIQA, scoring_noise
from diffagiqa.training.cache_spec import cache_spec, check_spec, pooled_to
from diffagiqa.training.checkpoint import write_whole
from diffagiqa.training.data import TrainingData, may_flip
from diffagiqa.training.inputs import SCORING_SEED, FeatureInputs, ImageInputs
from diffagiqa.training.processes import Processes

SHARD_ROWS = 256
IN_MEMORY = 4 << 30
"""Bytes up to which the features are read into memory; above, they stay mapped from disk."""


@dataclass(frozen=True)
class CacheOptions:
    """How features are kept. ``draws`` and ``mirrored`` multiply the size."""

    draws: int = 1
    mirrored: bool = True
    dtype: str = "float16"
    """float16 is the more exact half; features beyond 65504 need bfloat16."""
    skip_unreadable: bool = False


@dataclass(frozen=True)
class CachedFeatures:
    """An opened cache: (N, views, passes, C, h, w) by name, and the rows it lacks."""

    maps: Mapping[str, Tensor]
    options: CacheOptions
    unreadable: tuple[int, ...]

    def inputs(
        self, data: TrainingData, config: ModelConfig, precision: str = "float32",
        device: torch.device | str = "cpu",
    ) -> FeatureInputs:  # fmt: skip
        """Scores from these features; a model of fewer levels takes those it names."""
        if missing := [name for name in config.features if name not in self.maps]:
            raise TrainingError(f"the feature cache lacks {', '.join(missing)}; cache them anew")
        if self.options.draws < config.noise_draws:
            raise TrainingError(
                f"the feature cache holds {self.options.draws} noise draws of an image, and the model "
                f"averages {config.noise_draws}; cache them anew"
            )
        mirrored = torch.tensor([may_flip(prompt) for prompt in data.prompts])
        return FeatureInputs(
            {name: self.maps[name] for name in config.features},
            precision,
            device=device,
            mirrored=mirrored if self.options.mirrored else None,
            scoring_views=[
                timestep * self.options.draws + draw
                for timestep in range(1 + len(config.further_timesteps))
                for draw in range(config.noise_draws)
            ],
        )


def cached_features(
    folder: Path, data: TrainingData, model: DiffAGIQA, backbone: Backbone, options: CacheOptions,
    *, identity: str = "", processes: Processes | None = None, batch_size: int = 8,
    workers: int = 2, log: Callable[[str], None] = print,
) -> CachedFeatures:  # fmt: skip
    """Compute what is missing in the cache, check what is there, and open it.

    ``identity`` names the backbone's weights (``weights.folder.fingerprint``). Raises
    ``TrainingError`` where the folder holds features of other images or another model, where a
    shard is damaged, or where the disk has no room, the last before anything is computed.
    """
    processes = processes or Processes(backbone.device)
    folder.mkdir(parents=True, exist_ok=True)
    model = model.to(backbone.device).eval()
    spec = cache_spec(data, model, backbone, options.__dict__, identity)
    check_spec(folder, spec)
    inputs = ImageInputs(data, model.config, backbone, workers=workers)
    starts = range(0, len(data), SHARD_ROWS)
    missing = [start for start in starts if not _mark(folder, start).is_file()]
    processes.barrier()  # else one lists what is missing while another writes it, and shares differ
    if missing:
        _announce(folder, len(data), missing, model, inputs, options, log)
        if processes.main:
            write_whole(folder / "spec.json", lambda f: f.write(_text(spec)))
    began = time.perf_counter()
    for done, start in enumerate(missing[processes.rank :: processes.count], 1):
        chosen = range(start, min(start + SHARD_ROWS, len(data)))
        _write_shard(folder, chosen, model, inputs, options, batch_size)
        seconds = (time.perf_counter() - began) / done * len(missing) / processes.count
        log(f"features: shard {done} of {len(missing)} written, about {seconds:.0f} s in all")
    processes.barrier()
    return open_features(folder)


def open_features(folder: Path, in_memory: int = IN_MEMORY) -> CachedFeatures:
    """Open a complete cache, its checksums verified; mapped from disk above ``in_memory`` bytes."""
    from safetensors.torch import load_file

    try:
        spec = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{folder} is no feature cache ({error})") from None
    shards, unreadable, size = [], [], 0
    for start in range(0, spec["rows"], SHARD_ROWS):
        file, mark = _shard(folder, start), _mark(folder, start)
        if not mark.is_file():
            raise TrainingError(f"{folder} lacks {file.name}; run the same command again to go on")
        written = json.loads(mark.read_text(encoding="utf-8"))
        if not file.is_file() or _sha256(file) != written["sha256"]:
            raise TrainingError(
                f"{file} does not match its checksum: it was changed, cut short or the disk failed; "
                f"delete {mark} and run again, and this shard alone is computed anew"
            )
        shards.append(load_file(file))  # mapped: read from disk when touched
        unreadable += written["unreadable"]
        size += file.stat().st_size
    maps: dict[str, Any] = {
        name: _Stacked([shard[name] for shard in shards]) for name in spec["model"]["features"]
    }
    if size <= in_memory:
        maps = {name: stacked.joined() for name, stacked in maps.items()}
    options = CacheOptions(**spec["options"])
    return CachedFeatures(maps, options, tuple(unreadable))


class _Stacked:
    """Shards that look like one tensor to ``FeatureInputs``: ``shape`` and ``[rows, views]``."""

    def __init__(self, parts: Sequence[Tensor]) -> None:
        self.parts = parts
        self.shape = torch.Size([sum(len(part) for part in parts), *parts[0].shape[1:]])

    def __getitem__(self, key: tuple[Tensor, Tensor]) -> Tensor:
        rows, views = key
        out = torch.empty(len(rows), *self.shape[2:], dtype=self.parts[0].dtype)
        for number in (rows // SHARD_ROWS).unique().tolist():
            inside = rows // SHARD_ROWS == number
            out[inside] = self.parts[number][rows[inside] % SHARD_ROWS, views[inside]]
        return out

    def joined(self) -> Tensor:
        return torch.cat(list(self.parts))


@torch.inference_mode()
def _compute(
    model: DiffAGIQA, inputs: ImageInputs, images: Sequence[Tensor], rows: Sequence[int],
    options: CacheOptions,
) -> dict[str, Tensor]:  # fmt: skip
    """Features of some images (3, H, W), by name, (B, views, passes, C, h, w)."""
    config, dtype = inputs.config, DTYPES[options.dtype]
    prompts = inputs.prompts(rows)
    # Draw j of the scoring seed, the same for every image: view 0 is what the Scorer sees.
    wanted = replace(config, noise_draws=options.draws)

    def noises(size: tuple[int, int], _: Sequence[int]) -> Sequence[Noise | None]:
        return scoring_noise(wanted, inputs.backbone, SCORING_SEED, size)

    views: list[dict[str, Tensor]] = []
    for mirrored in (False, True) if options.mirrored else (False,):
        turned = [image.flip(2) for image in images] if mirrored else images
        for features in inputs.features(model, turned, prompts, noises):
            views.append({name: _pooled(maps, config) for name, maps in features.items()})
    by_name = {
        name: torch.stack(
            [view[name].unflatten(0, (-1, len(rows))).transpose(0, 1) for view in views], 1
        ).to("cpu", dtype)
        for name in config.features
    }
    if not all(maps.isfinite().all() for maps in by_name.values()):
        raise TrainingError(
            f"a feature of rows {rows[0]} to {rows[-1]} is not finite in {options.dtype}; "
            "cache in bfloat16, or look for a fault in the backbone"
        )
    return by_name


def _pooled(maps: Tensor, config: ModelConfig) -> Tensor:
    """(B, C, h, w), averaged to the pyramid's size where that is smaller or images differ in size.

    The pyramid's first step, done once instead of in every epoch.
    """
    if not pooled_to(config) or (config.fit != "native" and maps.shape[-1] <= config.pyramid_size):
        return maps
    return pool_to(maps.float(), config.pyramid_size)


def _write_shard(
    folder: Path, rows: range, model: DiffAGIQA, inputs: ImageInputs, options: CacheOptions, batch: int
) -> None:  # fmt: skip
    from safetensors.torch import save

    parts: list[dict[str, Tensor]] = []
    unreadable: list[int] = []
    size = inputs.config.image_size
    _encode_first(inputs, rows)
    for first in range(rows.start, rows.stop, batch):
        chosen = range(first, min(first + batch, rows.stop))
        inputs.prefetch([*chosen, *range(chosen.stop, min(chosen.stop + batch, rows.stop))])
        images = []
        for row in chosen:
            try:
                images += inputs.images([row])
            except TrainingError:
                if not options.skip_unreadable:
                    raise
                unreadable.append(row)
                images.append(torch.zeros(3, size, size))
        parts.append(_compute(model, inputs, images, chosen, options))
    data = save({name: torch.cat([part[name] for part in parts]) for name in parts[0]})
    write_whole(_shard(folder, rows.start), lambda stream: stream.write(data))
    mark = {"sha256": hashlib.sha256(data).hexdigest(), "rows": len(rows), "unreadable": unreadable}
    write_whole(_mark(folder, rows.start), lambda stream: stream.write(_text(mark)))


def _announce(
    folder: Path, rows: int, missing: Sequence[int], model: DiffAGIQA, inputs: ImageInputs,
    options: CacheOptions, log: Callable[[str], None],
) -> None:  # fmt: skip
    """Say how large the cache becomes, and stop where the disk has no room for it."""
    size = inputs.config.image_size
    _encode_first(inputs, range(missing[0], min(missing[0] + SHARD_ROWS, rows)))
    maps = _compute(model, inputs, [torch.zeros(3, size, size)], missing[:1], options)
    image_bytes = sum(values.nbytes for values in maps.values())
    needed = image_bytes * min(rows, len(missing) * SHARD_ROWS)
    free = shutil.disk_usage(folder).free
    log(
        f"features: {counted(rows, 'image')} of {image_bytes / 1e6:.3f} MB ("
        f"{counted(options.draws, 'noise draw')}{', mirrored too' if options.mirrored else ''}, "
        f"{options.dtype}) make "
        f"{rows * image_bytes / 1e6:,.0f} MB in {folder}; {needed / 1e6:,.0f} MB are to be written, "
        f"{free / 1e9:.1f} GB are free"
    )
    if needed > free:
        raise TrainingError(
            f"{folder} needs {needed / 1e9:.2f} GB and {free / 1e9:.2f} GB are free; "
            "give another --cache folder, fewer draws by --set cached_draws=1, or --set flip=false"
        )


def _encode_first(inputs: ImageInputs, rows: range) -> None:
    """Encode the prompts of a shard where text encoders and images do not share the memory."""
    if inputs.encode.first:
        inputs.encode.ahead(inputs.data.prompts[row] for row in rows)


def _shard(folder: Path, start: int) -> Path:
    return folder / f"shard-{start // SHARD_ROWS:05d}.safetensors"


def _mark(folder: Path, start: int) -> Path:
    return folder / f"shard-{start // SHARD_ROWS:05d}.json"


def _text(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, indent=2) + "\n").encode()


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()
