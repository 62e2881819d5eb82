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


def _plainly(params: list[Any]) -> list[Any]:
    """Parameters that say ``plain_type`` of themselves; older versions of Typer say less anyway."""
    for param in params:
        own = getattr(type(param), "display_type_rich", None)
        if own is not None:
            param.display_type_rich = lambda ctx, own=own, param=param: plain_type(own(param, ctx))
    return params


class Command(TyperCommand):
    """A command whose ``--help`` names types in plain words."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _plainly(super().get_params(ctx))


class Group(TyperGroup):
    """The same for a command with sub-commands."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _plainly(super().get_params(ctx))


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
