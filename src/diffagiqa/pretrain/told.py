"""Captions of which it is known, word by word, what is true of a picture: the lesson of the word task.

In the made world the scene graph decides. Of a real picture only its own caption is known, so a word
of another caption counts as false where it does not stand in the own one, and only words that many
captions share take part: rare ones would be learnt by heart.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from diffagiqa.synth.captions import Caption, Claim
    from diffagiqa.synth.scene import Scene

UNKNOWN = -1
_OF_THINGS = ("kind", "colour", "material", "size", "count")
OWN, NEAR = 0.4, 0.35
"""Shares of captions that were asked for, and that differ from the picture in one thing; else any."""
COMMON = 5
"""A word of real captions takes part where so many different captions have it."""
_WORD = re.compile(r"[^\W\d_]+")
# Grammar, and what every caption of AGIQA-3K's kind says of itself ("... style", "... view").
_SILENT = frozenset(
    {"a", "an", "and", "are", "as", "at", "by", "for", "from", "in", "into", "is", "it", "its", "of",
     "on", "or", "over", "that", "the", "their", "there", "this", "to", "with", "who", "while", "under",
     "very", "style", "color", "view"}
)  # fmt: skip


@dataclass(frozen=True)
class Told:
    """A caption, and the parts ``text[start:end]`` of it that claim something."""

    text: str
    spans: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class MadeLesson:
    """A made picture and the caption it is told, which speaks of the scene ``meant``."""

    caption: Caption
    meant: Scene
    shown: Scene
    related: bool
    """Whether ``meant`` and ``shown`` have the same things in the same order."""

    @property
    def told(self) -> Told:
        return Told(self.caption.text, tuple((c.start, c.end) for c in self.caption.claims))

    @property
    def values(self) -> list[int]:
        """The numbers among ``world_values`` of what the claims say."""
        numbers = world_values()
        return [numbers[claim.aspect, claim.value] for claim in self.caption.claims]

    @property
    def seen(self) -> list[int]:
        """Of every one of ``world_values``, whether anything of the picture has it."""
        return shows(self.shown)

    def truth(self, other: MadeLesson | RealLesson) -> list[int]:
        """Of every claim of ``other``'s caption, whether this picture shows it."""
        from diffagiqa.synth.captions import holds

        if not isinstance(other, MadeLesson):
            return [UNKNOWN] * len(other.told.spans)
        if other is self and self.related:
            return [int(holds(claim, self.shown)) for claim in self.caption.claims]
        return [_holds_of_another(c, other.meant, self.shown) for c in other.caption.claims]


@dataclass(frozen=True)
class RealLesson:
    """A real picture and the caption it is told: its own or another one's."""

    told: Told
    own: frozenset[str]

    @property
    def values(self) -> list[int]:
        return [UNKNOWN] * len(self.told.spans)

    @property
    def seen(self) -> list[int]:
        return [UNKNOWN] * len(world_values())

    def truth(self, other: MadeLesson | RealLesson) -> list[int]:
        """Of every common word of ``other``'s caption, whether it stands in this picture's own one."""
        text, spans = other.told.text, other.told.spans
        if not isinstance(other, RealLesson):
            return [UNKNOWN] * len(spans)
        return [int(text[start:end].lower() in self.own) for start, end in spans]


def tell_made(
    asked: Scene, shown: Scene, other: Scene, generator: np.random.Generator
) -> MadeLesson:
    """A caption of what was asked for, of something near it, or of another scene."""
    from diffagiqa.synth.captions import describe
    from diffagiqa.synth.misalign import applicable, misalign

    dice = generator.random()
    meant = asked if dice < OWN + NEAR else other
    if OWN <= dice < OWN + NEAR:
        kinds = [kind for kind in applicable(asked) if kind != "missing object"]
        meant = misalign(asked, str(generator.choice(kinds)), generator, "train").scene
    return MadeLesson(describe(meant, generator), meant, shown, dice < OWN + NEAR)


def _holds_of_another(claim: Claim, meant: Scene, shown: Scene) -> int:
    """Whether ``shown`` has anything that the claim about ``meant`` fits."""
    if claim.aspect in ("background", "style", "light"):
        return int(getattr(shown, claim.aspect) == claim.value)
    kind = meant.entities[claim.entity].kind
    alike = [one for one in shown.entities if one.count > 0 and one.kind == kind]
    if claim.aspect == "relation":
        return UNKNOWN if alike else 0
    return int(any(getattr(one, claim.aspect) == claim.value for one in alike))


