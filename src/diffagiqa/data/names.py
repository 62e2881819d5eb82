"""Pictures by name where two tables write their paths differently."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence


class NameIndex:
    """Names of pictures, found as they are given, else by the parts they share from the end.

    >>> index = NameIndex(["a/cat.png", "b/cat.png", "dog.png"])
    >>> index.find("in/b/cat.png"), index.find("in/dog.png"), index.find("fox.png")
    (['b/cat.png'], ['dog.png'], [])
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._exact = dict.fromkeys(names)
        self._by_last: dict[str, list[str]] = {}
        for name in self._exact:
            self._by_last.setdefault(path_parts(name)[-1], []).append(name)

    def find(self, image: str) -> list[str]:
        """The name itself, else all that share the most parts with it; none where no last part is its."""
        if image in self._exact:
            return [image]
        own = path_parts(image)[::-1]
        alike = self._by_last.get(own[0], ())
        shared = [(shared_parts(own, path_parts(name)[::-1]), name) for name in alike]
        most = max((count for count, _ in shared), default=0)
        return [name for count, name in shared if count == most]


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
