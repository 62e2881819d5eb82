"""Databases of alignment that give every rater's score: EvalMuse-40K and GenAI-Bench (images)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from diffagiqa.data.databases.database import Source
from diffagiqa.data.databases.files import Folder, json_entries
from diffagiqa.data.databases.listing import ALIGNMENT, Listing
from diffagiqa.data.samples import quoted
from diffagiqa.data.wording import counted
from diffagiqa.errors import DatabaseError

LOW, HIGH = 1.0, 5.0  # of one rater's score, in both


class Element(NamedTuple):
    """A part of a prompt: its words, what kind of thing they name, the share of raters who see it."""

    text: str
    category: str
    shown: float


def read_evalmuse(folder: Folder) -> Listing:
    """``train_list.json``: prompt_id, prompt, img_path, total_score, element_score, and more.

    ``alignment`` is the mean of total_score (whole numbers 1..5). element_score maps "words (category)"
    to raters' 0 or 1, as an object or, on the hub, as JSON text; column ``elements`` holds them as
    ``Element``s, ``fidelity`` the tuple of fidelity_label. Images are ``<generator>/...`` in images.zip
    (of its parts, joined by cat), which need not be unpacked. test.json has no ratings and is not read.
    """
    import pandas as pd

    where = folder.need("train_list.json", "train.json")
    rows = []
    for number, entry in json_entries(where):
        try:
            ratings = _ratings(entry.get("total_score"))
            image = _text(entry, "img_path")
            generator, slash, _ = image.partition("/")
            rows.append(
                {
                    "image": image,
                    "prompt": _text(entry, "prompt"),
                    "generator": generator if slash else "unknown",
                    ALIGNMENT: np.mean(ratings),
                    "elements": _elements(entry.get("element_score", {})),
                    "fidelity": tuple(map(str, entry.get("fidelity_label") or ())),
                }
            )
        except (ValueError, TypeError, RecursionError) as fault:
            raise DatabaseError(f"{where} entry {number}: {fault}; download it again") from None
    notes = ("test.json has no ratings, so it is not read",) if folder.file("test.json") else ()
    return Listing(pd.DataFrame(rows, columns=None if rows else ["image"]), notes)


def read_genai_bench(folder: Folder) -> Listing:
    """``genai_image.json``: {id: {prompt, models: {model: [ratings 1..5]}}}; images <model>/<id>.jpeg.

    ``alignment`` is the mean of the ratings. The model's zip files need not be unpacked.
    """
    import pandas as pd

    where = folder.need("genai_image.json")
    rows, incomplete, most = [], 0, 0
    for key, entry in json_entries(where):
        try:
            models = entry.get("models")
            if not isinstance(models, Mapping) or not models:
                raise ValueError("it has no models with ratings")
            incomplete, most = incomplete + (len(models) < most), max(most, len(models))
            for model, given in models.items():
                ratings = _ratings(given)
                rows.append(
                    {
                        "image": f"{model}/{key}.jpeg",
                        "prompt": _text(entry, "prompt"),
                        "generator": str(model),
                        ALIGNMENT: np.mean(ratings),
                    }
                )
        except ValueError as fault:
            raise DatabaseError(f"{where} entry {key}: {fault}; download it again") from None
    notes = (
        [f"{counted(incomplete, 'prompt lacks', 'prompts lack')} some models"] if incomplete else []
    )
    return Listing(pd.DataFrame(rows), tuple(notes))


def _text(entry: Mapping[str, Any], key: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"its {key} is {value!r}, not text")
    return value


def _ratings(value: Any) -> list[float]:
    """One number, or those of several raters, all within the scale."""
    numbers = value if isinstance(value, list) else [value]
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise ValueError(f"its ratings are {value!r}, not numbers")
        if not LOW <= number <= HIGH:
            raise ValueError(f"it has the rating {number}, outside {LOW:g} to {HIGH:g}")
    if not numbers:
        raise ValueError("it has no ratings")
    return numbers


def _mean(value: Any) -> float:
    numbers = value if isinstance(value, (list, tuple)) else [value]
    return float(np.mean([float(number) for number in numbers])) if numbers else float("nan")


def _elements(value: Any) -> tuple[Element, ...]:
    if isinstance(value, str):
        value = json.loads(value)
    if not isinstance(value, Mapping):
        raise ValueError(f"its element_score is a {type(value).__name__}, not an object")
    elements = []
    for name, votes in value.items():
        shown = _mean(votes)
        if not 0 <= shown <= 1:
            raise ValueError(f"its element {quoted(name)} has votes {votes!r}, not 0 or 1")
        text, mark, category = str(name).rpartition("(")
        if mark:
            elements.append(Element(text.strip(), category.rstrip(") ").strip(), shown))
        else:
            elements.append(Element(category.strip(), "", shown))
    return tuple(elements)


EVALMUSE = Source(
    name="evalmuse-40k",
    title="EvalMuse-40K",
    read=read_evalmuse,
    scales={ALIGNMENT: (LOW, HIGH)},
    citation="Han et al., EvalMuse-40K: A Reliable and Fine-Grained Benchmark with Comprehensive Human "
    "Annotations for Text-to-Image Generation Model Evaluation, arXiv:2412.18150, 2024",
    licence="BSD-3-Clause",
    home="https://huggingface.co/datasets/DY-Evalab/EvalMuse",
)

GENAI_BENCH = Source(
    name="genai-bench",
    title="GenAI-Bench, images",
    read=read_genai_bench,
    scales={ALIGNMENT: (LOW, HIGH)},
    expected={"generators": 6},
    citation="Li et al., GenAI-Bench: Evaluating and Improving Compositional Text-to-Visual Generation, "
    "CVPRW 2024, arXiv:2406.13743",
    licence="Apache-2.0",
    home="https://huggingface.co/datasets/BaiqiL/GenAI-Bench",
)
