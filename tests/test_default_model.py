"""The model in the package does what its card says, on the demo's images."""

import csv
from importlib.resources import files

import pytest
from conftest import ROUNDING

from diffagiqa import Scorer

DEMO = files("diffagiqa") / "assets" / "demo"
GOLDEN = {
    "umbrella.jpg": (0.5042, 0.6241),
    "bus-damaged.jpg": (0.2264, 0.1358),
    "boat.jpg": (0.2959, 0.3729),
    "bear.jpg": (0.3246, 0.6052),
}
"""Perception and alignment, as measured when the weights were made."""


@pytest.fixture(scope="module")
def scores():
    """By image: scores with its own prompt, and with that of the image five rows below."""
    scorer = Scorer.from_pretrained(device="cpu")
    rows = list(csv.DictReader((DEMO / "prompts.csv").read_text(encoding="utf-8").splitlines()))
    found = {}
    for number, row in enumerate(rows):
        wrong = rows[(number + 5) % len(rows)]["prompt"]
        image = str(DEMO / row["image"])
        found[row["image"]] = [scorer(image, text).scores for text in (row["prompt"], wrong)]
    return found


@pytest.mark.parametrize("image", GOLDEN)
def test_scores_are_those_of_the_day_the_weights_were_made(scores, image):
    right, _ = scores[image]
    assert (right["perception"], right["alignment"]) == pytest.approx(GOLDEN[image], abs=1e-3)


@pytest.mark.parametrize("name", ["umbrella", "bus", "balloon", "boat"])
def test_a_damaged_image_looks_worse(scores, name):
    damaged, clean = (scores[f"{name}{end}.jpg"][0]["perception"] for end in ("-damaged", ""))
    assert damaged < clean - 0.1


def test_most_wrong_prompts_lower_alignment_and_none_changes_perception(scores):
    lower = [wrong["alignment"] < right["alignment"] for right, wrong in scores.values()]
    assert sum(lower) >= 10  # of 12; by chance in 2 % of cases
    for right, wrong in scores.values():
        assert wrong["perception"] == pytest.approx(right["perception"], abs=ROUNDING)
