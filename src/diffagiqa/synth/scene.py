"""Scenes: the truth of synthetic pictures. A scene is a graph; where things stand follows from it.

Positions are a function of (graph, ``layout_seed``), so that one changed attribute changes one thing.
"""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from diffagiqa.errors import ConfigError
from diffagiqa.synth.grammar import (
    BACKGROUNDS,
    COLOURS,
    CONTAINERS,
    INVERSES,
    KINDS,
    LIGHTS,
    SPLITS,
    STYLES,
    SUPPORTS,
    Split,
)

_COUNTS, _COUNT_SHARES = (1, 2, 3, 4, 5), (0.62, 0.16, 0.1, 0.06, 0.06)
_STYLE_SHARES = (0.3, 0.16, 0.14, 0.14, 0.12, 0.14)  # in the order of STYLES
_LIGHT_SHARES = (0.58, 0.16, 0.13, 0.13)  # in the order of LIGHTS
_HELD_OUT_SHARE, _PROMPT_SHARE = 12, 20  # one (kind, colour) in 12, one prompt in 20


@dataclass(frozen=True, slots=True)
class Entity:
    """One or several like things. ``count`` 0 means: asked for, and not shown."""

    kind: str
    colour: str
    material: str = ""
    size: str = ""
    count: int = 1


@dataclass(frozen=True, slots=True)
class Relation:
    """``entities[subject]`` is ``predicate`` of ``entities[object]``."""

    subject: int
    predicate: str
    object: int


@dataclass(frozen=True, slots=True)
class Scene:
    """The scene graph.

    Attributes:
        entities: what is shown; captions and relations name them by position.
        relations: where they are to each other.
        background: a key of ``BACKGROUNDS``.
        style: a key of ``STYLES``.
        light: a key of ``LIGHTS``.
        light_side: direction the light comes from, -1 (left) .. 1 (right).
        layout_seed: decides positions, and with them how a kind varies (pose, number of petals).
    """

    entities: tuple[Entity, ...]
    relations: tuple[Relation, ...]
    background: str
    style: str
    light: str = "neutral"
    light_side: float = -0.6
    layout_seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Scene:
        """The inverse of ``to_dict``.

        >>> scene = sample_scene(np.random.default_rng(0))
        >>> Scene.from_dict(scene.to_dict()) == scene
        True
        """
        return cls(
            **{
                **values,
                "entities": tuple(Entity(**entity) for entity in values["entities"]),
                "relations": tuple(Relation(**relation) for relation in values["relations"]),
            }
        )


def held_out_combination(kind: str, attribute: str) -> bool:
    """Whether this (kind, colour) or (kind, material) never appears in split "train".

    >>> sum(held_out_combination(k, c) for k in KINDS for c in COLOURS) > 20
    True
    """
    return zlib.crc32(f"{kind}/{attribute}".encode()) % _HELD_OUT_SHARE == 0


def has_held_out_combination(scene: Scene) -> bool:
    """Whether any entity shows a (kind, colour) or (kind, material) kept from training."""
    return any(
        held_out_combination(e.kind, a) for e in scene.entities for a in (e.colour, e.material) if a
    )


def is_held_out_prompt(scene: Scene) -> bool:
    """Whether the words of this scene (what, how many, which colour, where) are kept from training."""
    words = [(e.kind, e.colour, e.material, e.count) for e in scene.entities]
    words.append(tuple((r.subject, r.predicate, r.object) for r in scene.relations))  # type: ignore[arg-type]
    return zlib.crc32(repr((words, scene.background)).encode()) % _PROMPT_SHARE == 0


def in_split(scene: Scene, split: Split) -> bool:
    """ "train", "test-prompts" and "test-combinations" share no scene graph; "all" takes any."""
    if split == "all":
        return True
    if split == "test-combinations":
        return has_held_out_combination(scene)
    if has_held_out_combination(scene):
        return False
    return is_held_out_prompt(scene) == (split == "test-prompts")


