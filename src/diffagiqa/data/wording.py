"""Numbers of things in words."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """A number of things, with the verb that they take where ``one`` has one and ``many`` its plural.

    >>> counted(1, "prompt"), counted(2, "prompt"), counted(12, "row has", "rows have")
    ('1 prompt', '2 prompts', '12 rows have')
    >>> counted(20_000, "row")
    '20,000 rows'
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"
