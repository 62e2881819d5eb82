"""Checks of the public functions' arguments: a wrong one is named in one sentence.

Every check takes the argument's name and value, returns the value, and raises ``ConfigError``.
"""

from __future__ import annotations

import math
import numbers
import operator
import os
from collections.abc import Collection, Iterable, Mapping, Set
from typing import Any, TypeVar

from diffagiqa.errors import ConfigError, quoted

T = TypeVar("T")
MAX_SEED = 2**63 - 1
"""The largest seed that every way to score takes."""


def shown(value: Any) -> str:
    """A value as a sentence shows it: texts in quotes, numbers as Python writes them, else the type.

    >>> shown("4"), shown(2.5), shown([1, 2])
    ("'4'", '2.5', 'of type list')
    """
    if isinstance(value, str):
        return quoted(value[:80])
    if value is None or isinstance(value, (bytes, int, float)):
        return repr(value)[:80]
    return f"of type {type(value).__name__}"


def instance(name: str, value: T, kind: Any, expected: str) -> T:
    """An object of a class."""
    if not isinstance(value, kind):
        raise _unlike(name, value, expected)
    return value


def whole(name: str, value: Any, low: int = 0) -> int:
    """A whole number of ``low`` or more, Python's or NumPy's; not True or False."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < low:
        raise _unlike(name, value, f"a whole number of {low} or more")
    return operator.index(value)


def number(name: str, value: Any) -> float:
    """A finite number; not True or False."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not real or not -math.inf < value < math.inf:
        raise _unlike(name, value, "a finite number")
    return float(value)


def flag(name: str, value: Any) -> bool:
    """True or False, and nothing that is merely truthy or falsy."""
    return instance(name, value, bool, "True or False")


def text(name: str, value: Any) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        raise _unlike(name, value, "a text")
    return value


def location(name: str, value: Any, expected: str = "a path") -> str:
    """A path as text; an empty one, which would be the current folder, is refused."""
    if not isinstance(value, (str, os.PathLike)) or not (found := os.fsdecode(value)):
        raise _unlike(name, value, expected)
    return found


def one_of(name: str, value: Any, known: Collection[str]) -> str:
    """One of the known texts."""
    if not isinstance(value, str) or value not in known:
        raise _unlike(name, value, f"one of {', '.join(known)}")
    return value


def several(name: str, value: Any, expected: str) -> Iterable[Any]:
    """An iterable with an order; a text does not count as one of its characters."""
    try:
        if isinstance(value, (str, bytes, bytearray, Mapping, Set)):
            raise TypeError
        iter(value)
    except TypeError:
        raise _unlike(name, value, expected) from None
    return value  # type: ignore[no-any-return]


def _unlike(name: str, value: Any, expected: str) -> ConfigError:
    return ConfigError(f"{name} is {shown(value)}; expected {expected}")
