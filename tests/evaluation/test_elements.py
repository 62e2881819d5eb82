"""Words that an explanation ranks low against elements that raters did not see."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from diffagiqa.data.databases.database import Database
from diffagiqa.data.databases.raters import Element
from diffagiqa.errors import ConfigError, ImageError
from diffagiqa.evaluation.elements import (
    element_rank,
    evaluate_elements,
    render_elements,
    roc_area,
)


class Word(NamedTuple):
    start: int
    end: int
    rank: float


def words(prompt: str, ranks: dict[str, float]) -> list[Word]:
    return [Word(prompt.index(w), prompt.index(w) + len(w), r) for w, r in ranks.items()]


def test_roc_area_counts_pairs_in_order() -> None:
    random = np.random.default_rng(0)
    ranks, missing = random.integers(0, 5, 60), random.random(60) < 0.3
    pairs = [
        1.0 if a < b else 0.5 if a == b else 0.0 for a in ranks[missing] for b in ranks[~missing]
    ]
    assert roc_area(ranks, missing) == pytest.approx(np.mean(pairs))
    assert np.isnan(roc_area([1, 2], [1, 1]))


@pytest.mark.parametrize(
    ("text", "rank"),
    [("red cat", 0.2), ("Cat", 0.4), ("dog's", 0.9), ("catalogue", None), ("cat red", 0.2),
     ("bird", None), ("", None), ("(two)", 0.7)],
)  # fmt: skip
def test_an_element_takes_the_lowest_rank_of_its_words(text: str, rank: float | None) -> None:
    prompt = "a red cat and a dog's (two) catalogues"
    explained = words(prompt, {"red": 0.2, "cat": 0.4, "dog's": 0.9, "two": 0.7})
    assert element_rank(Element(text, "x", 1.0), prompt, explained) == rank


def database(count: int) -> Database:
    """Of every prompt the odd things are missing; of every third, raters disagree about a dog."""
    elements = [
        (Element(f"thing{i}", "object", float(i % 2 == 0)), Element("red", "color", 1.0),
         Element("dog", "animal", 0.5 if i % 3 == 0 else 0.0), Element("ghost", "animal", 0.0))
        for i in range(count)
    ]  # fmt: skip
    table = pd.DataFrame(
        {
            "image": [f"{i}.png" for i in range(count)],
            "path": [f"{i}.png" for i in range(count)],
            "prompt": [f"a red thing{i} beside a dog" for i in range(count)],
            "generator": "unknown",
            "alignment": 3.0,
            "elements": elements,
        }
    )
    return Database("made", Path(), table, {"alignment": (1.0, 5.0)})


def test_areas_by_category() -> None:
    def explain(image: Any, prompt: str) -> Sequence[Word]:
        number = int(prompt.split("thing")[1].split()[0])
        if number == 7:
            raise ImageError("it cannot be read")
        thing = f"thing{number}"
        return words(prompt, {"red": 0.5, thing: 0.9 - 0.8 * (number % 2), "dog": 0.5})

    found = evaluate_elements(explain, database(40), 100)
    assert (found.images, found.failed, found.undecided, found.absent) == (39, 1, 14, 39)
    assert found.counts == {
        "all": (103, 44), "animal": (25, 25), "color": (39, 0), "object": (39, 19)
    }  # fmt: skip
    assert found.categories["object"].value == 1
    assert found.categories["object"].low == 1
    assert found.categories["animal"].value is None  # none of them is shown
    # 19 missing things below all 59 shown; 25 dogs tie with 39 red ones and are below 20 things
    assert found.categories["all"].value == pytest.approx(
        (19 * 59 + 25 * (39 / 2 + 20)) / (44 * 59)
    )
    text = render_elements(found)
    assert "| object | 39 | 19 | 1.000 [1.000, 1.000] |" in text
    assert "39 images explained, 1 failed. Left out: 14 elements that just half" in text
    some = evaluate_elements(explain, database(40), 5, seed=1)
    assert some.images + some.failed == 5


def test_only_databases_with_elements_are_taken() -> None:
    other = database(3)
    with pytest.raises(ConfigError, match="does not say which parts of its prompts are shown"):
        evaluate_elements(
            lambda *_: [],
            Database(**{**vars(other), "table": other.table.drop(columns="elements")}),
            1,
        )
