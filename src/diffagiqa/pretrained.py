"""Models to and from folders and hub repositories: ``config.json`` + ``model.safetensors``.

A folder holds the trained parts; the frozen backbone is named in its configuration, or lies beside them.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from diffagiqa import accel, checks, dina
from diffagiqa.accel.fold import fold
from diffagiqa.backbones.adapter import WEIGHTS as ADAPTER_WEIGHTS
from diffagiqa.backbones.adapter import copy_adapter
from diffagiqa.backbones.base import Backbone
from diffagiqa.backbones.folder import CONFIGS as BACKBONE_CONFIGS
from diffagiqa.backbones.folder import find_backbone, load_backbone
from diffagiqa.backbones.hub import fetch, is_hub_id
from diffagiqa.backbones.tensors import read_tensors
from diffagiqa.data.digest import LARGE, digest_of
from diffagiqa.errors import WeightsError
from diffagiqa.model.config import ModelConfig
from diffagiqa.model.scoring import DiffAGIQA, build_model

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
NOTICE = "NOTICE.txt"
"""What the model itself says that it is not good for; its scores do not depend on that."""
TRAINING_IMAGES = "training_images.txt"
"""Of the images that the model was trained on and chosen by: perceptual hashes, one a line."""
DATA = ["*.safetensors", "backbone/**", "adapter/*", TRAINING_IMAGES, *dina.PATTERNS]
SMALL = ["*.json", "README.md", NOTICE]
SMALL += [f"{folder}/*.json" for folder in ("backbone/**", "adapter", dina.ADAPTER)]
"""Of a hub repository, which may bring its backbone along; nothing but data is ever fetched."""

DEFAULT_MODEL = Path(__file__).parent / "weights" / "default"
WHAT_THE_DEFAULT_IS = (
    "The model in the package is not a diffusion model: it puts the method's trained parts on two small "
    "pretrained networks. It is good for ranking images by quality and for finding images that miss "
    "their prompt."
)
"""Said by ``doctor`` and on the page; README and model card have it in their own words."""


@dataclass(frozen=True)
class Located:
    """A model's folder, its configuration, and its backbone's folder."""

    folder: Path
    config: ModelConfig
    backbone: Path
    changed: bool = False
    """Whether the configuration is another than the folder's."""

    @property
    def fingerprint(self) -> str:
        """Of both folders and what was changed: 16 hex digits."""
        digits = fingerprint(self.folder, self.backbone)
        if not self.changed:
            return digits
        return hashlib.sha256((digits + self.config.to_json()).encode()).hexdigest()[:16]

    def averaged(
        self, noise_draws: int | None = None, timesteps: Sequence[int] | None = None
    ) -> Located:
        """With scores averaged over another number of noise draws, or other timesteps.

        Raises ``ConfigError`` where they are out of range.
        """
        config = self.config
        if noise_draws is not None:
            config = replace(config, noise_draws=checks.whole("noise_draws", noise_draws, 1))
        if timesteps is not None:
            first, *others = checks.several("timesteps", timesteps, "whole numbers from 0 to 999")
            config = replace(config, timestep=first, further_timesteps=tuple(others))
        return replace(self, config=config, changed=config != self.config)


def locate(
    model: str | Path | None = None, *, backbone: str | None = None, revision: str | None = None
) -> Located:
    """Find a model folder or hub id, by default the package's own, and its backbone.

    ``backbone`` replaces the one that the configuration names. Raises ``WeightsError`` or
    ``BackboneError`` saying what to fetch and where to put it, ``ConfigError`` for what is no name.
    """
    expected = "a folder or hub id"
    if revision is not None:
        checks.text("revision", revision)
    wanted = checks.location("model", DEFAULT_MODEL if model is None else model, expected)
    folder = find_model(wanted, revision)
    config = load_config(folder)
    if backbone is not None:
        chosen = find_backbone(checks.location("backbone", backbone, expected))
        return Located(folder, config, chosen)
    source = backbone_reference(config, folder)
    return Located(folder, config, find_backbone(source, config.backbone_revision))


def load_pretrained(
    located: Located, device: torch.device, dtype: torch.dtype, offload: bool = False
) -> tuple[DiffAGIQA, Backbone]:
    """The trained parts, folded for scoring, and the accelerated backbone, its weights in ``dtype``.

    ``offload``: the backbone's weights wait in the CPU's memory.
    Raises ``WeightsError`` or ``BackboneError`` where files are missing or do not fit together.
    """
    config = located.config
    model = load_model(located.folder)
    backbone = load_backbone(
        str(located.backbone),
        config.features,
        device=device,
        dtype=dtype,
        adapter=adapter_of(config, located.folder),
        offload=offload,
    )
    check_feature_channels(config, backbone)
    if accel.enabled():
        model = fold(model, backbone.dtype)
    return model, accel.accelerate(backbone)


