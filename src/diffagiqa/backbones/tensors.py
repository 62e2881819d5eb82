"""Tensors of files: each read straight into its final type and layout, or as they are."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffagiqa.errors import WeightsError

MAPPED = 256 << 20
"""Bytes read before the file is mapped anew: pages once touched count as the process's memory."""


def read_tensors(
    file: Path, dtype: torch.dtype, *, names: Collection[str] | None = None,
    device: torch.device | str = "cpu", channels_last: bool = False,
) -> Iterator[tuple[str, Tensor]]:  # fmt: skip
    """Yield (name, tensor) of every tensor, or of those in ``names`` that the file has.

    Floating-point tensors become ``dtype``; ``channels_last`` lays 4-dimensional ones
    out so. One copy at most is made of each, and less than ``MAPPED`` bytes plus one tensor of the
    file are in memory at a time. Raises ``SafetensorError`` or ``OSError``.
    """
    from safetensors import safe_open

    with safe_open(file, framework="pt") as tensors:
        found = [name for name in tensors.keys() if names is None or name in names]  # noqa: SIM118
    with ExitStack() as stack:
        mapped = MAPPED
        for name in found:
            if mapped >= MAPPED:
                stack.close()
                tensors = stack.enter_context(safe_open(file, framework="pt", device=str(device)))
                mapped = 0
            tensor = tensors.get_tensor(name)
            mapped += tensor.nbytes
            if not tensor.is_floating_point():
                yield name, tensor.clone()  # a counter must not keep the whole file mapped
                continue
            layout = torch.channels_last if channels_last and tensor.ndim == 4 else None
            yield name, tensor.to(dtype, memory_format=layout or torch.preserve_format)


def read_state(file: Path, what: str) -> dict[str, Tensor]:
    """Dense tensors by name from a file that ``what`` says; code in it is never run.

    Raises ``WeightsError`` for a file that cannot be read, or holds anything else.
    """
    state: Any
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"{file} cannot be read ({error.strerror or error})") from None
    except Exception:  # hostile bytes make the unpickler raise far more than its own error
        raise WeightsError(
            f"{file} is no plain state dict; expected {what}, tensors by name "
            "(files that hold code are never unpickled)"
        ) from None
    if isinstance(state, dict) and set(state) == {"state_dict"}:
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(_is_plain(v) for v in state.values()):
        raise WeightsError(f"{file} holds no state dict; expected dense tensors by name")
    return {str(name).removeprefix("module."): tensor for name, tensor in state.items()}


def _is_plain(value: Any) -> bool:
    """A dense tensor with its numbers in the file, not one number repeated to any size."""
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_meta:
        return False
    return value.numel() * value.element_size() <= value.untyped_storage().nbytes()
