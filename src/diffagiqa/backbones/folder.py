"""A folder or hub id -> a frozen ``Backbone``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from diffagiqa.backbones.base import Backbone, Defaults
from diffagiqa.backbones.compact import CompactBackbone, load_compact
from diffagiqa.backbones.hub import fetch, half_precision_twins, is_hub_id
from diffagiqa.backbones.parts import HOW, read_config
from diffagiqa.backbones.pipelines import (
    Pipeline,
    SD3Pipeline,
    UNetPipeline,
    XLPipeline,
    ZImagePipeline,
)
from diffagiqa.errors import BackboneError

CONFIGS = [
    "model_index.json",
    "README.md",
    "tokenizer*/*",
    *(f"{part}/*.json" for part in ("scheduler", "vae", "unet", "transformer", "text_encoder*")),
]
"""What is small in a repository of the hub, and says what it is and how much memory it takes."""
_WEIGHTS = [f"{part}/*.safetensors" for part in ("vae", "unet", "transformer", "text_encoder*")]
_NEVER_READ = ["*.non_ema.*"]

COMPACT = Path(__file__).parents[1] / "weights" / "compact"
TWO_ENCODERS = " with two text encoders"

PIPELINES: dict[str, type[Pipeline]] = {
    "UNet2DConditionModel": UNetPipeline,
    "UNet2DConditionModel" + TWO_ENCODERS: XLPipeline,
    "SD3Transformer2DModel": SD3Pipeline,
    "ZImageTransformer2DModel": ZImagePipeline,
}
"""By the class of the network that gives the features."""


def load_pipeline(
    pipeline: type[Pipeline], folder: Path, features: Sequence[str] | None, **options: Any
) -> Backbone:
    """A backbone from a folder in diffusers format."""
    return pipeline(folder).load(features, **options)  # type: ignore[no-any-return]


LOADERS: dict[str, Callable[..., Backbone]] = {
    "compact": load_compact,
    **{name: partial(load_pipeline, pipeline) for name, pipeline in PIPELINES.items()},
}
"""By the network's class; a new backbone is a class and an entry here."""


def load_backbone(
    name_or_path: str,
    features: Sequence[str] | None = None,
    *,
    revision: str | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    adapter: Path | None = None,
    offload: bool = False,
) -> Backbone:
    """Load the parts of a frozen model that the named features need; None: the backbone's defaults.

    ``name_or_path``: local folder, or hub id (``revision`` pins it). Weights go straight into
    ``dtype`` on ``device``; what comes after the last feature is never read. ``adapter``: the folder of
    a LoRA in PEFT's format, merged. ``offload``: keep the weights in the CPU's memory and send them to
    ``device`` layer by layer. Raises ``BackboneError`` with what is missing and where to put it.
    """
    folder = find_backbone(name_or_path, revision)
    options: dict[str, Any] = {"name": name_or_path, "device": device, "dtype": dtype}
    if adapter is not None:
        options["adapter"] = adapter
    if offload:
        options["offload"] = True
    return LOADERS[kind_of(folder)](folder, features, **options)


def backbone_defaults(name_or_path: str, revision: str | None = None) -> Defaults:
    """What a model on a backbone takes where nothing is said; reads no weights."""
    kind = kind_of(find_backbone(name_or_path, revision, weights=False))
    return PIPELINES[kind].backbone.defaults if kind in PIPELINES else CompactBackbone.defaults


def kind_of(folder: Path) -> str:
    """The entry of ``LOADERS`` for a folder: the class of its network, by the network's configuration."""
    if (folder / "compact.json").is_file():
        return "compact"
    for part in ("unet", "transformer"):
        if (folder / part / "config.json").is_file():
            name = str(read_config(folder / part).get("_class_name", "UNet2DConditionModel"))
            if part == "unet" and (folder / "text_encoder_2").is_dir():
                name += TWO_ENCODERS
            if name not in LOADERS:
                raise BackboneError(
                    f"{folder} holds a {name[:80]}; expected one of {', '.join(LOADERS)}"
                )
            return name
    return "UNet2DConditionModel"  # whose loader says what is missing


def find_backbone(name_or_path: str, revision: str | None = None, *, weights: bool = True) -> Path:
    """The local folder of a backbone: "compact" (the package's), a folder, or a hub id to fetch, with
    ``weights`` or without."""
    if name_or_path == "compact":
        return COMPACT
    folder = Path(name_or_path).expanduser()
    if folder.is_dir():
        return folder
    if not is_hub_id(name_or_path):
        raise BackboneError(f"backbone folder {name_or_path} does not exist; {HOW}")
    return fetch(
        name_or_path,
        revision,
        patterns=[*CONFIGS, *_WEIGHTS] if weights else CONFIGS,
        never=[*_NEVER_READ, *(half_precision_twins(name_or_path, revision) if weights else ())],
        what="backbone",
        error=BackboneError,
    )
