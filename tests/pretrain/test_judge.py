"""The judge of samples learns from synthetic pictures; where nothing is shown it is at chance."""

from __future__ import annotations

import numpy as np
import torch

from diffagiqa.pretrain.judge import ASPECTS, attribute_accuracy, train_judge
from diffagiqa.synth.scene import Entity, Scene

COLOURS = {"red": (220, 30, 30), "green": (20, 200, 40), "blue": (30, 40, 210)}


def test_it_learns_colours_and_counts_what_was_asked() -> None:
    numbers = np.random.default_rng(0)
    images, scenes = [], []
    for _ in range(60):
        name = str(numbers.choice(list(COLOURS)))
        image = np.full((64, 64, 3), 255, np.uint8)
        top, left = numbers.integers(0, 32, 2)
        image[top : top + 28, left : left + 28] = COLOURS[name]
        images.append(image)
        scenes.append(Scene((Entity("ball", name),), (), "studio", "photo"))
    before = torch.get_rng_state()
    judge = train_judge(images, scenes, minutes=0.1, batch=16)
    assert torch.equal(torch.get_rng_state(), before)  # the caller's stream is left alone
    found = {one.aspect: one for one in attribute_accuracy(judge, images, scenes)}
    assert list(found) == list(ASPECTS)
    assert found["colour"].right > 0.9
    assert found["colour"].asked == 60
    other = attribute_accuracy(judge, images, scenes[1:] + scenes[:1])
    assert {one.aspect: one.right for one in other}["colour"] < 0.7