def tell_real(own: str, other: str | None, common: Collection[str]) -> RealLesson:
    """The own caption, or another one."""
    text = own if other is None else other
    spans = [m.span() for m in _WORD.finditer(text) if m[0].lower() in common]
    return RealLesson(Told(text, tuple(spans)), frozenset(words_of(own)))


def common_words(captions: Iterable[str]) -> frozenset[str]:
    """Words that stand in ``COMMON`` or more different captions, grammar left out."""
    counts = Counter(word for text in set(captions) for word in set(words_of(text)))
    return frozenset(w for w, n in counts.items() if n >= COMMON and w not in _SILENT)


def words_of(text: str) -> list[str]:
    """The words of a text, in small letters.

    >>> words_of("A red fox, oil-painting")
    ['a', 'red', 'fox', 'oil', 'painting']
    """
    return [match[0].lower() for match in _WORD.finditer(text)]


@lru_cache(maxsize=1)
def world_values() -> dict[tuple[str, str | int], int]:
    """All that captions of the made world can say, (aspect, value), numbered."""
    from diffagiqa.synth import grammar

    values: list[tuple[str, str | int]] = [("count", number) for number in grammar.COUNT_WORDS]
    for aspect, words in (
        ("kind", grammar.KINDS), ("colour", grammar.COLOURS), ("material", grammar.MATERIALS),
        ("size", grammar.SIZES), ("background", grammar.BACKGROUNDS), ("style", grammar.STYLES),
        ("light", grammar.LIGHTS), ("relation", grammar.RELATIONS),
    ):  # fmt: skip
        values += [(aspect, value) for value in words if value]
    return {value: number for number, value in enumerate(values)}


def shows(scene: Scene) -> list[int]:
    """Of every one of ``world_values``, 1 where anything of the scene has it, else 0."""
    from diffagiqa.synth.grammar import INVERSES

    here = {(a, getattr(scene, a)) for a in ("background", "style", "light")}
    for one in scene.entities:
        if one.count > 0:
            here |= {(aspect, getattr(one, aspect)) for aspect in _OF_THINGS}
    for relation in scene.relations:
        predicate = relation.predicate
        here |= {("relation", predicate), ("relation", INVERSES.get(predicate, predicate))}
    return [int(value in here) for value in world_values()]


@lru_cache(maxsize=1)
def usual_values(scenes: int = 2000) -> tuple[float, ...]:
    """Of each of ``world_values``, the share of the made world's scenes that have it, 0.01 to 0.99."""
    from diffagiqa.synth.scene import sample_scene

    numbers = np.random.default_rng(0)
    seen = [shows(sample_scene(numbers, "train")) for _ in range(scenes)]
    return tuple(np.clip(np.mean(seen, axis=0), 0.01, 0.99).tolist())


@dataclass(frozen=True)
class Truth:
    """What is known of the pictures and captions of a batch; 1, 0, or ``UNKNOWN``."""

    parts: Tensor  # (pictures, parts of all captions)
    seen: Tensor  # (pictures, world_values)
    values: Tensor  # (parts of all captions,) number among world_values, or UNKNOWN

    @classmethod
    def of(cls, lessons: Sequence[MadeLesson | RealLesson]) -> Truth:
        """Every picture against every caption, its own and the others'."""
        parts = [[value for one in lessons for value in this.truth(one)] for this in lessons]
        values = [value for one in lessons for value in one.values]
        return cls(
            torch.tensor(parts, dtype=torch.long),
            torch.tensor([one.seen for one in lessons]),
            torch.tensor(values, dtype=torch.long),
        )


@dataclass(frozen=True)
class Tokens:
    """Ids (B, L), and of the tokens that claim something their caption, place and part, (T,) each."""

    ids: Tensor
    captions: Tensor
    places: Tensor
    parts: Tensor
    """Number of the part among those of all captions, in order."""


def tokenise(tokenizer: Any, told: Sequence[Told], length: int) -> Tokens:
    """Captions -> padded ids and the tokens of their claiming parts; longer captions are cut."""
    found = tokenizer(
        [one.text for one in told],
        padding="max_length",
        max_length=length,
        truncation=True,
        return_offsets_mapping=True,
    )
    rows, first = [], 0
    for caption, (one, offsets) in enumerate(zip(told, found["offset_mapping"], strict=True)):
        for part, (start, end) in enumerate(one.spans):
            rows += [
                (caption, place, first + part)
                for place, (left, right) in enumerate(offsets)
                if left < end and right > start
            ]
        first += len(one.spans)
    columns = torch.tensor(rows, dtype=torch.long).reshape(-1, 3).T
    return Tokens(torch.tensor(found["input_ids"]), *columns)
