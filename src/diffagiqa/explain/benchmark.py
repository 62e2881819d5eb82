"""How faithful explanations are, measured on synthetic pictures, of which the truth is known.

Places: a synthetic picture with one local defect, its place known, and the same picture without it. A map
is good if its highest value lies in the defect (pointing), if it ranks the defect's pixels above the
others (area under the ROC curve), and if putting the clean pixels back where the map is highest raises
the score sooner than in a random order (the insertion curve of arXiv 1806.07421, with the clean picture
as what is inserted). Words: a prompt of which one thing is not shown; the first word named as missing
should be a word of that thing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffagiqa.data.prompts import clean_prompt
from diffagiqa.evaluation.tables import markdown
from diffagiqa.explain.explanation import MAP_TASK, WORD_TASK, word_chances, word_drops
from diffagiqa.explain.spatial import METHODS, quality_map
from diffagiqa.explain.words import split_words
from diffagiqa.scorer import Scorer
from diffagiqa.synth.captions import Caption, describe, violated
from diffagiqa.synth.defects import DEFECTS
from diffagiqa.synth.grammar import Split
from diffagiqa.synth.misalign import applicable, misalign
from diffagiqa.synth.render import render, render_layers
from diffagiqa.synth.scene import sample_scene

SPLIT: Split = "test-prompts"  # scenes that no training of the package's models has seen
LOCAL_DEFECTS = tuple(name for name, defect in DEFECTS.items() if defect.kind == "local")
SEVERITY = 0.9
CURVE = (0.0, 0.05, 0.1, 0.2, 0.4, 1.0)  # shares of the pixels put back


class Share(NamedTuple):
    """A mean and its 95 % interval by bootstrap over the pictures."""

    mean: float
    low: float
    high: float
    pictures: int


@dataclass(frozen=True)
class PlaceCase:
    """A picture with one local defect: uint8 (S, S, 3) twice, and (S, S) where the defect acts."""

    damaged: np.ndarray
    clean: np.ndarray
    mask: np.ndarray
    prompt: str


@dataclass(frozen=True)
class WordCase:
    """A picture that does not show something of its prompt, and what that is."""

    image: np.ndarray
    prompt: Caption
    wrong: tuple[tuple[int, int], ...]
    kind: str


def place_case(seed: int, index: int, size: int) -> PlaceCase:
    """Case ``index`` of stream ``seed``: a held-out scene, a local defect on its largest thing."""
    rng = np.random.default_rng((seed, 11, index))
    scene = sample_scene(rng, SPLIT)
    prompt = describe(scene, rng).text
    drawn = render_layers(scene, size, int(rng.integers(2**31)))
    largest = int(np.argmax([mask.mean() for mask in drawn.masks]))
    region = drawn.masks[largest].astype(np.float32) / 255
    name = LOCAL_DEFECTS[index % len(LOCAL_DEFECTS)]
    found = DEFECTS[name](drawn.image, SEVERITY, rng, region)
    # Where pixels did change: the defect's own mask is soft and reaches further.
    changed = np.abs(found.image.astype(int) - drawn.image.astype(int)).max(2) > 12
    return PlaceCase(found.image, drawn.image, changed, prompt)


def word_case(seed: int, index: int, size: int) -> WordCase:
    """Case ``index``: a held-out scene in which one thing is not as its complete caption says."""
    rng = np.random.default_rng((seed, 12, index))
    while True:
        scene = sample_scene(rng, SPLIT)
        prompt = describe(scene, rng, complete=True)
        kinds = applicable(scene)
        kind = kinds[index % len(kinds)]
        changed = misalign(scene, kind, rng, SPLIT)
        wrong = tuple((claim.start, claim.end) for claim in violated(prompt, changed.scene))
        if wrong:
            image = render(changed.scene, size, int(rng.integers(2**31)))
            return WordCase(image, prompt, wrong, kind)


def place_scores(scorer: Scorer, case: PlaceCase, method: str, **options: int) -> dict[str, float]:
    """Of one map on one case: pointing (0 or 1), area under the ROC curve, insertion gain.

    The insertion gain is the area under the curve of restored score minus that of a random order,
    over the whole rise that the clean picture gives; above 0 is better than chance.
    """
    damaged, clean = scorer.prepare(case.damaged), scorer.prepare(case.clean)
    lost = quality_map(scorer, damaged, case.prompt, MAP_TASK, method, **options)
    mask = torch.from_numpy(case.mask).float()[None, None]
    inside = torch.nn.functional.interpolate(mask, size=lost.shape, mode="area")[0, 0] > 0.5
    ours = insertion_curve(scorer, damaged, clean, lost, case.prompt)
    order = torch.rand(8, 8, generator=torch.Generator().manual_seed(0))[None, None]
    chance = torch.nn.functional.interpolate(order, size=lost.shape, mode="bilinear")[0, 0]
    random = insertion_curve(scorer, damaged, clean, chance, case.prompt)
    rise = abs(ours[-1] - ours[0]) + 1e-6
    return {
        "pointing": float(inside.flatten()[lost.argmax()]),
        "roc": roc_area(lost.flatten(), inside.flatten()),
        "insertion": float(_area(ours - random) / rise),
    }


@torch.inference_mode()
def insertion_curve(
    scorer: Scorer, damaged: Tensor, clean: Tensor, order: Tensor, prompt: str
) -> np.ndarray:
    """Score with the clean pixels where ``order`` is highest, for every share of ``CURVE``."""
    ranks = order.flatten().argsort(descending=True).argsort().reshape(order.shape)
    images = [torch.where(ranks < share * ranks.numel(), clean, damaged) for share in CURVE]
    scores = scorer.score_tensor(torch.stack(images), clean_prompt(prompt))[MAP_TASK]
    return scores.float().cpu().numpy()


def roc_area(values: Tensor, inside: Tensor) -> float:
    """Chance that a pixel inside ranks above one outside (Mann-Whitney); 0.5 where either is empty."""
    count, total = int(inside.sum()), inside.numel()
    if count in (0, total):
        return 0.5
    from scipy.stats import rankdata

    ranks = rankdata(values.numpy())[inside.numpy()]
    return float((ranks.sum() - count * (count + 1) / 2) / (count * (total - count)))


def word_hit(scorer: Scorer, case: WordCase) -> tuple[bool, float]:
    """Whether the first word named is part of what is not shown, and the chance of that by guessing."""
    words = split_words(case.prompt.text)
    pixels = scorer.prepare(case.image)
    if scorer.config.words:
        ranks = word_chances(scorer, pixels, case.prompt.text, words)
    else:
        with torch.inference_mode():
            whole = float(scorer.score_tensor(pixels[None], case.prompt.text)[WORD_TASK][0])
        ranks = word_drops(scorer, pixels, case.prompt.text, words, whole)
    true = [any(w.start < end and w.end > start for start, end in case.wrong) for w in words]
    return true[int(np.argmin(ranks))], float(np.mean(true))


def share(values: Sequence[float], seed: int = 0) -> Share:
    """Mean with a 95 % percentile bootstrap interval."""
    array = np.asarray(values, float)
    draws = np.random.default_rng(seed).integers(len(array), size=(2000, len(array)))
    low, high = np.percentile(array[draws].mean(1), (2.5, 97.5))
    return Share(float(array.mean()), float(low), float(high), len(array))


def explain_benchmark(
    scorer: Scorer,
    *,
    places: int = 30,
    words: int = 60,
    seed: int = 0,
    methods: Sequence[str] = tuple(METHODS),
    progress: Callable[[str], Any] = lambda _: None,
) -> dict[str, dict[str, Share]]:
    """All figures: ``{"occlusion": {"pointing": Share, ...}, ..., "words": {"named": Share, ...}}``.

    Needs the tasks perception (for places) and alignment (for words); what the model lacks is left out.
    """
    size = max(64, min(512, scorer.config.image_size))
    found: dict[str, dict[str, Share]] = {}
    if MAP_TASK in scorer.tasks and places:
        cases = [place_case(seed, index, size) for index in range(places)]
        for method in methods:
            scores = [place_scores(scorer, case, method) for case in cases]
            found[method] = {name: share([s[name] for s in scores]) for name in scores[0]}
            found[method]["area of the defect"] = share([float(c.mask.mean()) for c in cases])
            progress(method)
    if WORD_TASK in scorer.tasks and words and scorer.config.use_text:
        asked = [word_case(seed, index, size) for index in range(words)]
        marks = [(case.kind, *word_hit(scorer, case)) for case in asked]
        found["words"] = {
            "named": share([hit for _, hit, _ in marks]),
            "by guessing": share([chance for _, _, chance in marks]),
        }
        for kind in sorted({kind for kind, _, _ in marks}):
            found["words"][kind] = share([hit for k, hit, _ in marks if k == kind])
        progress("words")
    return found


def benchmark_table(found: dict[str, dict[str, Share]]) -> str:
    """The figures as Markdown tables."""
    tables = []
    maps = {name: values for name, values in found.items() if name != "words"}
    if maps:
        heads = list(next(iter(maps.values())))
        lines = [[name, *(_cell(values[h]) for h in heads)] for name, values in maps.items()]
        tables.append(markdown(["map", *heads], lines))
    if "words" in found:
        lines = [
            ["**all**" if name == "named" else name, _cell(value)]
            for name, value in found["words"].items()
        ]
        tables.append(markdown(["what is not shown", "first word named is right"], lines))
    return "\n\n".join(tables) + "\n"


def _area(heights: np.ndarray) -> float:
    """Under the line through (CURVE, heights)."""
    return float((np.diff(CURVE) * (heights[1:] + heights[:-1]) / 2).sum())


def _cell(value: Share) -> str:
    return f"{value.mean:.2f} [{value.low:.2f}, {value.high:.2f}], n={value.pictures}"
