"""Alignment failures: a scene is changed, its caption is not; which words are wrong follows.

Truth is read off the graphs: ``captions.violated(caption, changed_scene)`` gives the words that are
not shown, ``severity`` weighs them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from diffagiqa.errors import ConfigError
from diffagiqa.synth.captions import Caption, violated
from diffagiqa.synth.grammar import (
    BACKGROUNDS,
    COLOURS,
    CONTAINERS,
    INVERSES,
    KINDS,
    STYLES,
    SUPPORTS,
    Split,
)
from diffagiqa.synth.scene import Entity, Relation, Scene, has_held_out_combination

Rng = np.random.Generator
# What a violated word of an aspect weighs, set by hand after how much it changes what is seen.
WEIGHTS = {
    "kind": 1.0,
    "colour": 0.7,
    "count": 0.6,
    "relation": 0.6,
    "background": 0.6,
    "style": 0.5,
    "material": 0.5,
    "light": 0.2,
    "size": 0.2,
}
_ATTEMPTS = 60


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of a scene that no longer is what was asked for; entity -1 is the whole scene."""

    aspect: str
    entity: int = -1


@dataclass(frozen=True, slots=True)
class Misaligned:
    """A changed scene and the attributes that were changed."""

    scene: Scene
    violated: tuple[Attribute, ...]


def severity(caption: Caption, shown: Scene) -> float:
    """The weighted count of the caption's claims that ``shown`` does not show; 0 is full alignment."""
    return sum(WEIGHTS[claim.aspect] for claim in violated(caption, shown))


def misalign(scene: Scene, kind: str, rng: Rng, split: Split = "all") -> Misaligned:
    """Change one thing about a scene.

    Args:
        kind: a key of ``MISALIGNMENTS`` that is in ``applicable(scene)``.
        split: the changed scene shows no held-out combination, unless "all" or "test-combinations".
            Where none is found in 60 draws the scene stays as it is, with nothing violated.

    Raises:
        ConfigError: the kind is unknown or cannot apply to this scene.
    """
    if kind not in MISALIGNMENTS:
        raise ConfigError(
            f"the misalignment is {kind!r}; expected one of {', '.join(MISALIGNMENTS)}"
        )
    if kind not in applicable(scene):
        raise ConfigError(f"{kind!r} cannot apply to this scene; use one of its applicable kinds")
    for _ in range(_ATTEMPTS):
        changed = MISALIGNMENTS[kind](scene, rng)
        allowed = split in ("all", "test-combinations") or not has_held_out_combination(
            changed.scene
        )
        if allowed:
            return changed
    return Misaligned(scene, ())


def applicable(scene: Scene) -> list[str]:
    """The kinds of misalignment that can change this scene."""
    shown = _shown(scene)
    kinds = ["wrong style", "wrong background"]
    if shown:
        kinds += ["wrong object", "wrong colour", "wrong material"]
        if any(scene.entities[i].count != 1 or not scene.relations for i in shown):
            kinds.append("wrong count")
    if len(shown) > 1:
        kinds.append("missing object")
        if len({scene.entities[i].colour for i in shown}) > 1:
            kinds.append("swapped attributes")
    if scene.relations and len(shown) == len(scene.entities):
        kinds.append("wrong relation")
    return [kind for kind in MISALIGNMENTS if kind in kinds]


def _shown(scene: Scene) -> list[int]:
    return [i for i, entity in enumerate(scene.entities) if entity.count]


def _pick(rng: Rng, values: list[str]) -> str:
    return values[int(rng.integers(len(values)))]


def _with(scene: Scene, index: int, entity: Entity) -> Scene:
    entities = list(scene.entities)
    entities[index] = entity
    return replace(scene, entities=tuple(entities))


def _any_entity(scene: Scene, rng: Rng) -> int:
    shown = _shown(scene)
    return shown[int(rng.integers(len(shown)))]


def _wrong_object(scene: Scene, rng: Rng) -> Misaligned:
    index = _any_entity(scene, rng)
    hosts = {r.object: r.predicate for r in scene.relations if r.predicate in ("on", "in")}
    choice = {"on": SUPPORTS, "in": CONTAINERS}.get(hosts.get(index, ""), tuple(KINDS))
    others = {entity.kind for entity in scene.entities}
    kinds = [k for k in choice if k not in others]
    changed = replace(scene.entities[index], kind=_pick(rng, kinds))
    return Misaligned(_with(scene, index, changed), (Attribute("kind", index),))