def check_feature_channels(config: ModelConfig, backbone: Backbone) -> None:
    """Raise ``WeightsError`` where a backbone is of another size than the model was trained on."""
    channels = backbone.feature_channels(config.features)
    if channels != config.feature_channels:
        raise WeightsError(
            f"backbone {backbone.name} gives features of {channels} channels; the model was trained on "
            f"{config.feature_channels}, so give the backbone it names, {config.backbone}"
        )


def training_images(folder: str | Path) -> NDArray[np.uint64]:
    """Perceptual hashes (``data.image_hash``) of the images that the model in a folder was trained on.

    Empty where it does not say. Raises ``WeightsError`` where the file holds anything else.
    """
    file = Path(folder) / TRAINING_IMAGES
    try:
        lines = file.read_text(encoding="utf-8").split() if file.is_file() else []
        return np.array([int(line, 16) for line in lines], np.uint64)
    except (OSError, ValueError, OverflowError) as error:
        raise WeightsError(f"{file} holds no hashes of 16 hex digits ({error})") from None


def save_model(model: DiffAGIQA, folder: str | Path, half: bool = False) -> None:
    """Write ``config.json`` and ``model.safetensors`` (trained parts only).

    ``half`` stores float16 where the values fit it, for shipping; ``load_model`` reads float32 again.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: (_halved(tensor) if half else tensor).cpu().contiguous()
        for name, tensor in model.state_dict().items()
    }
    try:
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    except SafetensorError as fault:  # its only word for a full disk or a place without access
        raise OSError(errno.EIO, str(fault), str(folder / WEIGHTS)) from fault
    (folder / CONFIG).write_text(model.config.to_json(), encoding="utf-8")


def _halved(tensor: torch.Tensor) -> torch.Tensor:
    """In float16, unless some value is beyond its 65504, as a BatchNorm's variance may be."""
    if not tensor.is_floating_point():
        return tensor
    half = tensor.half()
    return half if half.isfinite().all() else tensor


def load_model(folder: str | Path) -> DiffAGIQA:
    """Read a folder written by ``save_model``, in float32 on the CPU, in evaluation mode.

    Raises ``WeightsError`` where the weights do not fit the configuration exactly.
    """
    from safetensors import SafetensorError

    folder = Path(folder)
    with torch.device("meta"):  # no time on initial values, no second copy
        model = build_model(load_config(folder))
    file = folder / (dina.HEAD if dina.is_dina(folder) else WEIGHTS)
    try:
        if dina.is_dina(folder):
            tensors = dina.read_weights(folder)
        else:
            tensors = dict(read_tensors(file, torch.float32))
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{file} cannot be read ({error})") from None
    load_strictly(model, tensors, str(file))
    return model.eval()


def load_strictly(model: DiffAGIQA, tensors: dict[str, torch.Tensor], where: str) -> None:
    """Load a state dict, naming what is missing, unexpected or of another shape."""
    expected = model.state_dict()
    faults = [
        *(f"missing {name}" for name in expected if name not in tensors),
        *(f"unexpected {name}" for name in tensors if name not in expected),
        *(
            f"{name} has shape {tuple(tensors[name].shape)}, expected {tuple(expected[name].shape)}"
            for name in expected
            if name in tensors and tensors[name].shape != expected[name].shape
        ),
    ]
    if faults:
        more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise WeightsError(f"{where} does not fit its configuration: {'; '.join(faults[:5])}{more}")
    model.load_state_dict(
        {name: tensor.to(expected[name].dtype) for name, tensor in tensors.items()},
        assign=next(iter(expected.values())).is_meta,
    )


def load_config(folder: str | Path) -> ModelConfig:
    """The configuration of a model folder, ours or DiNa-LRM's.

    Raises ``WeightsError`` where it cannot be read, ``ConfigError`` where it is no valid one.
    """
    if dina.is_dina(Path(folder)):
        return dina.read_config(Path(folder))
    file = Path(folder) / CONFIG
    try:
        if file.stat().st_size > 1_000_000:
            raise WeightsError(f"{file} is over 1 MB; this is no model configuration")
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"{file} cannot be read ({error})") from None
    return ModelConfig.from_json(text)


@dataclass(frozen=True)
class Outline:
    """What a model folder says without its weights."""

    tasks: tuple[str, ...]
    backbone: str
    revision: str | None
    features: tuple[str, ...]
    image_size: int
    missing: tuple[str, ...]
    """Files that it lacks."""


