"""oneDNN's matrix product is the matrix product, and is used only where it is faster."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffagiqa.accel import products
from diffagiqa.accel.products import is_faster_for, linear, onednn_multiplies, products_by_onednn
from diffagiqa.bench.stages import flop_counter
from diffagiqa.model.repeated import conv_of_repeated

wants_onednn = pytest.mark.skipif(
    not onednn_multiplies(), reason="this PyTorch has no oneDNN product"
)


@pytest.fixture(autouse=True)
def also_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "MIN_MULTIPLICATIONS", 0)


@pytest.fixture(params=[True, False], ids=["zen5", "other"])
def zen5(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(products, "cpu_is_zen5", lambda: request.param)
    return bool(request.param)


def strided(*shape: int) -> Tensor:
    return torch.randn(*shape, 2)[..., 0]


@pytest.mark.parametrize("shape", [(37,), (3, 5), (0,)])
@pytest.mark.parametrize("outputs", [1, 700])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("make", [torch.randn, strided])
def test_equals_the_product_in_float64(
    shape: tuple[int, ...], outputs: int, with_bias: bool, make: object, zen5: bool
) -> None:
    torch.manual_seed(0)
    tokens, weight = make(*shape, 96), make(outputs, 96)  # type: ignore[operator]
    bias = make(outputs) if with_bias else None  # type: ignore[operator]
    exact = F.linear(tokens.double(), weight.double(), None if bias is None else bias.double())
    with torch.inference_mode():
        assert is_faster_for(tokens, 1) is (zen5 and onednn_multiplies())
        found = linear(tokens, weight, bias)
    torch.testing.assert_close(found, exact.float(), rtol=0, atol=1e-4)


def test_several_products_at_once(zen5: bool) -> None:
    torch.manual_seed(0)
    values, weights = torch.randn(3, 4, 5), torch.randn(3, 6, 5)
    with torch.inference_mode():
        found = products.products(values, weights)
    exact = torch.einsum("pnc,poc->pno", values.double(), weights.double())
    torch.testing.assert_close(found, exact.float(), rtol=0, atol=1e-5)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(3, 8, 3, padding=1)
        self.strided = nn.Conv2d(8, 8, 1, stride=2)
        self.pointwise = nn.Conv2d(8, 6, 1)
        self.linear = nn.Linear(6, 5)

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.pointwise(self.strided(self.wide(maps)))
        return self.linear(maps.permute(0, 2, 3, 1))  # type: ignore[no-any-return]


@wants_onednn
def test_a_network_gives_the_same_by_it_and_learns_as_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used: list[torch.Size] = []
    product = products._product

    def counted(tokens: Tensor, *others: Tensor | None) -> Tensor:
        used.append(tokens.shape)
        return product(tokens, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(products, "cpu_is_zen5", lambda: True)
    monkeypatch.setattr(products, "_product", counted)
    torch.manual_seed(0)
    plain = Network()
    fast = copy.deepcopy(plain)
    products_by_onednn(fast)
    maps = torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        torch.testing.assert_close(fast(maps), plain(maps), rtol=1e-5, atol=1e-5)
        assert len(used) == 2
        products.enable_products(fast, False)
        assert torch.equal(fast(maps), plain(maps))
        products.enable_products(fast, True)
    maps.requires_grad_()
    (wanted,) = torch.autograd.grad(plain(maps).sum(), maps)
    (found,) = torch.autograd.grad(fast(maps).sum(), maps)
    assert torch.equal(found, wanted)
    assert len(used) == 2
    assert fast.state_dict().keys() == plain.state_dict().keys()


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


def test_gradients_and_other_types_stay_pytorchs(zen5: bool) -> None:
    tokens = torch.randn(3, 4)
    assert not is_faster_for(tokens, 1)
    with torch.no_grad():
        assert not is_faster_for(tokens.double(), 1)
        assert not is_faster_for(tokens.bfloat16(), 1)
        assert not is_faster_for(tokens.to("meta"), 1)


@wants_onednn
def test_small_products_stay_pytorchs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "cpu_is_zen5", lambda: True)
    monkeypatch.setattr(products, "MIN_MULTIPLICATIONS", 6 * 5 * 4)
    with torch.inference_mode():
        assert is_faster_for(torch.randn(2, 3, 5), 4)
        assert not is_faster_for(torch.randn(2, 3, 5), 3)


@pytest.mark.parametrize("fault", [AttributeError, RuntimeError, TypeError])
def test_a_pytorch_without_it_does_without(
    fault: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> Tensor:
        raise fault

    monkeypatch.setattr(products, "_product", missing)
    assert not onednn_multiplies.__wrapped__()


def test_its_arithmetic_is_counted(zen5: bool) -> None:
    tokens, weight = torch.randn(2, 5, 12), torch.randn(30, 12)
    counter = flop_counter()
    with torch.inference_mode(), counter:
        linear(tokens, weight)
    assert counter.get_total_flops() == 2 * 2 * 5 * 12 * 30