def _wrong_colour(scene: Scene, rng: Rng) -> Misaligned:
    index = _any_entity(scene, rng)
    avoid = {entity.colour for entity in scene.entities} | {*BACKGROUNDS[scene.background].clashes}
    changed = replace(
        scene.entities[index], colour=_pick(rng, [c for c in COLOURS if c not in avoid])
    )
    return Misaligned(_with(scene, index, changed), (Attribute("colour", index),))


def _wrong_material(scene: Scene, rng: Rng) -> Misaligned:
    index = _any_entity(scene, rng)
    entity = scene.entities[index]
    suited = KINDS[entity.kind].materials or ("wooden", "metal", "glass", "striped", "dotted")
    changed = replace(entity, material=_pick(rng, [m for m in suited if m != entity.material]))
    return Misaligned(_with(scene, index, changed), (Attribute("material", index),))


def _wrong_count(scene: Scene, rng: Rng) -> Misaligned:
    index = _any_entity(scene, rng)
    while scene.relations and scene.entities[index].count == 1:
        index = _any_entity(scene, rng)
    entity = scene.entities[index]
    limit = 3 if scene.relations else 5
    counts = [n for n in range(1, limit + 1) if n != entity.count and abs(n - entity.count) < 3]
    changed = replace(entity, count=counts[int(rng.integers(len(counts)))])
    return Misaligned(_with(scene, index, changed), (Attribute("count", index),))


def _wrong_relation(scene: Scene, rng: Rng) -> Misaligned:
    first, *rest = scene.relations
    if rest:  # three in a row: both ends change sides
        relations = tuple(
            Relation(r.subject, INVERSES[r.predicate], r.object) for r in scene.relations
        )
    else:
        wrong = {
            "left of": ["right of", "above", "below"],
            "right of": ["left of", "above", "below"],
            "above": ["below", "left of", "right of"],
            "below": ["above", "left of", "right of"],
            "in front of": ["behind", "above", "left of"],
            "behind": ["in front of", "above", "right of"],
            "on": ["left of", "right of", "below"],
            "in": ["left of", "right of", "above"],
        }[first.predicate]
        relations = (Relation(first.subject, _pick(rng, wrong), first.object),)
    found = tuple(Attribute("relation", r.subject) for r in scene.relations)
    return Misaligned(replace(scene, relations=relations), found)


def _wrong_style(scene: Scene, rng: Rng) -> Misaligned:
    style = _pick(rng, [s for s in STYLES if s != scene.style])
    return Misaligned(replace(scene, style=style), (Attribute("style"),))


def _wrong_background(scene: Scene, rng: Rng) -> Misaligned:
    colours = {entity.colour for entity in scene.entities}
    fits = [
        name
        for name, words in BACKGROUNDS.items()
        if name != scene.background and not colours & {*words.clashes}
    ]
    return Misaligned(replace(scene, background=_pick(rng, fits)), (Attribute("background"),))


def _missing_object(scene: Scene, rng: Rng) -> Misaligned:
    index = _any_entity(scene, rng)
    changed = _with(scene, index, replace(scene.entities[index], count=0))
    return Misaligned(changed, (Attribute("kind", index),))


def _swapped_attributes(scene: Scene, rng: Rng) -> Misaligned:
    shown = _shown(scene)
    pairs = [(i, j) for i in shown for j in shown if i < j]
    pairs = [(i, j) for i, j in pairs if scene.entities[i].colour != scene.entities[j].colour]
    i, j = pairs[int(rng.integers(len(pairs)))]
    first, second = scene.entities[i], scene.entities[j]
    changed = _with(scene, i, replace(first, colour=second.colour))
    changed = _with(changed, j, replace(second, colour=first.colour))
    return Misaligned(changed, (Attribute("colour", i), Attribute("colour", j)))


MISALIGNMENTS: dict[str, Callable[[Scene, Rng], Misaligned]] = {
    "wrong object": _wrong_object,
    "wrong colour": _wrong_colour,
    "wrong material": _wrong_material,
    "wrong count": _wrong_count,
    "wrong relation": _wrong_relation,
    "wrong style": _wrong_style,
    "wrong background": _wrong_background,
    "missing object": _missing_object,
    "swapped attributes": _swapped_attributes,
}
