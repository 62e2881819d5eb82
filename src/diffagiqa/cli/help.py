"""Docstrings of commands -> the text of ``--help``, readable at any width; plain words for types."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

from typer.core import TyperCommand, TyperGroup

_TYPES = {"bool": "", "str": "text", "int": "number", "float": "number", "Path": "path"}


def plain_type(shown: str | None) -> str:
    """What a flag takes, in plain words; nothing for one that takes nothing.

    >>> [plain_type(name) for name in ("<bool>", "<list[Path]>", "<int range>", "<a|b>", "METHOD")]
    ['', 'path', 'number', 'a|b', 'METHOD']
    """
    bare = re.sub(r"[<>\]]|list\[|\.\.\.| range", "", shown or "")
    return _TYPES.get(bare, bare)


def plain_range(shown: str | None) -> str | None:
    """The range of a number; the upper limit of a seed is left out, which only widens the table.

    >>> plain_range("0<=x<=9223372036854775807"), plain_range("1<=x<=200")
    ('x>=0', '1<=x<=200')
    """
    return re.sub(r"0<=x<=\d{19}", "x>=0", shown) if shown else shown


_PLAIN = {"display_type_rich": plain_type, "_get_number_range_help_str": plain_range}


class _Plain:
    """Types and ranges of parameters in plain words; older versions of Typer say less anyway."""

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            for name, plain in _PLAIN.items():
                method = getattr(type(param), name, None)
                if method is not None:
                    method = method.__get__(param)
                    setattr(param, name, lambda *a, method=method, p=plain, **k: p(method(*a, **k)))
        return params


class Command(_Plain, TyperCommand):
    """A command whose ``--help`` says types in plain words."""


class Group(_Plain, TyperGroup):
    """The same for a command with sub-commands."""


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
