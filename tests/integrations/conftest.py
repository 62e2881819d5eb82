"""One tiny untrained scorer for all the interfaces."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diffagiqa import Scorer


@pytest.fixture(scope="session")
def scorer(tiny_model: Path) -> Scorer:
    return Scorer.from_pretrained(tiny_model, device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def pictures() -> torch.Tensor:
    """(4, 3, 64, 64) in [0, 1]."""
    return torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
