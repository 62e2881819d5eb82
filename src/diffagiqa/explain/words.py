"""A prompt -> the words that can be left out of it, by their place in the text."""

from __future__ import annotations

import re
from typing import NamedTuple

# Said by several words, meant as one; the longest is tried first.
PHRASES = (
    "to the left of", "to the right of", "on the left of", "on the right of", "in front of",
    "on top of", "left of", "right of", "next to", "close to", "made of", "lit by",
)  # fmt: skip
# Grammar only: leaving them out says nothing about the image.
SILENT = frozenset(
    {"a", "an", "the", "of", "and", "with", "is", "are", "that", "this", "there", "it", "its", "to",
     "at", "by", "for", "from", "as", "or", "be", "has", "having", "in", "on", "out", "into",
     "his", "her", "their"}
)  # fmt: skip
_WORD = re.compile(r"[^\W_]+(?:['\u2019\-][^\W_]+)*")


class Word(NamedTuple):
    """``prompt[start:end]`` is the word, or a phrase that means one thing."""

    text: str
    start: int
    end: int


def split_words(prompt: str) -> list[Word]:
    """Words and phrases that claim something, in the order of the text.

    >>> [word.text for word in split_words("a red fox to the left of the cup, in oil")]
    ['red', 'fox', 'to the left of', 'cup', 'oil']
    """
    pattern = "|".join(re.escape(phrase) for phrase in sorted(PHRASES, key=len, reverse=True))
    words, end = [], 0
    for match in re.finditer(rf"\b(?:{pattern})\b|{_WORD.pattern}", prompt, re.IGNORECASE):
        if match.start() >= end and match[0].lower() not in SILENT:
            words.append(Word(match[0], match.start(), match.end()))
            end = match.end()
    return words


def without(prompt: str, word: Word) -> str:
    """The prompt with one word left out, spaces and commas tidied.

    >>> without("a red fox, in snow", Word("red", 2, 5))
    'a fox, in snow'
    """
    text = f"{prompt[: word.start]} {prompt[word.end :]}"
    text = re.sub(r"\s+", " ", text)
    return re.sub(r"(?:\s*,)+", ",", text).strip(" ,")
