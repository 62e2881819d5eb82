"""Pictures by name where two tables write their paths differently."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable, Sequence


class NameIndex:
    """Names of pictures, found as they are given, else by the parts they share from the end.

    >>> index = NameIndex(["a/cat.png", "b/cat.png", "dog.png"])
    >>> index.find("in/b/cat.png"), index.find("in/dog.png"), index.find("fox.png")
    (['b/cat.png'], ['dog.png'], [])
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._exact = dict.fromkeys(names)
        # In the order of their parts from the end, those that share most with a name stand together:
        # `prompt-0001/0.png` and so on all have the same last part, and may be a hundred thousand.
        found = ((path_parts(name)[::-1], place, name) for place, name in enumerate(self._exact))
        self._sorted = sorted(found)
        self._ends = [end for end, *_ in self._sorted]

    def find(self, image: str) -> list[str]:
        """The name itself, else all that share the most parts with it; none where no last part is its."""
        if image in self._exact:
            return [image]
        own = path_parts(image)[::-1]
        place = bisect_left(self._ends, own)
        beside = self._ends[max(0, place - 1) : place + 1]
        most = max((shared_parts(own, end) for end in beside), default=0)
        if most == 0:
            return []
        *before, last = own[:most]
        first = bisect_left(self._ends, [*before, last])
        end = bisect_left(self._ends, [*before, last + "\0"], first)  # the next text after it
        return [name for _, name in sorted(one[1:] for one in self._sorted[first:end])]


def path_parts(name: str) -> list[str]:
    """A path or URL from its first folder to its last part.

    >>> path_parts("./renders/cat.png")
    ['renders', 'cat.png']
    """
    return [part for part in name.replace(os.sep, "/").split("/") if part not in ("", ".")] or [""]


def shared_parts(one: Sequence[str], other: Sequence[str]) -> int:
    """How many parts two paths share from the beginning.

    >>> shared_parts(["renders", "a"], ["renders", "b"])
    1
    """
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
