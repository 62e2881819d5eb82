"""A matrix product as convolutions is the matrix product, and is used only where it is faster."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from diffagiqa.model import products
from diffagiqa.model.products import by_convolution, linear
from diffagiqa.model.repeated import conv_of_repeated


@pytest.mark.parametrize("zen5", [True, False])
@pytest.mark.parametrize("outputs", [1, 256, 700])  # 700: two pieces and a rest
@pytest.mark.parametrize("with_bias", [True, False])
def test_equals_the_product_in_float64(
    outputs: int, with_bias: bool, zen5: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "cpu_is_zen5", lambda: zen5)
    torch.manual_seed(0)
    tokens, weight = torch.randn(37, 96), torch.randn(outputs, 96)
    bias = torch.randn(outputs) if with_bias else None
    exact = F.linear(
        tokens.double(), weight.double(), None if bias is None else bias.double()
    )  # fmt: skip
    with torch.inference_mode():
        assert by_convolution(tokens) is (zen5 and torch.backends.mkldnn.is_available())
        found = linear(tokens, weight, bias)
    assert found.shape == exact.shape
    assert float((found - exact).abs().max()) < 1e-4


def test_a_repeated_map_is_convolved_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(24, 40, 5, padding=2).to(memory_format=torch.channels_last)
    maps = torch.randn(2, 24, 4, 4)
    found = []
    for zen5 in (True, False):
        monkeypatch.setattr(products, "cpu_is_zen5", lambda zen5=zen5: zen5)
        with torch.inference_mode():
            found.append(conv_of_repeated(maps, conv, 2))
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-5)


def test_gradients_and_other_types_stay_matrix_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "cpu_is_zen5", lambda: True)
    tokens = torch.randn(3, 4)
    assert not by_convolution(tokens)
    with torch.no_grad():
        assert not by_convolution(tokens.double())
        assert not by_convolution(tokens.bfloat16())