def outline(folder: Path) -> Outline:
    """Raises ``WeightsError`` or ``ConfigError`` where its configuration cannot be read."""
    tasks: tuple[str, ...]
    if dina.is_dina(folder):
        backbone, features, _ = dina.read_layout(folder)
        needed = [
            dina.HEAD,
            f"{dina.ADAPTER}/adapter_config.json",
            f"{dina.ADAPTER}/{ADAPTER_WEIGHTS}",
        ]
        tasks, revision, size = (dina.TASK.name,), None, 1024
    else:
        config = load_config(folder)
        backbone, features = backbone_reference(config, folder), config.features
        needed = [WEIGHTS, *([f"{config.adapter}/{ADAPTER_WEIGHTS}"] if config.adapter else [])]
        tasks, revision, size = config.task_names, config.backbone_revision, config.image_size
    missing = tuple(file for file in needed if not (folder / file).is_file())
    return Outline(tasks, backbone, revision, features, size, missing)


def find_model(name_or_path: str, revision: str | None = None, *, weights: bool = True) -> Path:
    """The local folder of a trained model: a path, or a hub id fetched (or taken from the cache).

    Without ``weights`` only small files are fetched, and a folder of anything else is taken too.
    """
    folder = Path(name_or_path).expanduser()
    if (folder / CONFIG).is_file() or (folder.is_dir() and not weights):
        return folder
    if folder.exists() or not is_hub_id(name_or_path):
        raise WeightsError(
            f"{name_or_path} is no model folder; expected one with {CONFIG} and {WEIGHTS}"
        )
    patterns = [*SMALL, *(DATA if weights else BACKBONE_CONFIGS)]
    return fetch(name_or_path, revision, patterns=patterns, what="model", error=WeightsError)


def backbone_reference(config: ModelConfig, folder: str | Path) -> str:
    """The backbone's name as the loader takes it: ``./...`` is relative to the model's folder."""
    if config.backbone.startswith("./"):
        return str(_inside(folder, "backbone", config.backbone))
    return config.backbone


def adapter_of(config: ModelConfig, folder: str | Path) -> Path | None:
    """The folder of the model's LoRA, None without one."""
    return None if config.adapter is None else _inside(folder, "adapter", config.adapter)


def _inside(folder: str | Path, what: str, name: str) -> Path:
    """A path within a model's folder; ``WeightsError`` for one elsewhere."""
    path = (Path(folder) / name).resolve()
    if not path.is_relative_to(Path(folder).resolve()):
        raise WeightsError(f"{what} {name} leads out of the model's folder {folder}")
    return path


def named_backbone(name_or_path: str) -> str:
    """A backbone's name as a configuration keeps it, where ``./`` is not the current folder.

    >>> [named_backbone(name) for name in ("./sd15", "../sd15", "owner/name")]
    ['sd15', '../sd15', 'owner/name']
    """
    return os.path.normpath(name_or_path) if name_or_path.startswith(".") else name_or_path


def copy_model_files(config: ModelConfig, folder: str | Path, other: str | Path) -> None:
    """Copy what lies in the model's ``folder`` beside its weights, if it does, to the ``other`` folder:
    its backbone, its adapter and its notice."""
    folder, other = Path(folder), Path(other)
    if folder.resolve() == other.resolve():
        return
    if config.backbone.startswith("./"):
        backbone = Path(backbone_reference(config, folder))
        if backbone.is_dir():  # the scorer may have been given another one
            shutil.copytree(backbone, other / config.backbone, dirs_exist_ok=True)
    if adapter := adapter_of(config, folder):
        copy_adapter(adapter, other / str(config.adapter))
    for name in (NOTICE, TRAINING_IMAGES):
        if (folder / name).is_file():
            other.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, other / name)


def fingerprint(*folders: str | Path) -> str:
    """Hash of configuration and weights of the folders: 16 hex digits that name a model in outputs.

    By content alone, so that a copy elsewhere has the same; large files are read once (``digest_of``).
    """
    digest = hashlib.sha256()
    for folder in folders:
        files = sorted(
            file
            for file in Path(folder).rglob("*")
            if file.suffix in (".json", ".safetensors", ".txt", ".pt")
            and file.name not in (NOTICE, TRAINING_IMAGES)
            and file.is_file()
        )
        for file in files:
            digest.update(file.relative_to(folder).as_posix().encode())
            large = file.stat().st_size > LARGE
            digest.update(digest_of(file).encode() if large else file.read_bytes())
    return digest.hexdigest()[:16]
