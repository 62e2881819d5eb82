"""Errors that a user can cause, each message one sentence: found, expected, what to do; and how it shows
a text of the user's."""

from __future__ import annotations

from importlib.util import find_spec
from unicodedata import category

_BIDI = frozenset(
    "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)  # change the order of others


def printable(text: str) -> str:
    """A text as it was written, safe to print on one line.

    Escaped are control characters, line separators, bidi overrides and isolates, bytes that could not be
    decoded, and what Unicode has not assigned. Wide and narrow spaces and joiners stay.

    >>> print(printable("cat\\x1b[2J.png"))
    cat\\x1b[2J.png
    """
    if text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode()
        if char in _BIDI or category(char) in ("Cc", "Cs", "Cn", "Zl", "Zp")
        else char
        for char in text
    )


def quoted(text: str) -> str:
    """``printable`` between quotes, for a name or a value in a sentence."""
    return f"'{printable(text)}'"


class DiffAGIQAError(Exception):
    """Base of all these errors; the command line prints the message and exits with 2."""


class ImageError(DiffAGIQAError):
    """An image cannot be read, or is outside the limits."""


class PromptError(DiffAGIQAError):
    """A prompt cannot be used: no text, or too long."""


class TableError(DiffAGIQAError):
    """A table of images, labels or scores is malformed, or does not fit what it is used with."""


class DatabaseError(DiffAGIQAError):
    """A quality database is not laid out as distributed."""


class ConfigError(DiffAGIQAError):
    """An argument or configuration value is unknown, of the wrong type or out of range."""


class BackboneError(DiffAGIQAError):
    """The backbone (diffusion model) cannot be found, or lacks parts."""


class WeightsError(DiffAGIQAError):
    """Trained weights cannot be found, or do not fit their configuration or backbone."""


class DeviceError(DiffAGIQAError):
    """The device has too little memory for what was asked."""


class TrainingError(DiffAGIQAError):
    """A training run cannot start or continue."""


class MissingExtraError(DiffAGIQAError):
    """An optional dependency is not installed."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(
            f"{library} is not installed; install it with: pip install 'diffagiqa[{extra}]'"
        )


def need_extra(library: str, extra: str) -> None:
    """Raise MissingExtraError where an optional library is not installed; nothing is imported."""
    if find_spec(library) is None:
        raise MissingExtraError(library, extra)
