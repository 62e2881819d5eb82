"""Attention by products against PyTorch's own and diffusers' own."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor
from torch.nn import functional as F

from diffagiqa.accel import attention as module
from diffagiqa.accel.attention import (
    AttentionByProducts,
    attend,
    attend_by_products,
    products_are_faster,
)
from diffagiqa.backbones.unet import Backbone


@pytest.fixture
def on_any_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes products wherever no gradient is wanted, on a CPU of any maker and in any type."""
    monkeypatch.setattr(module, "products_are_faster", lambda tensor: not torch.is_grad_enabled())


def random(*shape: int, gain: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return gain * torch.randn(*shape, generator=generator)


def error(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact).std() / exact.std())


SHAPES = [  # batch, heads, queries, keys, channels of a head
    (2, 3, 64, 64, 40),
    (1, 4, 50, 77, 8),
    (1, 1, 33, 33, 64),
    (2, 2, 1, 5, 16),
]


@pytest.mark.parametrize("gain", [1.0, 6.0, 20.0])
@pytest.mark.parametrize("at_once", [2**20, 300, 1])
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_as_exact_as_the_fused_one(
    shape: tuple[int, ...], at_once: int, gain: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AT_ONCE", at_once)
    batch, heads, queries, keys, channels = shape
    query = random(batch, heads, queries, channels, gain=gain)
    # Logits of every query lie far from zero, as in trained networks.
    key = random(batch, heads, keys, channels) + random(channels, gain=gain / 4)
    value = random(batch, heads, keys, channels)
    query, key, value = (part.bfloat16() for part in (query, key, value))
    exact = F.scaled_dot_product_attention(query.double(), key.double(), value.double())
    found = attend(query, key, value)
    assert (found.dtype, found.shape) == (torch.bfloat16, exact.shape)
    # bfloat16 rounds a value by 0.0017 of its size; one product's logits alone give 0.02 and more.
    assert error(found, exact) < 0.005


def test_in_float64_it_is_equal() -> None:
    query, key, value = (random(2, 3, count, 16).double() for count in (20, 12, 12))
    torch.testing.assert_close(
        attend(query, key, value), F.scaled_dot_product_attention(query, key, value)
    )


def of_a_unet() -> tuple[Attention, Tensor, None]:
    return Attention(64, heads=4, dim_head=16), random(2, 30, 64), None


def of_a_prompt() -> tuple[Attention, Tensor, Tensor]:
    attention = Attention(64, cross_attention_dim=24, heads=4, dim_head=16)
    return attention, random(2, 30, 64), random(2, 77, 24)


def of_a_vae() -> tuple[Attention, Tensor, None]:
    attention = Attention(
        64, heads=1, dim_head=64, norm_num_groups=8, residual_connection=True, bias=True,
        _from_deprecated_attn_block=True,
    )  # fmt: skip
    return attention, random(2, 64, 6, 5).to(memory_format=torch.channels_last), None


@pytest.mark.usefixtures("on_any_cpu")
@pytest.mark.parametrize("kind", [of_a_unet, of_a_prompt, of_a_vae])
def test_a_module_computes_what_it_did(kind: Callable[[], tuple[Attention, Tensor, Any]]) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        plain, hidden, text = kind()
    plain = plain.eval().double().requires_grad_(False)
    own = copy.deepcopy(plain)
    attend_by_products(own)
    assert type(own.processor) is AttentionByProducts
    hidden, text = hidden.double(), None if text is None else text.double()
    before = hidden.clone()
    with torch.no_grad():
        torch.testing.assert_close(own(hidden, text), plain(hidden, text))
    assert torch.equal(hidden, before)
    given, same = before.clone().requires_grad_(), before.clone().requires_grad_()
    own(given, text).sum().backward()
    plain(same, text).sum().backward()
    assert given.grad is not None
    assert same.grad is not None
    assert torch.equal(given.grad, same.grad)


@pytest.mark.usefixtures("on_any_cpu")
def test_with_a_mask_it_is_diffusers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "attend", lambda *_: pytest.fail("products have no mask"))
    own, hidden, _ = of_a_unet()
    attend_by_products(own)
    with torch.no_grad():
        own(hidden, attention_mask=torch.zeros(2, 1, 30))


@pytest.mark.parametrize(
    "options",
    [
        {"rescale_output_factor": 2.0},
        {"qk_norm": "layer_norm"},
        {"cross_attention_norm": "layer_norm"},
    ],
)
def test_a_module_of_another_kind_stays_what_it_is(options: dict[str, Any]) -> None:
    other = Attention(64, heads=4, dim_head=16, **options)
    attend_by_products(other)
    assert type(other.processor) is AttnProcessor2_0


@pytest.mark.parametrize(
    ("bfloat16", "matrix_units", "wanted"),
    [(True, False, True), (True, True, False), (False, False, False)],
)
def test_it_is_used_in_bfloat16_on_a_cpu_without_matrix_units(
    bfloat16: bool, matrix_units: bool, wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "cpu_has_bfloat16", lambda: bfloat16)
    monkeypatch.setattr(module, "cpu_has_matrix_units", lambda: matrix_units)
    tokens = random(1, 4, 8).bfloat16()
    assert not products_are_faster(tokens)
    with torch.no_grad():
        assert products_are_faster(tokens) is wanted
        assert not products_are_faster(tokens.float())
        assert not products_are_faster(tokens.to("meta"))


def test_every_attention_of_a_loaded_backbone_takes_it(backbone: Backbone) -> None:
    kinds = [type(part.processor) for part in backbone.modules() if isinstance(part, Attention)]
    assert kinds
    assert set(kinds) == {AttentionByProducts}
