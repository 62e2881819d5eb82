"""Docstrings of commands -> the text of ``--help``, readable at any width."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


def help_text(command: Callable[..., Any]) -> str:
    """Paragraphs flow; below "Example:" or "Examples:" lines stay, a command each unless continued.

    >>> def command() -> None:
    ...     '''Do it.
    ...
    ...     A long line
    ...     goes on.
    ...
    ...     Examples:
    ...         diffagiqa command --once
    ...         diffagiqa command --twice
    ...     '''
    >>> print(help_text(command))
    Do it.
    <BLANKLINE>
    A long line goes on.
    <BLANKLINE>
    Examples:
    $ diffagiqa command --once
    $ diffagiqa command --twice
    """
    shown = []
    for paragraph in inspect.cleandoc(command.__doc__ or "").split("\n\n"):
        first, *rest = (line.strip() for line in paragraph.splitlines())
        if first in ("Example:", "Examples:"):
            goes_on = [line.endswith("\\") for line in [first, *rest]]
            marks = ["    " if before else "$ " for before in goes_on]
            shown.append("\n".join([first, *map("".join, zip(marks, rest, strict=False))]))
        else:
            shown.append(" ".join([first, *rest]))
    return "\n\n".join(shown).replace("[", "\\[")  # rich reads brackets as markup
