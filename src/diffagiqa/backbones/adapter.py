"""A LoRA in PEFT's format, added to the weights that it adapts."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffagiqa.errors import WeightsError

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_PARTS = (".lora_A.weight", ".lora_B.weight")
_UNSUPPORTED = ("use_dora", "rank_pattern", "alpha_pattern", "modules_to_save", "fan_in_fan_out",
                "target_parameters", "lora_bias")  # fmt: skip


@torch.no_grad()
def merge_adapter(network: nn.Module, folder: Path) -> None:
    """W += alpha / r * B A for every linear layer that the adapter in ``folder`` names, in place.

    In float32 whatever the type of W. Raises ``WeightsError`` for another kind of adapter, for a tensor
    without its partner, and for one that fits no layer.
    """
    scale = _scale(folder)
    tensors = _tensors(folder / WEIGHTS)
    layers = {
        name.removeprefix(_PREFIX).removesuffix(_PARTS[name.endswith(_PARTS[1])])
        for name in tensors
    }
    for layer in sorted(layers):
        down, up = (tensors.get(_PREFIX + layer + part) for part in _PARTS)
        if down is None or up is None:
            raise WeightsError(f"{folder} has one half of {layer}; expected lora_A and lora_B")
        try:
            weight: Any = network.get_submodule(layer).weight
        except AttributeError:
            raise WeightsError(
                f"{folder} adapts {layer}, which the backbone lacks up to the last feature; "
                "give the backbone that it was trained on"
            ) from None
        if (*up.shape[:1], *down.shape[1:]) != tuple(weight.shape) or up.shape[1] != down.shape[0]:
            raise WeightsError(
                f"{folder} adapts {layer} by {tuple(up.shape)} x {tuple(down.shape)}; the backbone's has "
                f"shape {tuple(weight.shape)}, so give the backbone that it was trained on"
            )
        delta = scale * up.float() @ down.float()
        exact = torch.promote_types(weight.dtype, torch.float32)
        weight.copy_(weight.to(exact) + delta.to(weight.device, exact))


def copy_adapter(folder: Path, other: Path) -> None:
    """Copy an adapter's configuration and weights."""
    other.mkdir(parents=True, exist_ok=True)
    for name in (CONFIG, WEIGHTS):
        shutil.copyfile(folder / name, other / name)


def _scale(folder: Path) -> float:
    """alpha / r, from ``adapter_config.json``."""
    file = folder / CONFIG
    try:
        if file.stat().st_size > 1_000_000:
            raise WeightsError(f"{file} is over 1 MB; this is no configuration of an adapter")
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{file} cannot be read ({error}); expected PEFT's") from None
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise WeightsError(f"{file} describes no LoRA; expected one as PEFT saves it")
    if used := [name for name in _UNSUPPORTED if config.get(name)]:
        raise WeightsError(
            f"{file} uses {', '.join(used)}, which is not understood; merge the adapter with PEFT"
        )
    rank: Any = config.get("r")
    alpha: Any = config.get("lora_alpha")
    numbers = (isinstance(value, (int, float)) and value > 0 for value in (rank, alpha))
    if not all(numbers):
        raise WeightsError(
            f"{file} has r {rank!r} and lora_alpha {alpha!r}; expected numbers over 0"
        )
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)  # type: ignore[no-any-return]


def _tensors(file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(file)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{file} cannot be read ({error})") from None
    if strange := [n for n in tensors if not (n.startswith(_PREFIX) and n.endswith(_PARTS))]:
        raise WeightsError(
            f"{file} holds {strange[0][:80]}; expected LoRA's halves of weights only"
        )
    if not tensors:
        raise WeightsError(f"{file} holds no tensor; expected LoRA's halves of weights")
    return tensors
