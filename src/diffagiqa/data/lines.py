"""Lines of text files: UTF-8 or UTF-16, bounded in length."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterable
from typing import BinaryIO, TextIO

MAX_LINE = 1_000_000  # characters; ten prompts of the longest kind
_ENDS = ("\n", "\r")
_LONE = "diffagiqa.lone"
codecs.register_error(_LONE, lambda fault: ("\udcff", fault.end))  # type: ignore[attr-defined]


def open_text(file: BinaryIO) -> io.TextIOWrapper:
    """A file as UTF-8 or UTF-16 text, whichever it is; line ends stay.

    Bytes that are neither become lone surrogates, so that they spoil only their own line (``is_utf8``).
    """
    buffered = io.BufferedReader(file)  # type: ignore[type-var]  # whatever fsspec opens can be read
    encoding = text_encoding(buffered.peek(4096)[:4096])
    return io.TextIOWrapper(buffered, encoding, errors=_LONE, newline="")


def text_encoding(start: bytes) -> str:
    """The encoding of a text file by its first bytes: what is half zeros is UTF-16 without a mark.

    >>> [text_encoding(text.encode("utf-16-be")) for text in ("image;prompt", "画像,プロンプト\\r\\n")]
    ['utf-16-be', 'utf-16-be']
    """
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    high, low = start[::2].count(0), start[1::2].count(0)
    if max(high, low) * 16 > len(start) and min(high, low) * 8 < max(high, low):
        return "utf-16-be" if high > low else "utf-16-le"
    return "utf-8-sig"


def is_utf8(texts: Iterable[str]) -> bool:
    """Whether no text holds a lone surrogate, which stands for bytes that could not be decoded."""
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return False
    return True


class LongLineError(ValueError):
    """A line of over ``MAX_LINE`` characters, of which nothing is kept."""


def next_line(file: TextIO) -> str:
    """The next line of a file, empty at its end; a long one is read over and raised.

    >>> file = io.StringIO("x" * 2_000_000 + "\\nshort")
    >>> try: next_line(file)
    ... except LongLineError as fault: print(fault)
    a line of over 1,000,000 characters
    >>> next_line(file), next_line(file)
    ('short', '')
    """
    line = file.readline(MAX_LINE + 1)
    if len(line) <= MAX_LINE or line.endswith(_ENDS):
        return line
    while (rest := file.readline(MAX_LINE)) and not rest.endswith(_ENDS):
        pass
    raise LongLineError(f"a line of over {MAX_LINE:,} characters")