def sample_scene(rng: np.random.Generator, split: Split = "all") -> Scene:
    """Draw a scene of a split from the grammar; rejection, about 20 draws at worst.

    Raises:
        ConfigError: the split is unknown.
    """
    if split not in SPLITS:
        raise ConfigError(f"the split is {split!r}; expected one of {', '.join(SPLITS)}")
    while True:
        scene = _draw(rng)
        if in_split(scene, split):
            return scene


def _pick(rng: np.random.Generator, values: Any, shares: tuple[float, ...] | None = None) -> Any:
    values = tuple(values)
    if shares is None:
        return values[int(rng.integers(len(values)))]
    return values[int(np.searchsorted(np.cumsum(shares), rng.random() * sum(shares), side="right"))]


def draw_entity(
    rng: np.random.Generator,
    background: str,
    kinds: tuple[str, ...] = tuple(KINDS),
    taken: tuple[Entity, ...] = (),
    count: int | None = None,
) -> Entity:
    """One entity whose kind and colour differ from those taken, in a colour seen on the background."""
    kind = _pick(rng, [k for k in kinds if k not in {e.kind for e in taken}])
    clashes = {*BACKGROUNDS[background].clashes, *(e.colour for e in taken)}
    colour = _pick(rng, [c for c in COLOURS if c not in clashes])
    suited = KINDS[kind].materials or ("wooden", "metal", "glass", "striped", "dotted", "checkered")
    material = _pick(rng, suited) if rng.random() < 0.4 else ""
    size = _pick(rng, ("", "small", "large"), (0.8, 0.1, 0.1))
    number = int(_pick(rng, _COUNTS, _COUNT_SHARES)) if count is None else count
    return Entity(kind, colour, material, size, number)


def _draw(rng: np.random.Generator) -> Scene:
    background = _pick(rng, BACKGROUNDS)
    number = _pick(rng, (1, 2, 3), (0.45, 0.43, 0.12))
    entities: tuple[Entity, ...]
    relations: tuple[Relation, ...] = ()
    if number == 1:
        entities = (draw_entity(rng, background),)
    elif number == 2:
        predicate = _pick(
            rng,
            ("left of", "right of", "above", "below", "in front of", "behind", "on", "in"),
            (0.19, 0.19, 0.11, 0.11, 0.11, 0.09, 0.12, 0.08),
        )
        entities = _pair(rng, background, predicate)
        relations = (Relation(0, predicate, 1),)
    else:
        drawn: tuple[Entity, ...] = ()
        for _ in range(3):
            drawn = (
                *drawn,
                draw_entity(rng, background, taken=drawn, count=_pick(rng, (1, 1, 1, 2))),
            )
        entities = drawn
        predicate = _pick(rng, ("left of", "right of"))
        relations = (Relation(0, predicate, 1), Relation(2, INVERSES[predicate], 1))
    return Scene(
        entities,
        relations,
        background,
        style=_pick(rng, STYLES, _STYLE_SHARES),
        light=_pick(rng, LIGHTS, _LIGHT_SHARES),
        light_side=float(np.round(_pick(rng, (-1.0, 1.0)) * rng.uniform(0.3, 0.9), 3)),
        layout_seed=int(rng.integers(2**31)),
    )


def _pair(rng: np.random.Generator, background: str, predicate: str) -> tuple[Entity, Entity]:
    if predicate in ("on", "in"):
        hosts = SUPPORTS if predicate == "on" else CONTAINERS
        host = draw_entity(rng, background, kinds=hosts, count=1)
        guests = tuple(k for k in KINDS if k not in (*SUPPORTS, *CONTAINERS))
        count = _pick(rng, (1, 2, 3), (0.7, 0.2, 0.1))
        guest = draw_entity(rng, background, kinds=guests, taken=(host,), count=count)
        return (
            Entity(guest.kind, guest.colour, guest.material, "", guest.count),
            Entity(host.kind, host.colour, host.material, "", 1),
        )
    if predicate in ("in front of", "behind"):
        first = draw_entity(rng, background, count=1)
        second = draw_entity(rng, background, taken=(first,), count=1)
        return (
            Entity(first.kind, first.colour, first.material, "", 1),
            Entity(second.kind, second.colour, second.material, "", 1),
        )
    first = draw_entity(rng, background)
    return first, draw_entity(rng, background, taken=(first,))
