"""Which number format is chosen when the user does not say."""

import pytest
import torch

from diffagiqa.device import choose_dtype
from diffagiqa.model.config import ModelConfig

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("matrix_units", "chosen"), [(True, torch.bfloat16), (False, torch.float32)]
)
def test_bfloat16_needs_matrix_units(
    monkeypatch: pytest.MonkeyPatch, matrix_units: bool, chosen: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: matrix_units, raising=False)
    assert choose_dtype(CPU) == choose_dtype(CPU, "auto") == chosen
    assert choose_dtype(CPU, exact=True) == torch.float32
    assert choose_dtype(CPU, "bfloat16", exact=True) == torch.bfloat16


def test_statistics_are_computed_in_float32() -> None:
    assert not ModelConfig().needs_float32
    assert ModelConfig(pooling="statistics").needs_float32
