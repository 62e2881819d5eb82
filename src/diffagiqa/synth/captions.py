"""Captions: varied sentences of which every claiming word is known by its place in the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diffagiqa.synth.grammar import (
    BACKGROUNDS,
    COUNT_WORDS,
    INVERSES,
    KINDS,
    LIGHTS,
    MATERIALS,
    RELATIONS,
    SIZES,
    STYLES,
)
from diffagiqa.synth.scene import Entity, Relation, Scene


@dataclass(frozen=True, slots=True)
class Claim:
    """What some words of a caption say about the scene.

    Attributes:
        start, end: the words are ``text[start:end]``.
        aspect: kind, colour, material, size, count, relation, background, style or light.
        value: the value claimed, as it stands in the graph (for a relation: the predicate spoken).
        entity: position of the entity spoken of, or of a relation's subject; -1 for the whole scene.
        other: position of a relation's object; else -1.
    """

    start: int
    end: int
    aspect: str
    value: str | int
    entity: int = -1
    other: int = -1


@dataclass(frozen=True, slots=True)
class Caption:
    """A sentence and its claims, in the order of the text."""

    text: str
    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class _Words:
    """A piece of a sentence; without an aspect it claims nothing."""

    text: str
    aspect: str = ""
    value: str | int = ""
    entity: int = -1
    other: int = -1


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """One natural sentence for the scene.

    >>> from diffagiqa.synth.scene import sample_scene
    >>> len(caption(sample_scene(np.random.default_rng(1)), np.random.default_rng(2))) > 5
    True
    """
    return describe(scene, rng).text


def describe(scene: Scene, rng: np.random.Generator, complete: bool = False) -> Caption:
    """A sentence with its claims.

    Args:
        complete: speak of everything (colours, background, style, light); otherwise some is left out.
    """
    keep = 1.1 if complete else 0.86
    things = _things(scene, rng, keep)
    background = [
        _Words(_any(rng, BACKGROUNDS[scene.background].phrases), "background", scene.background)
    ]
    has_background = rng.random() < keep
    style = STYLES[scene.style]
    spoken_style = rng.random() < (1.1 if complete else 0.8)
    light = _light(scene, rng, keep)
    form = rng.random()
    if spoken_style and form < 0.45:
        words = [_Words(_any(rng, style.before), "style", scene.style), *things]
        if has_background:
            words += background
        words += light
    else:
        if has_background and form > 0.9:
            words = [*background, _Words(","), *things]
        else:
            opening = [_Words("there is")] if form > 0.84 and scene.entities[0].count == 1 else []
            comma = [_Words(",")] if has_background and rng.random() < 0.25 else []
            words = [*opening, *things, *comma, *(background if has_background else [])]
        words += light
        if spoken_style:
            words += [_Words(","), _Words(_any(rng, style.after), "style", scene.style)]
    return _join(words)


def _light(scene: Scene, rng: np.random.Generator, keep: float) -> list[_Words]:
    phrases = LIGHTS[scene.light]
    if not phrases or rng.random() > keep:
        return []
    return [_Words(","), _Words(_any(rng, phrases), "light", scene.light)]


def _any(rng: np.random.Generator, values: Sequence[str]) -> str:
    return values[int(rng.integers(len(values)))]


def _entity(entity: Entity, index: int, rng: np.random.Generator, keep: float) -> list[_Words]:
    words = []
    if entity.count > 1:
        words.append(_Words(_any(rng, COUNT_WORDS[entity.count]), "count", entity.count, index))
    elif rng.random() < 0.12:
        words.append(_Words(_any(rng, ("one", "a single")), "count", 1, index))
    else:
        words.append(_Words("a", "count", 1, index))
    colour = [_Words(entity.colour, "colour", entity.colour, index)] if rng.random() < keep else []
    if entity.size and rng.random() < keep:
        words.append(_Words(_any(rng, SIZES[entity.size]), "size", entity.size, index))
    material = []
    if entity.material and rng.random() < keep:
        material.append(
            _Words(_any(rng, MATERIALS[entity.material]), "material", entity.material, index)
        )
    noun = KINDS[entity.kind].plural if entity.count > 1 else entity.kind
    kind = _Words(noun, "kind", entity.kind, index)
    if colour and not material and entity.count == 1 and rng.random() < 0.07:
        return [*words, kind, _Words("that is"), *colour]
    both = [*colour, *material] if rng.random() < 0.6 else [*material, *colour]
    return [*words, *both, kind]


def _things(scene: Scene, rng: np.random.Generator, keep: float) -> list[_Words]:
    phrases = [_entity(entity, i, rng, keep) for i, entity in enumerate(scene.entities)]
    if not scene.relations:
        return [
            word
            for i, phrase in enumerate(phrases)
            for word in ([_Words("and")] if i else []) + phrase
        ]
    first, *rest = scene.relations
    words = _relation(first, phrases, rng)
    if not rest:
        return words
    third = rest[0]
    near = _Words(
        _any(rng, RELATIONS[third.predicate]),
        "relation",
        third.predicate,
        third.subject,
        third.object,
    )
    noun = _Words(
        f"the {_noun(scene.entities[third.object])}",
        "kind",
        scene.entities[third.object].kind,
        third.object,
    )
    return [
        *words,
        _Words(_any(rng, (", and", "and", ", with"))),
        *phrases[third.subject],
        near,
        noun,
    ]


def _noun(entity: Entity) -> str:
    return KINDS[entity.kind].plural if entity.count > 1 else entity.kind


def _relation(
    relation: Relation, phrases: list[list[_Words]], rng: np.random.Generator
) -> list[_Words]:
    subject, predicate, other = relation.subject, relation.predicate, relation.object
    if predicate in INVERSES and rng.random() < 0.25:
        subject, predicate, other = other, INVERSES[predicate], subject
    spoken = _Words(_any(rng, RELATIONS[predicate]), "relation", predicate, subject, other)
    return [*phrases[subject], spoken, *phrases[other]]


def _join(words: list[_Words]) -> Caption:
    text, claims = "", []
    for i, word in enumerate(words):
        spoken = word.text
        if spoken == "a" and i + 1 < len(words) and words[i + 1].text[0] in "aeiou":
            spoken = "an"
        if text and not spoken.startswith(","):
            text += " "
        start = len(text)
        text += spoken
        if word.aspect:
            claims.append(Claim(start, len(text), word.aspect, word.value, word.entity, word.other))
    return Caption(text, tuple(claims))


def holds(claim: Claim, scene: Scene) -> bool:
    """Whether the scene shows what the claim says. What is absent (count 0) has no attributes."""
    if claim.aspect in ("background", "style", "light"):
        return bool(getattr(scene, claim.aspect) == claim.value)
    entity = scene.entities[claim.entity]
    if claim.aspect != "relation":
        return entity.count > 0 and bool(getattr(entity, claim.aspect) == claim.value)
    if entity.count == 0 or scene.entities[claim.other].count == 0:
        return False
    here = {(r.subject, r.predicate, r.object) for r in scene.relations}
    here |= {(o, INVERSES[p], s) for s, p, o in here if p in INVERSES}
    return (claim.entity, claim.value, claim.other) in here


def violated(caption: Caption, scene: Scene) -> tuple[Claim, ...]:
    """The claims of a caption that a scene does not show: the truth of word-level explanations."""
    return tuple(claim for claim in caption.claims if not holds(claim, scene))
