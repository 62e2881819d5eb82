"""Which number format is chosen when the user does not say."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from diffagiqa import device
from diffagiqa.device import at_least_float32, choose_dtype, exact_float32

CPU = torch.device("cpu")


XEON = (
    "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu avx512f avx512_bf16{}\nbugs\t: x\n"
)
ZEN4 = "processor\t: 0\nvendor_id\t: AuthenticAMD\nflags\t\t: fpu avx512f avx512_bf16\n"
ZEN3 = "processor\t: 0\nvendor_id\t: AuthenticAMD\nflags\t\t: fpu avx2\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd bf16\nCPU implementer\t: 0x41\n"


@pytest.mark.parametrize(
    ("cpuinfo", "fast"),
    [
        (XEON.format(" amx_bf16 amx_tile amx_int8"), True),
        (XEON.format(""), False),  # measured: half as fast as float32
        (XEON.format(" amx_tile amx_int8"), False),
        (ZEN4 + "\n" + ZEN4, True),
        (ZEN3, False),
        (ARM, False),
        ("", False),
    ],
)
def test_bfloat16_by_vendor_and_instruction_sets(cpuinfo: str, fast: bool) -> None:
    assert device.bfloat16_is_fast(*device.vendor_and_flags(cpuinfo)) is fast


@pytest.fixture
def fresh() -> Iterator[None]:
    device.cpu_has_bfloat16.cache_clear()
    yield
    device.cpu_has_bfloat16.cache_clear()


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(("cpuinfo", "chosen"), [(ZEN4, torch.bfloat16), (ZEN3, torch.float32)])
def test_the_choice_follows_the_cpu(
    monkeypatch: pytest.MonkeyPatch, cpuinfo: str, chosen: torch.dtype
) -> None:
    monkeypatch.setattr(device.Path, "read_text", lambda *_, **__: cpuinfo)
    assert choose_dtype(CPU) == choose_dtype(CPU, "auto") == chosen


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(
    ("processor", "capabilities", "fast"),
    [
        ("AMD64 Family 25 Model 17 Stepping 1, AuthenticAMD", {"avx512_bf16": True}, True),
        ("AMD64 Family 25 Model 17 Stepping 1, AuthenticAMD", {"avx512_bf16": False}, False),
        ("Intel64 Family 6 Model 143 Stepping 8, GenuineIntel", {"amx_bf16": True}, True),
        ("Intel64 Family 6 Model 143 Stepping 8, GenuineIntel", {"avx512_bf16": True}, False),
        ("arm", {"bf16": True, "cpu_name": "x"}, False),
    ],
)
def test_without_proc_pytorch_says_what_the_cpu_has(
    monkeypatch: pytest.MonkeyPatch, processor: str, capabilities: dict[str, bool], fast: bool
) -> None:
    def absent(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(device.Path, "read_text", absent)
    monkeypatch.setattr(device.platform, "processor", lambda: processor)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert device.cpu_has_bfloat16() is fast


SWITCHES = """
import torch
from diffagiqa.device import without_tf32

def settings():
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    reads = [lambda: torch.get_float32_matmul_precision(), lambda: products.allow_tf32,
             lambda: convolutions.allow_tf32, lambda: products.fp32_precision,
             lambda: convolutions.conv.fp32_precision]
    found = []
    for read in reads:
        try:
            found.append(read())
        except (AttributeError, RuntimeError):  # old PyTorch; a mix of old and new switches
            found.append(None)
    return found

{set}
before = settings()
with without_tf32():
    inside = settings()
assert "tf32" not in inside[3:], inside
assert inside[0] in ("highest", None), inside
assert settings() == before, (before, settings())
"""


@pytest.mark.parametrize(
    "setting",
    [
        "pass",
        "torch.backends.cudnn.allow_tf32 = False",
        "torch.set_float32_matmul_precision('high')",
        "torch.set_float32_matmul_precision('medium')",
        "torch.backends.cuda.matmul.allow_tf32 = True",
        "torch.backends.fp32_precision = 'ieee'",
        "torch.backends.fp32_precision = 'tf32'",
        "torch.backends.cudnn.conv.fp32_precision = 'ieee'",
        "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
    ],
)
def test_tf32_is_off_and_left_as_it_was_found(setting: str) -> None:
    if "fp32_precision" in setting and not hasattr(torch.backends.cudnn, "conv"):
        pytest.skip("this PyTorch has no such switch")
    code = SWITCHES.replace("{set}", setting)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_exact_float32_overlaps_and_leaves_cpus_alone() -> None:
    switch = torch.backends.cudnn
    before = switch.allow_tf32
    first, second = exact_float32(torch.device("cuda")), exact_float32(torch.device("cuda"))
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)  # as threads that overlap do
    assert _convolutions() == "ieee"
    second.__exit__(None, None, None)
    assert switch.allow_tf32 is before
    with exact_float32(torch.device("cpu")):
        assert switch.allow_tf32 is before


def _convolutions() -> str:
    if hasattr(torch.backends.cudnn, "conv"):
        return str(torch.backends.cudnn.conv.fp32_precision)
    return "tf32" if torch.backends.cudnn.allow_tf32 else "ieee"


@pytest.mark.parametrize(
    ("given", "computed"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_lower_formats_are_computed_in_float32(given: torch.dtype, computed: torch.dtype) -> None:
    values = torch.ones(2, dtype=given)
    found = at_least_float32(values)
    assert found.dtype == computed
    assert (found is values) == (given == computed)
