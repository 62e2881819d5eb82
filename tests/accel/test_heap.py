"""Freed memory is kept while that is wanted, and goes back afterwards."""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext

import pytest

from diffagiqa.accel.heap import GIVEN_BACK, _glibc, freed_memory_kept

CODE = """
import resource, torch
from diffagiqa.accel.heap import freed_memory_kept

def pages():
    # As a network does: one tensor made of the one before, which is then freed.
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    tensor = torch.zeros(2**26, dtype=torch.uint8)
    for _ in range(24):  # the first few blocks are new in any case
        tensor = tensor + 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.set_num_threads(1)
found = [pages()]
with freed_memory_kept(2**26):
    found += [pages()]
    with freed_memory_kept(2**26):
        pass
    found += [pages()]
print(*found, pages())
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(*(int(status[name].split()[0]) for name in ("VmHWM", "VmRSS")))
"""


@pytest.mark.skipif(_glibc() is None, reason="wants glibc")
def test_blocks_are_used_again_inside_and_given_back_outside() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    pages, resident = done.stdout.splitlines()
    before, enters, inside, after = map(int, pages.split())
    assert max(enters, inside) < min(before, after) / 2
    most, now = map(int, resident.split())
    assert most - now > 2**16  # kB: the last block at least is gone


def test_small_blocks_are_left_alone() -> None:
    assert isinstance(freed_memory_kept(GIVEN_BACK), nullcontext)
