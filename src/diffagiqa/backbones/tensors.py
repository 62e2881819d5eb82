"""Tensors of a safetensors file, each read straight into its final type and layout."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path

import torch
from torch import Tensor

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
