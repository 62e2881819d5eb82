"""The model in the package says of pictures and prompts unlike its training ones that they are so."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from diffagiqa import Scorer
from diffagiqa.synth import made_sample
from diffagiqa.training.data import Damage

WHITE = (255, 255, 255)


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer.from_pretrained(device="cpu")


def document() -> Image.Image:
    page = Image.new("RGB", (512, 512), WHITE)
    draw = ImageDraw.Draw(page)
    for y in range(20, 500, 18):
        draw.text(
            (20, y), "It was printed line by line, and nobody had asked for a picture", "black"
        )
    return page


def chart() -> Image.Image:
    page = Image.new("RGB", (512, 512), WHITE)
    draw = ImageDraw.Draw(page)
    for i in range(8):
        draw.rectangle([40 + 55 * i, 470 - 40 * i, 80 + 55 * i, 500], fill=(30, 90 + 15 * i, 200))
    return page


def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8))


@pytest.mark.parametrize("draw", [document, chart, noise])
def test_what_is_no_generated_picture_is_unfamiliar(scorer: Scorer, draw) -> None:  # type: ignore[no-untyped-def]
    assert scorer(draw(), "a castle by a lake").unfamiliar == "picture"


@pytest.mark.parametrize("index", range(4))
def test_a_made_picture_is_familiar_and_english_is(scorer: Scorer, index: int) -> None:
    image, caption, _ = made_sample(5, index, 256, "test-prompts")
    assert scorer(image, caption).unfamiliar == ""
    assert scorer(image, "ein rotes Haus am See mit einem kleinen Boot").unfamiliar == "prompt"


def test_a_wrong_prompt_lowers_alignment_and_moves_nothing_else(scorer: Scorer) -> None:
    made = [made_sample(7, index, 256, "test-prompts") for index in range(24)]
    captions = [caption for _, caption, _ in made]
    right = list(scorer.score_many((image, caption) for image, caption, _ in made))
    others = captions[1:] + captions[:1]
    wrong = list(scorer.score_many((made[i][0], other) for i, other in enumerate(others)))
    lower = [w["alignment"] < r["alignment"] for r, w in zip(right, wrong, strict=True)]  # type: ignore[index]
    assert sum(lower) >= 21  # 98 of 100 in docs/embedded.md
    assert [one["perception"] for one in right] == [one["perception"] for one in wrong]  # type: ignore[index]


def test_bfloat16_changes_scores_by_less_than_half_a_hundredth(scorer: Scorer) -> None:
    low = Scorer.from_pretrained(device="cpu", dtype="bfloat16")
    assert {p.dtype for p in low.backbone.unet.parameters()} == {torch.bfloat16}
    made = [made_sample(11, index, 256, "test-prompts")[:2] for index in range(16)]
    for exact, rounded in zip(scorer.score_many(made), low.score_many(made), strict=True):
        for task in scorer.tasks:
            assert rounded[task] == pytest.approx(exact[task], abs=0.005)  # type: ignore[index]


@pytest.mark.parametrize("defect", ["blur", "sensor noise", "latent noise", "checkerboard"])
def test_damage_lowers_quality(scorer: Scorer, defect: str) -> None:
    pictures = [made_sample(9, index, 256, "test-prompts")[0] for index in range(12)]
    copies = [Damage(defect, 0.8, index)(picture) for index, picture in enumerate(pictures)]
    scores = list(scorer.score_many((picture, "") for picture in [*pictures, *copies]))
    falls = [
        whole["perception"] > worse["perception"]
        for whole, worse in zip(scores[:12], scores[12:], strict=True)
    ]  # type: ignore[index]
    assert sum(falls) >= 11
