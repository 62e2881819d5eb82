"""For mkdocstrings: doctests in docstrings become blocks of code, without their flags."""

from __future__ import annotations

import re
from typing import Any

import griffe

_BLOCK = re.compile(r"(?:^>>> .*\n?)(?:^(?!\s*$).*\n?)*", re.MULTILINE)
_FLAG = re.compile(r"\s*# doctest: \+[A-Z_]+[^\n]*")


def fenced(text: str) -> str:
    """Every run of lines that begins with ``>>>`` as a fenced block; markdown would quote it thrice."""
    return _BLOCK.sub(lambda m: f"```pycon\n{_FLAG.sub('', m[0]).rstrip()}\n```\n", text)


class Doctests(griffe.Extension):
    """Rewrites the docstring of every object as it is loaded."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)
