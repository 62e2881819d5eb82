"""Which device and number format to compute in, when the user does not say."""

from __future__ import annotations

import torch

from diffagiqa.errors import ConfigError

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
    except RuntimeError:
        raise ConfigError(
            f"device {device!r} is unknown; expected cpu, cuda, cuda:1 or mps"
        ) from None
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"device {device} was asked for and this PyTorch sees no GPU; "
            "use --device cpu or install a CUDA build of PyTorch"
        )
    return chosen


def choose_dtype(
    device: torch.device, dtype: str | torch.dtype | None = None, *, exact: bool = False
) -> torch.dtype:
    """The frozen parts' number format: the given one, else the fastest that the device has natively.

    ``exact``: else float32, for models whose scores show the rounding (``ModelConfig.needs_float32``).
    bfloat16 on GPUs that have it and on CPUs with AMX, float16 on older GPUs and MPS,
    float32 elsewhere.
    """
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype is not None and dtype != "auto":
        if dtype not in DTYPES:
            raise ConfigError(f"dtype {dtype!r} is unknown; expected auto, {', '.join(DTYPES)}")
        return DTYPES[dtype]
    if exact:
        return torch.float32
    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device) >= (8, 0)
        return torch.bfloat16 if native else torch.float16
    if device.type == "mps":
        return torch.float16
    return torch.bfloat16 if cpu_has_bfloat16() else torch.float32


def cpu_has_bfloat16() -> bool:
    """Whether this CPU has matrix units for bfloat16 (AMX).

    AVX512-BF16 alone does not count: on an Intel Xeon without AMX, bfloat16 products were measured to
    take twice as long as float32 ones (docs/speed.md).
    """
    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(supported is not None and supported())


def default_batch_size(device: torch.device) -> int:
    """Pictures per forward pass to begin with; the scorer halves it where memory runs out."""
    return 32 if device.type == "cuda" else 8


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of torch or Python says that memory ran out; the CPU's has no own type."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def release_memory(device: torch.device) -> None:
    """Give cached blocks back, so that smaller ones can be cut from them."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
