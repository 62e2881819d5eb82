"""Which device and number format to compute in, when the user does not say."""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from diffagiqa.errors import ConfigError
from diffagiqa.overlap import SharedContext

WORKING = 2_000_000_000
"""Bytes, roughly, of the activations of one image of 1024 x 1024 pixels in half precision."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(device: str | torch.device | None = None) -> torch.device:
    """The given device, else CUDA where there is a GPU, else Apple's MPS, else the CPU."""
    if device is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError):
        chosen = torch.device("meta")
    if chosen.type == "meta":  # it computes nothing
        raise ConfigError(f"device {device!r} is unknown; expected cpu, cuda, cuda:1 or mps")
    if chosen.type == "cpu":
        return torch.device("cpu")  # a number says nothing, and safetensors takes none
    if chosen.type == "cuda":
        if not torch.cuda.is_available():
            raise ConfigError(
                f"device {device} was asked for and this PyTorch sees no GPU; "
                "use --device cpu or install a CUDA build of PyTorch"
            )
        if (chosen.index or 0) >= (count := torch.cuda.device_count()):
            raise ConfigError(
                f"device {device} was asked for and there are {count} GPUs, numbered from 0; "
                f"expected cuda:{count - 1} at most"
            )
        return chosen
    try:
        torch.empty(0, device=chosen)
    except Exception as error:  # every kind of device has its own
        reason = str(error).partition(". ")[0].partition("\n")[0]
        raise ConfigError(
            f"device {device} was asked for and this PyTorch cannot use it ({reason}); "
            "expected cpu, cuda or cuda:1, or mps on a Mac"
        ) from None
    return chosen


def choose_dtype(device: torch.device, dtype: str | torch.dtype | None = None) -> torch.dtype:
    """The frozen parts' number format: the given one, else the fastest that the device has natively.

    bfloat16 on GPUs that have it and on CPUs where it is fast (``bfloat16_is_fast``), float16 on older
    GPUs and MPS, float32 elsewhere.
    """
    if isinstance(dtype, torch.dtype) and dtype in (*DTYPES.values(), torch.float64):
        return dtype
    if dtype is not None and dtype != "auto":
        if not isinstance(dtype, str) or dtype not in DTYPES:
            raise ConfigError(f"dtype {dtype!r} is unknown; expected auto, {', '.join(DTYPES)}")
        return DTYPES[dtype]
    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device) >= (8, 0)
        return torch.bfloat16 if native else torch.float16
    if device.type == "mps":
        return torch.float16
    return torch.bfloat16 if cpu_has_bfloat16() else torch.float32


@lru_cache(maxsize=1)
def cpu_has_bfloat16() -> bool:
    """Whether this CPU computes faster in bfloat16: read from what it is, never from a timing, so that
    the same machine always gives the same scores."""
    return bfloat16_is_fast(*this_cpu())


def this_cpu() -> tuple[str, frozenset[str]]:
    """``vendor_and_flags`` of this machine; of the flags, fewer are known where it runs no Linux."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        ask: Callable[[], dict[str, object]] = getattr(torch.cpu, "get_capabilities", dict)
        flags = {name for name, has in ask().items() if has is True}  # none in older PyTorch
        return platform.processor().rpartition(", ")[2], frozenset(flags)
    return vendor_and_flags(text)


def bfloat16_is_fast(vendor: str, flags: Collection[str]) -> bool:
    """Whether a CPU of this vendor, with these instruction sets, is faster in bfloat16 than in float32.

    It is with matrix units (AMX), and with AVX512-BF16 on AMD, twice as fast. On an Intel Xeon with
    AVX512-BF16 and no AMX it takes twice as long (docs/speed.md has both).

    >>> [bfloat16_is_fast(vendor, {"avx512_bf16"}) for vendor in ("AuthenticAMD", "GenuineIntel")]
    [True, False]
    """
    return "amx_bf16" in flags or (vendor == "AuthenticAMD" and "avx512_bf16" in flags)


def vendor_and_flags(cpuinfo: str) -> tuple[str, frozenset[str]]:
    """Vendor and instruction sets of the first processor in the text of Linux's ``/proc/cpuinfo``."""
    entries: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        entries.setdefault(name.strip(), value.strip())
    return entries.get("vendor_id", ""), frozenset(entries.get("flags", "").split())


def exact_float32(device: torch.device) -> AbstractContextManager[None]:
    """Within it, float32 is float32 on a CUDA device too.

    PyTorch's default there is TF32 in convolutions, with 10 bits of mantissa, and a user can choose it
    for matrix products. The process's own switches are turned, and turned back.
    """
    return _EXACT if device.type == "cuda" else nullcontext()


@contextmanager
def without_tf32() -> Iterator[None]:
    """``exact_float32`` of one thread.

    PyTorch 2.9 has a second set of switches, and fails where one of the first is read that the second
    have moved; so matrix products are turned by the set that their user took.
    """
    with ExitStack() as turned:
        cudnn: Any = torch.backends.cudnn
        if hasattr(cudnn, "conv"):
            turned.enter_context(_set_to(cudnn.conv, "fp32_precision", "ieee"))
        else:
            turned.enter_context(_set_to(cudnn, "allow_tf32", False))
        if (before := _matmul_precision()) != "highest":
            turned.callback(torch.set_float32_matmul_precision, before)
            torch.set_float32_matmul_precision("highest")
        products: Any = torch.backends.cuda.matmul
        if getattr(products, "fp32_precision", "") == "tf32":
            turned.enter_context(_set_to(products, "fp32_precision", "ieee"))
        yield


def _matmul_precision() -> str:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # set by the second set of switches
        return "highest"


@contextmanager
def _set_to(owner: Any, name: str, value: object) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


_EXACT = SharedContext(without_tf32)


def without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Within it, autocast is off, and modules compute in the dtypes of their own weights."""
    if not torch.amp.is_autocast_available(device.type):  # "meta", and older PyTorch's "mps"
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def at_least_float32(tensor: torch.Tensor) -> torch.Tensor:
    """In float32 where its own format is a lower one, for sums and logarithms; else as it is."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def current_device(device: torch.device) -> AbstractContextManager[Any]:
    """Within it, this is the current CUDA device of PyTorch and Triton."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def default_batch_size(device: torch.device) -> int:
    """Images per forward pass to begin with; the scorer halves it where memory runs out."""
    return 32 if device.type == "cuda" else 8


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of torch or Python says that memory ran out; the CPU's has no own type."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def free_memory(device: torch.device) -> int | None:
    """Bytes that can be taken on a GPU, or of the machine by Linux's count; None where nobody says."""
    if device.type == "cuda":
        reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + reserved)
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    known = dict(line.split(":", 1) for line in lines if ":" in line)
    return int(known["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in known else None


def release_memory(device: torch.device) -> None:
    """Give cached blocks back, so that smaller ones can be cut from them."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
