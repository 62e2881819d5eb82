"""The names of a table's columns."""

from __future__ import annotations

from collections.abc import Iterable

from diffagiqa.errors import TableError


def check_header(names: Iterable[str], shown: str) -> None:
    """Raise where a column is named twice or not in UTF-8; columns without a name may be several.

    >>> check_header(["image", "", "", "prompt"], "t.csv")
    >>> check_header(["image", "prompt", "prompt"], "t.csv")
    Traceback (most recent call last):
    ...
    diffagiqa.errors.TableError: t.csv has a header that names a column twice or is not UTF-8; correct it.
    """
    named = [name for name in names if name]
    if len(set(named)) < len(named) or not is_utf8(named):
        raise TableError(
            f"{shown} has a header that names a column twice or is not UTF-8; correct it."
        )


def is_utf8(cells: Iterable[str]) -> bool:
    """Whether no cell holds a lone surrogate, which stands for a byte that is not UTF-8."""
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        return False
    return True
