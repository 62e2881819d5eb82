"""Captions labelled word by word, and the examples made of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from diffagiqa.pretrain.objectives import _balanced, words_loss
from diffagiqa.pretrain.run import made_pictures
from diffagiqa.pretrain.tokenizer import train_tokenizer
from diffagiqa.pretrain.word_labels import (
    UNKNOWN,
    SyntheticExample,
    WordLabels,
    attribute_values,
    common_words,
    real_example,
    synthetic_example,
    tokenise,
)
from diffagiqa.synth.captions import describe
from diffagiqa.synth.scene import Entity, Relation, Scene

SHOWN = Scene(
    (Entity("cat", "red", "furry"), Entity("box", "blue", count=2)),
    (Relation(0, "left of", 1),),
    "snow",
    "photo",
)


def example(described: Scene, related: bool, shown: Scene = SHOWN) -> SyntheticExample:
    return SyntheticExample(
        describe(described, np.random.default_rng(0), complete=True), described, shown, related
    )


def said(one: SyntheticExample, truth: list[int]) -> dict[tuple[str, int], int]:
    claims = one.caption.claims
    return {(c.aspect, c.entity): value for c, value in zip(claims, truth, strict=True)}


def test_its_own_caption_is_true_and_a_changed_one_in_one_thing_false() -> None:
    own = example(SHOWN, related=True)
    assert set(own.labels_for(own)) == {1}
    changed = replace(
        SHOWN, entities=(replace(SHOWN.entities[0], colour="green"), SHOWN.entities[1])
    )
    near = example(changed, related=True)
    found = said(near, near.labels_for(near))
    assert found.pop(("colour", 0)) == 0
    assert set(found.values()) == {1}


def test_another_scene_shares_what_it_shares() -> None:
    other = Scene((Entity("cat", "blue"), Entity("tree", "red")), (), "snow", "oil painting")
    one = example(other, related=False)
    found = said(one, one.labels_for(one))
    assert found["kind", 0] == 1  # a cat is there
    assert found["colour", 0] == 0  # it is not blue; the box is
    assert found["kind", 1] == found["colour", 1] == 0  # no tree, so no red tree
    assert found["background", -1] == 1
    assert found["style", -1] == 0
    beside = example(replace(SHOWN, relations=(Relation(1, "left of", 0),)), related=False)
    assert said(beside, beside.labels_for(beside))["relation", 1] == UNKNOWN


def test_what_is_seen_and_what_is_said() -> None:
    names = {number: value for value, number in attribute_values().items()}
    own = example(SHOWN, related=True)
    seen = {names[number] for number, value in enumerate(own.attributes) if value}
    assert seen == {
        ("kind", "cat"), ("kind", "box"), ("colour", "red"), ("colour", "blue"),
        ("material", "furry"), ("count", 1), ("count", 2), ("background", "snow"),
        ("style", "photo"), ("light", "neutral"), ("relation", "left of"), ("relation", "right of"),
    } & set(attribute_values())  # fmt: skip
    assert [names[v][0] for v in own.values] == [claim.aspect for claim in own.caption.claims]


def test_real_captions_speak_by_common_words_alone() -> None:
    captions = [f"a fox in anime style {i}" for i in range(6)] + ["a rare okapi"]
    assert common_words(captions) == {"fox", "anime"}
    own = real_example("a fox in anime style", None, {"anime", "fox"})
    other = real_example("a fox in anime style", "anime okapi", {"anime", "baroque", "fox"})
    assert [own.annotated.text[a:b] for a, b in own.annotated.spans] == ["fox", "anime"]
    assert own.labels_for(own) == [1, 1]
    assert real_example("a baroque okapi", None, {"baroque"}).labels_for(other) == [0]
    made = example(SHOWN, related=True)
    assert set(own.labels_for(made)) == set(made.labels_for(own)) == {UNKNOWN}


def test_captions_are_of_every_sort() -> None:
    numbers = np.random.default_rng(0)
    other = Scene((Entity("tree", "green"),), (), "desert", "oil painting")
    drawn = [synthetic_example(SHOWN, SHOWN, other, numbers) for _ in range(60)]
    wrong = [sum(value == 0 for value in one.labels_for(one)) for one in drawn]
    assert {one.related for one in drawn} == {True, False}
    assert wrong.count(0) > 10  # what was asked for
    assert sum(1 <= w <= 4 for one, w in zip(drawn, wrong, strict=True) if one.related) > 5


@pytest.mark.parametrize("seed", [0, 1])
def test_made_pictures_depend_on_seed_and_number_alone(seed: int) -> None:
    few, more = made_pictures(2, seed, 64), made_pictures(3, seed, 64)
    assert all((a == b).all() for a, b in zip(few.images, more.images, strict=False))
    assert few.captions == more.captions[:2]
    assert few.scenes == more.scenes[:2]


def test_loss_rewards_the_truth(tmp_path: Path) -> None:
    """Keys that agree with the places that show them give a low loss; reversed, a high one."""
    one, two = example(SHOWN, related=True), example(
        Scene((Entity("tree", "green"),), (), "desert", "oil painting"), True,
        Scene((Entity("tree", "green"),), (), "desert", "oil painting"),
    )  # fmt: skip
    examples = [one, two]
    tokenizer = train_tokenizer([x.caption.text for x in examples] * 3, 600, tmp_path)
    tokens = tokenise(tokenizer, [x.annotated for x in examples], 77)
    labels = WordLabels.of(examples)
    for caption, place, part in zip(tokens.captions, tokens.places, tokens.spans, strict=True):
        start, end = [span for x in examples for span in x.annotated.spans][part]
        text = examples[caption].annotated.text
        word = tokenizer.decode(tokens.ids[caption, place]).strip()
        assert word in text[start:end].lower()
    width = len(attribute_values())
    queries = torch.stack(
        [6.0 * torch.tensor(x.attributes).float()[None] - 3 for x in examples]
    )  # (2,1,V)
    values = torch.eye(width) * 2
    keys = torch.zeros(2, 77, width)
    keys[tokens.captions, tokens.places] = values[labels.values[tokens.spans]] * 3
    pictures = torch.tensor([0, 1])
    good = words_loss([(queries, keys)], [values], tokens, labels, pictures)
    bad = words_loss([(-queries, keys)], [values], tokens, labels, pictures)
    assert good["wrong"] < 0.2 < 0.8 < bad["wrong"]
    assert good["seen"] < 0.1 < 1 < bad["seen"]
    assert (
        good["words"] + 1 < bad["words"]
    )  # "a tree" is false where a cat is the only one of its kind
    assert good["named"] < 1.5
    blind = words_loss([(0 * queries, keys)], [values], tokens, labels, pictures)
    assert float(blind["wrong"]) == 1.0  # no side taken is the wrong side
    zeros, mixed = torch.zeros(6), torch.tensor([1, 0, 0, 0, UNKNOWN, 1])
    assert float(_balanced(zeros, mixed)) == pytest.approx(np.log(2), abs=1e-6)
