"""Captions labelled word by word with what is true of a picture: the examples of the word task.

Of synthetic pictures the scene graph decides. Of a real picture only its own caption is known, so a
word of another caption counts as false if it is not in the own one, and only words that many captions
share take part: rare ones would be learnt by heart.
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
"""Shares of captions: of what was asked for, and of that with one thing changed; the rest are of another
scene."""
COMMON = 5
"""So many different captions must have a word of real captions for it to take part."""
_WORD = re.compile(r"[^\W\d_]+")
# Grammar, and what every caption of AGIQA-3K's kind says of itself ("... style", "... view").
_SILENT = frozenset(
    {"a", "an", "and", "are", "as", "at", "by", "for", "from", "in", "into", "is", "it", "its", "of",
     "on", "or", "over", "that", "the", "their", "there", "this", "to", "with", "who", "while", "under",
     "very", "style", "color", "view"}
)  # fmt: skip


@dataclass(frozen=True)
class AnnotatedCaption:
    """A caption, and its spans ``text[start:end]`` that claim something."""

    text: str
    spans: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class SyntheticExample:
    """A synthetic picture of the scene ``shown``, and a caption of the scene ``described``."""

    caption: Caption
    described: Scene
    shown: Scene
    related: bool
    """Whether ``described`` and ``shown`` have the same things in the same order."""

    @property
    def annotated(self) -> AnnotatedCaption:
        return AnnotatedCaption(
            self.caption.text, tuple((c.start, c.end) for c in self.caption.claims)
        )

    @property
    def values(self) -> list[int]:
        """Of every claim, the number of its value among ``attribute_values``."""
        numbers = attribute_values()
        return [numbers[claim.aspect, claim.value] for claim in self.caption.claims]

    @property
    def attributes(self) -> list[int]:
        """``attribute_vector`` of what is shown."""
        return attribute_vector(self.shown)

    def labels_for(self, other: SyntheticExample | RealExample) -> list[int]:
        """Of every claim of ``other``'s caption, whether this picture shows it."""
        from diffagiqa.synth.captions import holds

        if not isinstance(other, SyntheticExample):
            return [UNKNOWN] * len(other.annotated.spans)
        if other is self and self.related:
            return [int(holds(claim, self.shown)) for claim in self.caption.claims]
        return [_holds_of_another(c, other.described, self.shown) for c in other.caption.claims]


@dataclass(frozen=True)
class RealExample:
    """A real picture, as the words of its ``own`` caption, and a caption: its own or another one's."""

    annotated: AnnotatedCaption
    own: frozenset[str]

    @property
    def values(self) -> list[int]:
        return [UNKNOWN] * len(self.annotated.spans)

    @property
    def attributes(self) -> list[int]:
        return [UNKNOWN] * len(attribute_values())

    def labels_for(self, other: SyntheticExample | RealExample) -> list[int]:
        """Of every common word of ``other``'s caption, whether this picture's own has it."""
        text, spans = other.annotated.text, other.annotated.spans
        if not isinstance(other, RealExample):
            return [UNKNOWN] * len(spans)
        return [int(text[start:end].lower() in self.own) for start, end in spans]


def synthetic_example(
    asked: Scene, shown: Scene, other: Scene, generator: np.random.Generator
) -> SyntheticExample:
    """An example with a caption of what was asked for, of something near it, or of another scene."""
    from diffagiqa.synth.captions import describe
    from diffagiqa.synth.misalign import applicable, misalign

    dice = generator.random()
    described = asked if dice < OWN + NEAR else other
    if OWN <= dice < OWN + NEAR:
        kinds = [kind for kind in applicable(asked) if kind != "missing object"]
        described = misalign(asked, str(generator.choice(kinds)), generator, "train").scene
    return SyntheticExample(describe(described, generator), described, shown, dice < OWN + NEAR)


def _holds_of_another(claim: Claim, described: Scene, shown: Scene) -> int:
    """Whether ``shown`` has anything that the claim about ``described`` fits."""
    if claim.aspect in ("background", "style", "light"):
        return int(getattr(shown, claim.aspect) == claim.value)
    kind = described.entities[claim.entity].kind
    alike = [one for one in shown.entities if one.count > 0 and one.kind == kind]
    if claim.aspect == "relation":
        return UNKNOWN if alike else 0
    return int(any(getattr(one, claim.aspect) == claim.value for one in alike))


def real_example(own: str, other: str | None, common: Collection[str]) -> RealExample:
    """An example with the picture's own caption, or with another one's."""
    text = own if other is None else other
    spans = [m.span() for m in _WORD.finditer(text) if m[0].lower() in common]
    return RealExample(AnnotatedCaption(text, tuple(spans)), frozenset(words_of(own)))


