"""Captions hold in their scene graphs, graphs hold in the layout, rendering is a function."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from diffagiqa.errors import ConfigError
from diffagiqa.synth.captions import describe, holds, violated
from diffagiqa.synth.grammar import (
    BACKGROUNDS,
    COLOURS,
    COUNT_WORDS,
    INVERSES,
    KINDS,
    LIGHTS,
    MATERIALS,
    RELATIONS,
    SIZES,
    STYLES,
)
from diffagiqa.synth.kinds import BUILDERS
from diffagiqa.synth.layout import placements
from diffagiqa.synth.render import render, render_layers
from diffagiqa.synth.samples import made_sample
from diffagiqa.synth.scene import (
    Entity,
    Relation,
    Scene,
    has_held_out_combination,
    is_held_out_prompt,
    sample_scene,
)


def scenes(number: int, seed: int = 0) -> list[Scene]:
    return [sample_scene(np.random.default_rng((seed, i))) for i in range(number)]


def spoken(aspect: str, words: str) -> set[str | int]:
    """Every value of an aspect that these words can mean, by a lexicon built from the grammar."""
    words = words.removeprefix("the ")
    if aspect == "kind":
        return {kind for kind, k in KINDS.items() if words in (kind, k.plural)}
    if aspect == "colour":
        return {words} & set(COLOURS)
    if aspect == "count":
        found: set[str | int] = {n for n, phrases in COUNT_WORDS.items() if words in phrases}
        return found | ({1} if words in ("a", "an", "one", "a single") else set())
    if aspect == "style":
        return {s for s, p in STYLES.items() if words in (*p.before, *p.after)}
    if aspect == "background":
        return {b for b, p in BACKGROUNDS.items() if words in p.phrases}
    lexicon = {"material": MATERIALS, "size": SIZES, "light": LIGHTS, "relation": RELATIONS}[aspect]
    return {value for value, phrases in lexicon.items() if words in phrases}


def test_every_claim_can_be_read_back_and_holds() -> None:
    for i, scene in enumerate(scenes(400)):
        caption = describe(scene, np.random.default_rng(i))
        assert caption.claims
        for claim in caption.claims:
            words = caption.text[claim.start : claim.end]
            assert claim.value in spoken(claim.aspect, words), (words, claim)
            assert holds(claim, scene)
        ends = [(c.start, c.end) for c in caption.claims]
        assert all(a[1] <= b[0] for a, b in pairwise(ends))


def test_no_claim_is_hidden_in_the_words_between() -> None:
    """What remains of a caption without its claims says nothing."""
    filler = {"", "and", "that is", "there is", "with"}
    for i, scene in enumerate(scenes(300, 1)):
        caption = describe(scene, np.random.default_rng(i))
        rest, at = [], 0
        for claim in (*caption.claims, None):
            rest.append(caption.text[at : claim.start if claim else None])
            at = claim.end if claim else at
        pieces = {p.strip() for text in rest for p in text.split(",")}
        pieces = {q for p in pieces for q in ((p,) if p in filler else p.split())}
        assert pieces <= filler, (caption.text, pieces)


def test_complete_captions_leave_nothing_out() -> None:
    for i, scene in enumerate(scenes(60, 2)):
        claims = describe(scene, np.random.default_rng(i), complete=True).claims
        aspects = {(c.aspect, c.entity) for c in claims}
        for j, entity in enumerate(scene.entities):
            assert ("colour", j) in aspects
            assert ("material", j) in aspects or not entity.material
        assert {a for a, _ in aspects} >= {"style", "background"}


def test_claims_fail_where_the_scene_differs() -> None:
    scene = Scene(
        (Entity("cat", "red"), Entity("car", "blue", count=2)),
        (Relation(0, "left of", 1),),
        "meadow",
        "photo",
    )
    caption = describe(scene, np.random.default_rng(0), complete=True)
    gone = replace(scene, entities=(replace(scene.entities[0], count=0), scene.entities[1]))
    assert {c.aspect for c in violated(caption, gone)} == {"count", "kind", "colour", "relation"}
    turned = replace(scene, relations=(Relation(1, "right of", 0),))
    assert not violated(caption, turned)
    wrong = replace(scene, relations=(Relation(0, "right of", 1),))
    assert [c.aspect for c in violated(caption, wrong)] == ["relation"]


@pytest.mark.parametrize("predicate", sorted(RELATIONS))
def test_relations_hold_in_the_layout(predicate: str) -> None:
    found = [
        s for s in scenes(900, 3) if len(s.entities) == 2 and s.relations[0].predicate == predicate
    ]
    assert found
    for scene in found:
        places = placements(scene)
        one = [p for p in places if p.entity == 0]
        other = [p for p in places if p.entity == 1]
        ax, bx = np.mean([p.x for p in one]), np.mean([p.x for p in other])
        if predicate == "left of":
            assert max(p.x for p in one) < min(p.x for p in other)
        elif predicate == "right of":
            assert min(p.x for p in one) > max(p.x for p in other)
        elif predicate in ("above", "on"):
            assert max(p.y for p in one) < min(p.y for p in other)
        elif predicate == "below":
            assert min(p.y for p in one) > max(p.y for p in other)
        elif predicate == "in front of":
            assert places[-1].entity == 0
            assert one[0].y + one[0].scale > other[0].y + other[0].scale
        elif predicate == "behind":
            assert places[-1].entity == 1
        else:  # "in": behind the container's wall, over its middle
            assert places[-1].entity == 1
            assert abs(ax - bx) < other[0].scale


def test_all_things_are_in_the_picture_and_seen() -> None:
    for i, scene in enumerate(scenes(60, 4)):
        layers = render_layers(scene, 64, i)
        assert len(layers.masks) == sum(entity.count for entity in scene.entities)
        assert all(mask.astype(float).sum() / 255 > 12 for mask in layers.masks), scene


def test_counts_are_those_of_the_graph() -> None:
    for scene in scenes(200, 5):
        places = placements(scene)
        for i, entity in enumerate(scene.entities):
            assert sum(p.entity == i for p in places) == entity.count


def test_the_world_is_as_wide_as_promised() -> None:
    assert set(BUILDERS) == set(KINDS)
    assert len(KINDS) >= 30
    assert len(STYLES) >= 4
    assert INVERSES.keys() <= RELATIONS.keys()


@pytest.mark.parametrize("colour", sorted(COLOURS))
def test_a_colour_is_the_one_nearest_to_what_is_drawn(colour: str) -> None:
    """The mean colour of a ball, in neutral light, is nearest to its own name in hue and lightness."""
    scene = Scene((Entity("heart", colour),), (), "studio", "cartoon", layout_seed=1)
    layers = render_layers(scene, 96, 0)
    seen = layers.image[layers.masks[0] > 250].mean(0)
    distance = {name: np.abs(seen - np.array(rgb)).sum() for name, rgb in COLOURS.items()}
    assert min(distance, key=distance.__getitem__) == colour


@pytest.mark.parametrize("style", sorted(STYLES))
def test_rendering_is_a_function_of_its_arguments(style: str) -> None:
    scene = replace(scenes(1, 6)[0], style=style)
    first = render(scene, 64, 7)
    render(scenes(2, 8)[1], 80, 1)
    assert first.shape == (64, 64, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, render(scene, 64, 7))
    assert first.std() > 8


def test_samples_do_not_depend_on_their_neighbours() -> None:
    forward = [made_sample(3, i, 64) for i in range(4)]
    backward = [made_sample(3, i, 64) for i in reversed(range(4))][::-1]
    for one, other in zip(forward, backward, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        assert one[1:] == other[1:]
    assert made_sample(3, 0, 64).caption != made_sample(4, 0, 64).caption


def test_splits_are_disjoint() -> None:
    for i in range(150):
        train = sample_scene(np.random.default_rng((0, i)), "train")
        assert not has_held_out_combination(train)
        assert not is_held_out_prompt(train)
        assert has_held_out_combination(
            sample_scene(np.random.default_rng((0, i)), "test-combinations")
        )
        prompts = sample_scene(np.random.default_rng((0, i)), "test-prompts")
        assert is_held_out_prompt(prompts)
        assert not has_held_out_combination(prompts)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ConfigError, match="'tset'"):
        sample_scene(np.random.default_rng(0), "tset")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="1024"):
        render(scenes(1)[0], 1024)
