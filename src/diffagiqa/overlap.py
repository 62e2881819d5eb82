"""Work that overlaps: the next task begun before the last is done; settings that threads share."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeVar

T = TypeVar("T")


def in_order(begun: Iterable[Callable[[], T]], ahead: int) -> Iterator[T]:
    """The results of tasks that begin when they are taken from ``begun``; calling one waits for it.

    A result is asked for when ``ahead`` further tasks have begun. Where ``begun`` fails, the results of
    what has begun come before its error; where a task fails, none comes after it.

    >>> list(in_order((lambda n=n: n * n for n in range(4)), ahead=1))
    [0, 1, 4, 9]
    """
    fault: Exception | None = None

    def until_fault() -> Iterator[Callable[[], T]]:
        nonlocal fault
        try:
            yield from begun
        except Exception as error:
            fault = error

    waiting: deque[Callable[[], T]] = deque()
    for result in until_fault():
        waiting.append(result)
        if len(waiting) > ahead:
            yield waiting.popleft()()
    while waiting:
        yield waiting.popleft()()
    if fault is not None:
        raise fault


class SharedContext:
    """A context of the whole process: the first thread in enters it, the last one out leaves it.

    Were each thread to restore the setting that it found on entering, overlapping ones would restore
    each other's.
    """

    def __init__(self, make: Callable[[], AbstractContextManager[Any]]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._inside = 0
        self._context: AbstractContextManager[Any] | None = None

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._context = self._make()
                self._context.__enter__()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._context is not None:
                self._context.__exit__(None, None, None)
