"""Trained parts to and from a folder or hub repository: ``config.json`` + ``model.safetensors``."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from pathlib import Path

import torch

from diffagiqa.backbones.hub import fetch, is_hub_id
from diffagiqa.backbones.tensors import read_tensors
from diffagiqa.errors import WeightsError
from diffagiqa.model.config import ModelConfig
from diffagiqa.model.scoring import DiffAGIQA, build_model

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
NOTICE = "NOTICE.txt"
"""What the model itself says that it is not good for; its scores do not depend on that."""
PATTERNS = ["*.json", "*.safetensors", "backbone/**", "README.md", NOTICE]
"""Of a hub repository, which may bring its backbone along; nothing but data is ever fetched."""


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
    try:
        tensors = dict(read_tensors(folder / WEIGHTS, torch.float32))
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{folder / WEIGHTS} cannot be read ({error})") from None
    load_strictly(model, tensors, str(folder / WEIGHTS))
    return model.eval()


def load_strictly(model: DiffAGIQA, tensors: dict[str, torch.Tensor], where: str) -> None:
    """Load a state dict, naming what is missing, unexpected or of another shape."""
    own = model.state_dict()
    faults = [
        *(f"missing {name}" for name in own if name not in tensors),
        *(f"unexpected {name}" for name in tensors if name not in own),
        *(
            f"{name} has shape {tuple(tensors[name].shape)}, expected {tuple(own[name].shape)}"
            for name in own
            if name in tensors and tensors[name].shape != own[name].shape
        ),
    ]
    if faults:
        more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise WeightsError(f"{where} does not fit its configuration: {'; '.join(faults[:5])}{more}")
    model.load_state_dict(
        {name: tensor.to(own[name].dtype) for name, tensor in tensors.items()},
        assign=next(iter(own.values())).is_meta,
    )


def load_config(folder: str | Path) -> ModelConfig:
    """The configuration of a model folder.

    Raises ``WeightsError`` where it cannot be read, ``ConfigError`` where it is no valid one.
    """
    file = Path(folder) / CONFIG
    try:
        if file.stat().st_size > 1_000_000:
            raise WeightsError(f"{file} is over 1 MB; this is no model configuration")
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"{file} cannot be read ({error})") from None
    return ModelConfig.from_json(text)


def find_model(name_or_path: str, revision: str | None = None) -> Path:
    """The local folder of a trained model: a path, or a hub id fetched (or taken from the cache)."""
    folder = Path(name_or_path).expanduser()
    if (folder / CONFIG).is_file():
        return folder
    if folder.exists() or not is_hub_id(name_or_path):
        raise WeightsError(
            f"{name_or_path} is no model folder; expected one with {CONFIG} and {WEIGHTS}"
        )
    return fetch(name_or_path, revision, patterns=PATTERNS, what="model", error=WeightsError)


def backbone_reference(config: ModelConfig, folder: str | Path) -> str:
    """The backbone's name as the loader takes it: ``./...`` is relative to the model's folder."""
    if config.backbone.startswith("./"):
        place = (Path(folder) / config.backbone).resolve()
        if not place.is_relative_to(Path(folder).resolve()):
            raise WeightsError(
                f"backbone {config.backbone} leads out of the model's folder {folder}"
            )
        return str(place)
    return config.backbone


def named_backbone(name_or_path: str) -> str:
    """A backbone's name as a configuration keeps it, where ``./`` is not the current folder.

    >>> [named_backbone(name) for name in ("./sd15", "../sd15", "owner/name")]
    ['sd15', '../sd15', 'owner/name']
    """
    return os.path.normpath(name_or_path) if name_or_path.startswith(".") else name_or_path


def copy_own_files(config: ModelConfig, folder: str | Path, other: str | Path) -> None:
    """Copy what lies in the model's ``folder`` beside its weights, if it does, to the ``other`` folder:
    its backbone and its notice."""
    folder, other = Path(folder), Path(other)
    if folder.resolve() == other.resolve():
        return
    if config.backbone.startswith("./"):
        place = Path(backbone_reference(config, folder))
        if place.is_dir():  # the scorer may have been given another one
            shutil.copytree(place, other / config.backbone, dirs_exist_ok=True)
    if (folder / NOTICE).is_file():
        other.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / NOTICE, other / NOTICE)


def fingerprint(*folders: str | Path) -> str:
    """Hash of configuration and weights of the folders: 16 hex digits that name a model in outputs."""
    digest = hashlib.sha256()
    for folder in folders:
        files = sorted(
            file
            for file in Path(folder).rglob("*")
            if file.suffix in (".json", ".safetensors", ".txt")
            and file.name != NOTICE
            and file.is_file()
        )
        for file in files:
            digest.update(file.relative_to(folder).as_posix().encode())
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()[:16]
