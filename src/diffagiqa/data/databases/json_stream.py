"""Entries of a large JSON list or object, one after the other at flat memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diffagiqa.data.samples import quoted
from diffagiqa.errors import DatabaseError

_CHUNK = 1 << 20
_MAX_ENTRY = 4 << 20  # characters; an entry of the known databases has a few thousand


def json_entries(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects in a JSON list, with their numbers from 1, or in a JSON object, with their keys.

    JSON Lines are read, too.

    Raises:
        DatabaseError: at the first entry that is no object or cannot be read, which it names.
    """
    number = 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            reader = _Reader(file)
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
                key = str(number)
                if opening == "{" and not lines:
                    key = str(reader.value())
                    if reader.next_mark() != ":":
                        raise ValueError(f"{quoted(key)} has no value")
                    reader.skip(1)
                entry = reader.value()
                if not isinstance(entry, dict):
                    raise ValueError(f"it is a {type(entry).__name__}, not an object")
                yield key, entry
    except (ValueError, RecursionError) as fault:  # UnicodeDecodeError is a ValueError
        raise DatabaseError(
            f"{path} cannot be read at entry {max(number, 1)} ({fault}); download it again"
        ) from None


class _Reader:
    """A text file with a window on what comes next."""

    def __init__(self, file: Any) -> None:
        self.file, self.text, self.place, self.ended = file, "", 0, False
        self.decoder = json.JSONDecoder()

    def more(self) -> bool:
        """Read on; False at the end of the file."""
        part = self.file.read(_CHUNK)
        self.text, self.place = self.text[self.place :] + part, 0
        return bool(part)

    def next_mark(self) -> str:
        """The next character that is no space, which stays; "" at the end."""
        while True:
            while self.place < len(self.text) and self.text[self.place] in " \t\r\n":
                self.place += 1
            if self.place < len(self.text):
                return self.text[self.place]
            if not self.more():
                return ""

    def skip(self, count: int) -> None:
        self.place += count

    def is_lines(self) -> bool:
        """Whether the first line is an object by itself and another follows: JSON Lines."""
        line = self.text[self.place :].split("\n", 1)
        try:
            return isinstance(json.loads(line[0]), dict) and len(line) > 1 and line[1].strip() != ""
        except ValueError:
            return False

    def value(self) -> Any:
        """The next value."""
        self.next_mark()
        while True:
            try:
                value, self.place = self.decoder.raw_decode(self.text, self.place)
                return value
            except json.JSONDecodeError as fault:
                if len(self.text) - self.place > _MAX_ENTRY:
                    raise ValueError(f"an entry of over {_MAX_ENTRY:,} characters") from None
                if not self.more():
                    raise ValueError(fault.msg) from None
