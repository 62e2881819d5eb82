"""The values of a large JSON list or object, one after the other at flat memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TextIO

from diffagiqa.data.lines import is_utf8
from diffagiqa.errors import quoted

_CHUNK = 1 << 20
_MAX_VALUE = 4 << 20  # characters; an entry of the known databases has a few thousand


def json_values(file: TextIO) -> Iterator[tuple[int | str, Any]]:
    """The values of a JSON list or of JSON Lines, with their numbers from 1; of an object, with its keys.

    Raises:
        ValueError, RecursionError: at the first that cannot be read.
    """
    reader, number = _Reader(file), 0
    opening = reader.next_mark()
    if opening not in ("[", "{"):
        raise ValueError("it is neither a list nor an object")
    lines = opening == "{" and reader.is_lines()
    closing = "" if lines else {"[": "]", "{": "}"}[opening]
    if not lines:
        reader.skip(1)
    while (mark := reader.next_mark()) != closing:
        if mark == "" or (number and not lines and mark != ","):
            raise ValueError("it is cut short, or a comma is missing")
        if number and not lines:
            reader.skip(1)
        number += 1
        key: int | str = number
        if opening == "{" and not lines:
            key = str(reader.value())
            if reader.next_mark() != ":":
                raise ValueError(f"{quoted(key)} has no value")
            reader.skip(1)
        yield key, reader.value()


class _Reader:
    """A text file with a window on what comes next."""

    def __init__(self, file: TextIO) -> None:
        self.file, self.text, self.position, self.ended = file, "", 0, False
        self.decoder = json.JSONDecoder()

    def more(self) -> bool:
        """Read on; False at the end of the file."""
        part = self.file.read(_CHUNK)
        if not is_utf8([part]):
            raise ValueError("it is not UTF-8")
        self.text, self.position = self.text[self.position :] + part, 0
        return bool(part)

    def next_mark(self) -> str:
        """The next character that is no space, which stays; "" at the end."""
        while True:
            while self.position < len(self.text) and self.text[self.position] in " \t\r\n":
                self.position += 1
            if self.position < len(self.text):
                return self.text[self.position]
            if not self.more():
                return ""

    def skip(self, count: int) -> None:
        self.position += count

    def is_lines(self) -> bool:
        """Whether the first line is an object by itself and another follows: JSON Lines."""
        line = self.text[self.position :].split("\n", 1)
        try:
            return isinstance(json.loads(line[0]), dict) and len(line) > 1 and line[1].strip() != ""
        except ValueError:
            return False

    def value(self) -> Any:
        """The next value."""
        self.next_mark()
        while True:
            try:
                value, self.position = self.decoder.raw_decode(self.text, self.position)
                return value
            except json.JSONDecodeError as fault:
                if len(self.text) - self.position > _MAX_VALUE:
                    raise ValueError(f"an entry of over {_MAX_VALUE:,} characters") from None
                if not self.more():
                    raise ValueError(fault.msg) from None
