"""``explain``: an image and its prompt -> where quality is lost, and what each word contributes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from diffagiqa import checks
from diffagiqa.backbones.base import Prompts
from diffagiqa.data.prompts import clean_prompt
from diffagiqa.explain.spatial import METHODS, method_for
from diffagiqa.explain.words import Word, split_words, without
from diffagiqa.scorer import Score, Scorer, check_scorer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MISSING_ABOVE = 0.02  # the default calls 11 % of right words missing, 53 % of wrong ones
NAMED = 3  # words in the sentence
MAP_TASK, WORD_TASK = "perception", "alignment"


@dataclass(frozen=True)
class WordEffect:
    """One word of the prompt.

    Attributes:
        text: the word, or a phrase such as "left of".
        start, end: its position: ``prompt[start:end]``.
        drop: by how much the alignment score falls when the word is left out, in [-1, 1]. Below 0, the
            image suits the prompt better without the word.
        attention: (H, W): how much each position looks at, or like, the word. Zeros for a word
            that is not read, and where the backbone has no such maps.
    """

    text: str
    start: int
    end: int
    drop: float
    attention: np.ndarray = field(repr=False)

    @property
    def rank(self) -> float:
        """The lower, the more likely the word is missing."""
        return self.drop


@dataclass(frozen=True)
class Explanation:
    """Why one image has its scores.

    Attributes:
        image: (H, W, 3) uint8, as the model saw it.
        prompt: as it was scored.
        scores: by task, in [0, 1].
        map_task, map_method: which score ``quality_map`` explains, and by which method.
        quality_map: (H, W) float32, above 0 where the image lowers that score: in units of the score
            ("windows"), or scaled to a largest magnitude of 1 ("activation").
        words: in the order of the prompt; empty without a prompt.
        missing_above: a word counts as missing if leaving it out raises the alignment score by more
            than this.
        unfamiliar: what is unlike the training data, so that the scores mean little; see ``Score``.
        doubtful: the model does not stand behind its alignment score; the sentence then claims nothing.
    """

    image: np.ndarray = field(repr=False)
    prompt: str
    scores: Mapping[str, float]
    map_task: str
    map_method: str
    quality_map: np.ndarray = field(repr=False)
    words: tuple[WordEffect, ...]
    missing_above: float = MISSING_ABOVE
    unfamiliar: str = ""
    doubtful: bool = False

    @property
    def missing(self) -> tuple[WordEffect, ...]:
        """Words that the image seems not to show, the most likely first."""
        return tuple(sorted(filter(self.lacks, self.words), key=lambda word: word.rank))

    def lacks(self, word: WordEffect) -> bool:
        """Whether the image seems not to show this word."""
        return -word.drop > self.missing_above

    @property
    def sentence(self) -> str:
        """The three words most likely to be missing, and how many more there are, as a sentence.

        "" where the model has no alignment score or there is no prompt.
        """
        if not self.words:
            return ""
        if all(abs(word.drop) < 1e-6 for word in self.words):
            return "This model's alignment score does not depend on the words of the prompt."
        missing = self.missing
        if not missing:
            return "No word of the prompt seems to be missing."
        names = [f"'{word.text}'" for word in missing[:NAMED]]
        if self.doubtful:
            return (
                f"The model finds least of {_listed(names)}, but its alignment score is doubtful."
            )
        if more := len(missing[NAMED:]):
            names.append(f"{more} more word{'s' * (more > 1)}")
        return f"{_listed(names)} {'seem' if len(names) > 1 else 'seems'} not to be shown."

    @property
    def warnings(self) -> tuple[str, ...]:
        """What speaks against believing the scores, in short sentences; often none."""
        said = {
            "image": "Unlike the images this model was trained on: its scores mean little.",
            "size": "Smaller than the images this model was trained on: its scores mean little.",
        }
        sentences = [
            said.get(what, f"Unfamiliar {what}.")
            for what in filter(None, self.unfamiliar.split("+"))
        ]
        if self.doubtful:
            sentences.append("This model's alignment score is doubtful.")
        return tuple(sentences)

    @property
    def worst_place(self) -> tuple[float, float]:
        """Where the score loses most: (x, y) from the upper left, as shares of width and height."""
        height, width = self.quality_map.shape
        row, column = np.unravel_index(int(self.quality_map.argmax()), (height, width))
        return float(column) / width, float(row) / height

    @property
    def alt_text(self) -> str:
        """What ``figure`` shows, in words, for those who do not see it."""
        scores = ", ".join(f"{task} {value:.2f}" for task, value in self.scores.items())
        x, y = self.worst_place
        column = ("left", "middle", "right")[min(2, int(3 * x))]
        row = ("upper", "middle", "lower")[min(2, int(3 * y))]
        where = "middle" if row == column else f"{row} {column}"
        prompt = (
            f" for the prompt \u201c{self.prompt}\u201d" if self.prompt else " without a prompt"
        )
        parts = [
            f"An image{prompt}: {scores}.",
            f"It loses most of its {self.map_task} in the {where}.",
            self.sentence,
            *self.warnings,
        ]
        return " ".join(filter(None, parts))

    def figure(self, most_words: int = 6) -> Figure:
        """Image, map, a bar for every word, and maps of up to ``most_words``, as a matplotlib figure.

        ``alt_text`` says the same in words.

        Raises:
            ConfigError: ``most_words`` is no whole number of 0 or more.
            MissingExtraError: matplotlib is not installed (``diffagiqa[report]``).
        """
        from diffagiqa.explain.figures import explanation_figure

        checks.whole("most_words", most_words)
        return explanation_figure(self, most_words)

    def to_dict(self) -> dict[str, Any]:
        """Scores, words and ``worst_place``, as plain types for JSON; the maps are left out."""
        x, y = self.worst_place
        return {
            "prompt": self.prompt,
            "scores": dict(self.scores),
            "worst_place": {"x": round(x, 3), "y": round(y, 3)},
            "words": [
                {"word": w.text, "start": w.start, "end": w.end, "drop": w.drop} for w in self.words
            ],
            "missing": [word.text for word in self.missing],
            "sentence": self.sentence,
            "warnings": list(self.warnings),
            "doubtful": self.doubtful,
            "unfamiliar": self.unfamiliar,
        }


def explain(
    scorer: Scorer,
    image: Any,
    prompt: str = "",
    *,
    words: bool = True,
) -> Explanation:
    """Explain the scores of one image.

    Costs a pass for the scores, one per word from the encoded image on, and for the map one, with 81 of
    pyramid and heads where the backbone has windows. docs/how-to/explain.md says how faithful it is.

    Args:
        scorer: the model.
        image: path, bytes, PIL image, array or tensor, as for ``Scorer``.
        prompt: what was asked for.
        words: explain the words too.

    Raises:
        ImageError: the image cannot be read.
        PromptError: the prompt is no text, or too long.
        ConfigError: an argument is not as expected.
        DeviceError: the image does not fit into memory.
    """
    check_scorer(scorer)
    checks.flag("words", words)
    pixels = scorer.prepare(image)  # (3,H,W)
    prompt = clean_prompt(prompt)
    task = MAP_TASK if MAP_TASK in scorer.tasks else scorer.tasks[0]
    (judged,) = scorer.score_prepared([(pixels, prompt)])
    if not isinstance(judged, Score):
        raise judged
    scores = {name: value for name, value in judged.scores.items() if not math.isnan(value)}
    effects: tuple[WordEffect, ...] = ()
    if words and WORD_TASK in scorer.tasks and scorer.config.use_text:
        effects = tuple(_word_effects(scorer, pixels, prompt))
    method = method_for(scorer)
    lost = METHODS[method](scorer, pixels, prompt, task)
    shown = (pixels.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    return Explanation(
        shown, prompt, scores, task, method, lost.numpy(), effects,
        unfamiliar=judged.unfamiliar, doubtful=WORD_TASK in scorer.config.doubtful,
    )  # fmt: skip


@torch.inference_mode()
def word_drops(scorer: Scorer, pixels: torch.Tensor, prompt: str, words: list[Word]) -> list[float]:
    """For each word, the alignment score minus the alignment score without the word, in [-1, 1].

    ``pixels`` (3, H, W) in [0, 1], as ``Scorer.prepare`` gives them. The image is encoded once.
    """
    texts = [prompt, *(clean_prompt(without(prompt, word)) for word in words)]
    image = pixels[None].to(scorer.device)
    with_each = scorer.runner.with_prompts(image, scorer.prompts(texts))
    whole, *rest = (float(scores[WORD_TASK]) for scores in with_each)
    return [whole - score for score in rest]


def _word_effects(scorer: Scorer, pixels: torch.Tensor, prompt: str) -> list[WordEffect]:
    words = split_words(prompt)
    if not words:
        return []
    drops = word_drops(scorer, pixels, prompt, words)
    seen = word_maps(scorer, pixels, prompt, words)
    return [
        WordEffect(word.text, word.start, word.end, drop, attention)
        for word, drop, attention in zip(words, drops, seen, strict=True)
    ]


@torch.inference_mode()
def word_maps(
    scorer: Scorer, pixels: torch.Tensor, prompt: str, words: list[Word]
) -> list[np.ndarray]:
    """For each word, how much every position looks at it, (H, W), as the pass for alignment sees it.

    Of the forward pass that scores: all its draws of noise, long prompts as the model treats them. Zeros
    for a word that is not read, and where the backbone has no such maps.
    """
    model, backbone, config = scorer.model, scorer.backbone, scorer.config
    size = tuple(pixels.shape[-2:])
    names = backbone.word_features(config.features)
    positions = backbone.word_positions(
        prompt, [(word.start, word.end) for word in words], config.long_prompts
    )
    nothing = np.zeros(size, np.float32)
    if not names:
        return [nothing] * len(words)
    prompts = Prompts.stack(scorer.prompts([prompt]))
    images = pixels[None].to(scorer.device)
    draws = scorer.runner.intermediates(images, prompts, names, until="features")["features"]
    row = model.pass_of[WORD_TASK]  # one image: a row for each pass
    maps = torch.stack(
        [
            F.interpolate(draw[name][row, None].float(), size, mode="bilinear")[0]
            for draw in draws
            for name in names
        ]
    ).mean(0)  # (L,H,W)
    return [maps[tokens].mean(0).cpu().numpy() if tokens else nothing for tokens in positions]


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
