"""Memory that a backbone's weights take, from its configurations alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from diffagiqa.backbones.folder import PIPELINES, kind_of
from diffagiqa.backbones.parts import bytes_of


def weight_bytes(
    folder: Path, dtype: torch.dtype, features: Sequence[str] | None = None
) -> dict[str, int]:
    """Bytes of every part in ``dtype`` up to the last feature, by what the part is.

    Needs no weights: networks are built on the meta device. Text encoders are needed only while
    prompts are encoded. Raises ``BackboneError`` where the configurations describe nothing.
    """
    networks = PIPELINES[kind_of(folder)](folder).networks(features)
    return {part: bytes_of(network, dtype) for part, network in networks.items()}