def common_words(captions: Iterable[str]) -> frozenset[str]:
    """Words that ``COMMON`` or more different captions have, grammar left out."""
    counts = Counter(word for text in set(captions) for word in set(words_of(text)))
    return frozenset(w for w, n in counts.items() if n >= COMMON and w not in _SILENT)


def words_of(text: str) -> list[str]:
    """The words of a text, in lower case.

    >>> words_of("A red fox, oil-painting")
    ['a', 'red', 'fox', 'oil', 'painting']
    """
    return [match[0].lower() for match in _WORD.finditer(text)]


@lru_cache(maxsize=1)
def attribute_values() -> dict[tuple[str, str | int], int]:
    """All that captions of synthetic scenes can say: (aspect, value) -> its number."""
    from diffagiqa.synth import grammar

    values: list[tuple[str, str | int]] = [("count", number) for number in grammar.COUNT_WORDS]
    for aspect, words in (
        ("kind", grammar.KINDS), ("colour", grammar.COLOURS), ("material", grammar.MATERIALS),
        ("size", grammar.SIZES), ("background", grammar.BACKGROUNDS), ("style", grammar.STYLES),
        ("light", grammar.LIGHTS), ("relation", grammar.RELATIONS),
    ):  # fmt: skip
        values += [(aspect, value) for value in words if value]
    return {value: number for number, value in enumerate(values)}


def attribute_vector(scene: Scene) -> list[int]:
    """Of every one of ``attribute_values``, 1 if anything in the scene has it, else 0."""
    from diffagiqa.synth.grammar import INVERSES

    here = {(a, getattr(scene, a)) for a in ("background", "style", "light")}
    for one in scene.entities:
        if one.count > 0:
            here |= {(aspect, getattr(one, aspect)) for aspect in _OF_THINGS}
    for relation in scene.relations:
        predicate = relation.predicate
        here |= {("relation", predicate), ("relation", INVERSES.get(predicate, predicate))}
    return [int(value in here) for value in attribute_values()]


@lru_cache(maxsize=1)
def base_rates() -> tuple[float, ...]:
    """Of each of ``attribute_values``, the share of 2000 synthetic scenes that have it, 0.01 to 0.99."""
    from diffagiqa.synth.scene import sample_scene

    numbers = np.random.default_rng(0)
    seen = [attribute_vector(sample_scene(numbers, "train")) for _ in range(2000)]
    return tuple(np.clip(np.mean(seen, axis=0), 0.01, 0.99).tolist())


@dataclass(frozen=True)
class WordLabels:
    """What is true of the pictures of a batch; 1, 0, or ``UNKNOWN``."""

    spans: Tensor  # (pictures, spans of all captions)
    attributes: Tensor  # (pictures, attribute_values)
    values: Tensor  # (spans of all captions,) number among attribute_values, or UNKNOWN

    @classmethod
    def of(cls, examples: Sequence[SyntheticExample | RealExample]) -> WordLabels:
        """Every picture against every caption, its own and the others'."""
        spans = [[value for one in examples for value in this.labels_for(one)] for this in examples]
        values = [value for one in examples for value in one.values]
        return cls(
            torch.tensor(spans, dtype=torch.long),
            torch.tensor([one.attributes for one in examples]),
            torch.tensor(values, dtype=torch.long),
        )


@dataclass(frozen=True)
class Tokens:
    """Ids (B, L), and of the tokens that claim something their caption, place and span, (T,) each."""

    ids: Tensor
    captions: Tensor
    places: Tensor
    spans: Tensor
    """Number of the span among those of all captions, in order."""


def tokenise(tokenizer: Any, captions: Sequence[AnnotatedCaption], length: int) -> Tokens:
    """Captions -> padded ids and the tokens of their spans; longer captions are cut."""
    found = tokenizer(
        [one.text for one in captions],
        padding="max_length",
        max_length=length,
        truncation=True,
        return_offsets_mapping=True,
    )
    rows, first = [], 0
    for caption, (one, offsets) in enumerate(zip(captions, found["offset_mapping"], strict=True)):
        for span, (start, end) in enumerate(one.spans):
            rows += [
                (caption, place, first + span)
                for place, (left, right) in enumerate(offsets)
                if left < end and right > start
            ]
        first += len(one.spans)
    columns = torch.tensor(rows, dtype=torch.long).reshape(-1, 3).T
    return Tokens(torch.tensor(found["input_ids"]), *columns)
