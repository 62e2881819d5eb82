"""What a prompt is once it is read: cleaned, bounded, one per image; and whether it is English."""

from __future__ import annotations

import re
from collections.abc import Iterable

from diffagiqa import checks
from diffagiqa.data.wording import counted
from diffagiqa.errors import ConfigError, PromptError

MAX_PROMPT_CHARACTERS = 100_000

_BLANK = re.compile("[\t\n\v\f\r\x85\u2028\u2029]+")
_INVISIBLE = re.compile(  # tag characters stay in flags, such as that of Wales
    "(\U0001f3f4[\U000e0030-\U000e007a]{3,6}\U000e007f)"
    "|[\x00-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
# Each run of joiners is tried from its beginning alone: from every place, a long one would take minutes.
_JOINERS = re.compile(
    "(?<![^\x00-\x7f])[\u200c\u200d]+|(?<![\u200c\u200d])[\u200c\u200d]+(?![^\x00-\x7f])"
)
_SURROGATE = re.compile("[\ud800-\udfff]")


def clean_prompt(text: str) -> str:
    """The prompt as it is scored, shown and written: what a reader sees and nothing hidden.

    Line breaks and tabs become a space. Control characters, bidi overrides, embeddings and isolates
    (they make text show in another order), zero-width spaces and tag characters are removed. The
    zero-width joiners stay between characters outside ASCII, where scripts and emoji need them.
    Lone surrogates become U+FFFD. Spaces of any kind at the ends go. PromptError above
    MAX_PROMPT_CHARACTERS, and for what is no text, such as the NaN of an empty cell.

    >>> clean_prompt(" a\\tred\\x00 \\u202ecat\\n")
    'a red cat'
    """
    if not isinstance(text, str):
        raise PromptError(
            f'the prompt is {str(text)[:40]} of type {type(text).__name__}; give a text, "" for none'
        )
    if len(text) > MAX_PROMPT_CHARACTERS:
        raise PromptError(
            f"the prompt has {len(text):,} characters, and the limit is "
            f"{MAX_PROMPT_CHARACTERS:,}; shorten it."
        )
    text = _INVISIBLE.sub(r"\1", _BLANK.sub(" ", text))
    return _SURROGATE.sub("\ufffd", _JOINERS.sub("", text)).strip()


def prompt_per_image(prompts: str | Iterable[str], count: int) -> list[str]:
    """The prompts of ``count`` images: one text for all of them, or a list of one each.

    >>> prompt_per_image("a fox", 2)
    ['a fox', 'a fox']

    Raises:
        ConfigError: it is neither, or there are more or fewer.
    """
    if isinstance(prompts, str):
        return [prompts] * count
    texts = list(checks.several("prompts", prompts, "a text, or a list of one text per image"))
    if len(texts) != count:
        raise ConfigError(
            f"{counted(len(texts), 'prompt was', 'prompts were')} given for {counted(count, 'image')}; "
            "expected one for all or one each"
        )
    return texts
