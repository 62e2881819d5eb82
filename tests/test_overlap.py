"""Results in the order of their tasks, and what a fault leaves of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from diffagiqa.overlap import in_order


def task(number: int, log: list[str], faulty: int = -1) -> Callable[[], int]:
    log.append(f"begin {number}")

    def wait() -> int:
        log.append(f"end {number}")
        if number == faulty:
            raise ValueError(number)
        return number

    return wait


def test_so_many_tasks_begin_before_the_first_result() -> None:
    log: list[str] = []
    assert list(in_order((task(n, log) for n in range(3)), ahead=1)) == [0, 1, 2]
    assert log == ["begin 0", "begin 1", "end 0", "begin 2", "end 1", "end 2"]


def test_a_failed_task_is_not_replaced_by_the_next_ones_result() -> None:
    log: list[str] = []
    found = in_order((task(n, log, faulty=1) for n in range(4)), ahead=1)
    assert next(found) == 0
    with pytest.raises(ValueError, match="1"):
        next(found)
    assert list(found) == []
    assert "end 2" not in log


def test_what_has_begun_comes_before_the_fault_of_the_source() -> None:
    def begun() -> Iterator[Callable[[], int]]:
        yield task(0, [])
        yield task(1, [])
        raise ValueError("the source")

    found = in_order(begun(), ahead=2)
    assert [next(found), next(found)] == [0, 1]
    with pytest.raises(ValueError, match="the source"):
        next(found)
