"""Freed memory kept for the next tensor.

glibc gives blocks of over 32 MB back to the system when they are freed. The next such block comes from
there again, a page at a time and filled with zeros: a fifth of a VAE encoder's time on a CPU.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from typing import Any

from diffagiqa.overlap import SharedContext

GIVEN_BACK = 32 * 2**20
"""Bytes; what glibc's threshold for blocks comes to in a process that has freed large ones. That for the
free memory at the end of its heap is twice as much then."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_MOST = 2**31 - 1


def freed_memory_kept(block: int) -> AbstractContextManager[None]:
    """Within it, blocks of so many bytes that are freed stay in the process; at its end they go back.

    On Linux with glibc, for what the main thread allocates; elsewhere, and for blocks that glibc keeps by
    itself, it does nothing.
    """
    return _KEPT if block > GIVEN_BACK and _glibc() is not None else nullcontext()


@contextmanager
def _keeping() -> Iterator[None]:
    libc = _glibc()
    libc.mallopt(_MMAP_THRESHOLD, _MOST)
    libc.mallopt(_TRIM_THRESHOLD, _MOST)
    try:
        yield
    finally:
        libc.mallopt(_MMAP_THRESHOLD, GIVEN_BACK)
        libc.mallopt(_TRIM_THRESHOLD, 2 * GIVEN_BACK)
        libc.malloc_trim(0)


@lru_cache(maxsize=1)
def _glibc() -> Any:
    """The C library where it is glibc, else None."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None


_KEPT = SharedContext(_keeping)
