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
    """The encoding of a text file by its first bytes.

    >>> [text_encoding(text.encode("utf-16-be")) for text in ("image;prompt", "画像,プロンプト\\r\\n")]
    ['utf-16-be', 'utf-16-be']
    """
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return unmarked_utf16(start) or "utf-8-sig"


_CONTROLS = bytes(code for code in range(32) if code not in b"\t\n\r\x1b")


def unmarked_utf16(data: bytes, declared: bool = False) -> str | None:
    """The byte order of UTF-16 without a mark; None where it is something else.

    Of the two bytes of a character the high one repeats; in most scripts, and in the ASCII that others
    hold, it is a control code, which text of other encodings has not.

    Args:
        declared: it is UTF-16, whatever its bytes are.

    >>> [unmarked_utf16("一一แมว".encode(order)) for order in ("utf-16-le", "utf-16-be", "utf-8")]
    ['utf-16-le', 'utf-16-be', None]
    """
    bare = data[:100_000].rstrip(b"\0")
    first, second = bare[::2], bare[1::2]
    counts = [(first.count(code), second.count(code), code) for code in _CONTROLS]
    *most, code = max(counts, key=lambda count: max(count[:2]))
    few, many = sorted(most)
    # Nought stands above ASCII, which is everywhere; another, as in Thai, above most of the text.
    if not declared and (many * (4 if code else 16) <= len(bare) or few * 2 >= many):
        return None
    kinds = len(set(first)), len(set(second))
    is_big = kinds[0] < kinds[1] if kinds[0] != kinds[1] else most[0] > most[1]
    return "utf-16-be" if is_big else "utf-16-le"


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
