"""Tensors come in their final type and layout, however often the file is mapped anew."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from diffagiqa.backbones import tensors
from diffagiqa.backbones.tensors import read_tensors


@pytest.mark.parametrize("mapped", [1, 1 << 30])
def test_types_layout_and_values(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mapped: int
) -> None:
    monkeypatch.setattr(tensors, "MAPPED", mapped)
    written = {
        "kernel": torch.randn(4, 3, 5, 5).half(),
        "bias": torch.randn(4).half(),
        "seen": torch.tensor(7),
    }
    save_file(written, tmp_path / "some.safetensors")
    found = dict(read_tensors(tmp_path / "some.safetensors", torch.float32, channels_last=True))
    assert found.keys() == written.keys()
    assert found["kernel"].is_contiguous(memory_format=torch.channels_last)
    assert found["kernel"].dtype == found["bias"].dtype == torch.float32
    assert found["seen"].dtype == torch.int64
    for name, tensor in written.items():
        torch.testing.assert_close(found[name], tensor, check_dtype=False, rtol=0, atol=0)


def test_only_the_names_asked_for(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2), "b": torch.ones(3)}, tmp_path / "two.safetensors")
    found = dict(read_tensors(tmp_path / "two.safetensors", torch.bfloat16, names={"b", "c"}))
    assert list(found) == ["b"]
