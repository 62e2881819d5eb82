"""``explain``: one picture and its prompt -> a map of lost quality, and what each word does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from diffagiqa import checks
from diffagiqa.data.prompts import clean_prompt
from diffagiqa.explain.attention import attention_maps, token_places, word_maps
from diffagiqa.explain.spatial import METHODS, quality_map
from diffagiqa.explain.words import Word, split_words, without
from diffagiqa.model.evidence import pooled, unet_token_maps
from diffagiqa.scorer import Score, Scorer, check_scorer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MISSING_ABOVE = 0.01  # below it, leaving out a word without meaning does as much
MISSING_BELOW = 0.5  # chance that a word is shown
NAMED = 3  # words in the sentence
DOUBT = " It hardly reads the prompts of real images, so this says next to nothing about them."
MAP_TASK, WORD_TASK = "perception", "alignment"


@dataclass(frozen=True)
class WordEffect:
    """One word of the prompt.

    Attributes:
        text: the word, or a phrase such as "left of".
        start, end: its place: ``prompt[start:end]``.
        drop: how much the alignment score falls when the word is left out, -1 .. 1. Below 0: the
            picture suits the prompt better without the word.
        attention: (S, S) in [0, 1], share of the U-Net's cross-attention on the word's tokens, or,
            with ``shown``, how much each place looks like the word; zeros for a word beyond the text
            encoder's limit.
        shown: the chance that the picture shows the word, of models with a look for words; else None.
    """

    text: str
    start: int
    end: int
    drop: float
    attention: np.ndarray = field(repr=False)
    shown: float | None = None

    @property
    def rank(self) -> float:
        """The lower, the more surely the word is missing."""
        return self.drop if self.shown is None else self.shown


@dataclass(frozen=True)
class Explanation:
    """What the model says of one picture.

    Attributes:
        image: (S, S, 3) uint8, as the model saw it.
        prompt: as it was scored.
        scores: by task, in [0, 1].
        map_task, map_method: what ``quality_map`` is of, and how it was made.
        quality_map: (S, S), above 0 where the picture lowers that score.
        words: in the order of the prompt; empty without a prompt.
        missing_above: a word whose leaving out raises the score by more counts as missing; where a
            word's chance to be shown is known, one below 0.5 does.
        unfamiliar: what is unlike the training data, so that the scores mean little; see ``Score``.
        doubtful: the model's notice says that it is small; then ``sentence`` claims nothing.
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
        """Words that the picture seems not to show, the surest first."""
        found = [word for word in self.words if self.lacks(word)]
        return tuple(sorted(found, key=lambda word: word.rank))

    def lacks(self, word: WordEffect) -> bool:
        """Whether the picture seems not to show this word."""
        return -word.drop > self.missing_above if word.shown is None else word.shown < MISSING_BELOW

    @property
    def sentence(self) -> str:
        """The missing words in a sentence: the surest three, and how many more there are.

        Empty where the model has no alignment score or there is no prompt.
        """
        if not self.words:
            return ""
        if all(word.shown is None and abs(word.drop) < 1e-6 for word in self.words):
            return "This model's alignment score does not depend on the words of the prompt."
        missing = self.missing
        if not missing:
            return "No word of the prompt seems to be missing." + DOUBT * self.doubtful
        names = [f"'{word.text}'" for word in missing[:NAMED]]
        if self.doubtful:
            return f"The model finds least of {_listed(names)}.{DOUBT}"
        if more := len(missing[NAMED:]):
            names.append(f"{more} more word{'s' * (more > 1)}")
        return f"{_listed(names)} {'seem' if len(names) > 1 else 'seems'} not to be shown."

    @property
    def worst_place(self) -> tuple[float, float]:
        """Where the score loses most: shares of width and height, from the upper left corner."""
        height, width = self.quality_map.shape
        row, column = np.unravel_index(int(self.quality_map.argmax()), (height, width))
        return float(column) / width, float(row) / height

    def figure(self, most_words: int = 6) -> Figure:
        """Picture, map and words as a matplotlib figure; needs ``diffagiqa[report]``."""
        from diffagiqa.explain.figures import explanation_figure

        checks.whole("most_words", most_words)
        return explanation_figure(self, most_words)

    def to_dict(self) -> dict[str, Any]:
        """Scores, words and the place of the largest loss, as plain types for JSON."""
        x, y = self.worst_place
        return {
            "prompt": self.prompt,
            "scores": dict(self.scores),
            "worst_place": {"x": round(x, 3), "y": round(y, 3)},
            "words": [
                {"word": w.text, "start": w.start, "end": w.end, "drop": w.drop, "shown": w.shown}
                for w in self.words
            ],
            "missing": [word.text for word in self.missing],
            "doubtful": self.doubtful,
            "unfamiliar": self.unfamiliar,
        }


def explain(
    scorer: Scorer,
    image: Any,
    prompt: str = "",
    *,
    method: str = "activation",
    words: bool = True,
    missing_above: float = MISSING_ABOVE,
) -> Explanation:
    """Explain the scores of one picture.

    Costs 65 passes for the map by occlusion (6 forward and backward passes by "gradient", one by
    "activation"), and one per word.

    Args:
        scorer: the model.
        image: path, bytes, PIL image, array or tensor, as for ``Scorer``.
        prompt: what was asked for.
        method: "occlusion", "gradient" or "activation"; docs/how-to/explain.md says how faithful each is.
        words: explain the words, too.
        missing_above: see ``Explanation``.

    Raises:
        ImageError: the picture cannot be read.
        ConfigError: the method is unknown, or an argument is of another type.
    """
    check_scorer(scorer)
    checks.one_of("method", method, METHODS)  # before any of it is computed
    checks.flag("words", words)
    checks.number("missing_above", missing_above)
    pixels = scorer.prepare(image)  # (3,S,S)
    prompt = clean_prompt(prompt)
    task = MAP_TASK if MAP_TASK in scorer.tasks else scorer.tasks[0]
    (judged,) = scorer.score_prepared([(pixels, prompt)])
    if not isinstance(judged, Score):
        raise judged
    scores = dict(judged.scores)
    effects: tuple[WordEffect, ...] = ()
    if words and WORD_TASK in scorer.tasks and scorer.config.use_text:
        effects = tuple(_word_effects(scorer, pixels, prompt, scores[WORD_TASK]))
    lost = quality_map(scorer, pixels, prompt, task, method)
    shown = (pixels.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    return Explanation(
        shown, prompt, scores, task, method, lost.numpy(), effects, missing_above,
        judged.unfamiliar, bool(scorer.notice),
    )  # fmt: skip


def word_drops(
    scorer: Scorer, pixels: torch.Tensor, prompt: str, words: list[Word], whole: float
) -> list[float]:
    """Of each word, alignment with the whole prompt minus alignment without the word."""
    pairs: list[Any] = [(pixels, clean_prompt(without(prompt, word))) for word in words]
    drops: list[float] = []
    for start in range(0, len(pairs), scorer.batch_size):
        for found in scorer.score_prepared(pairs[start : start + scorer.batch_size]):
            drops.append(whole - found[WORD_TASK])  # type: ignore[index]
    return drops


def _word_effects(
    scorer: Scorer, pixels: torch.Tensor, prompt: str, whole: float
) -> list[WordEffect]:
    words = split_words(prompt)
    if not words:
        return []
    drops = word_drops(scorer, pixels, prompt, words, whole)
    places = token_places(scorer.backbone.tokenizer, prompt, words)
    chances: list[float | None] = [None] * len(words)
    if scorer.config.words:
        looks = _looks(scorer, pixels, prompt)
        chances = list(_chances(looks, places))
        size = (scorer.config.image_size,) * 2
        large = [F.interpolate(look, size, mode="bilinear") for look in looks]
        maps = torch.stack(large).mean(0).sigmoid()[0]
    else:
        maps = _attention(scorer, pixels, prompt)
    seen = word_maps(maps, places).cpu().numpy()
    return [
        WordEffect(word.text, word.start, word.end, drop, seen[i], chance)
        for i, (word, drop, chance) in enumerate(zip(words, drops, chances, strict=True))
    ]


def word_chances(
    scorer: Scorer, pixels: torch.Tensor, prompt: str, words: list[Word]
) -> list[float]:
    """Of each word, the chance that the picture shows it, by the U-Net's evidence (``model.evidence``).

    The mean evidence of the word's tokens and of all layers; 0.5 for a word beyond the text encoder's
    limit.
    """
    places = token_places(scorer.backbone.tokenizer, prompt, words)
    return _chances(_looks(scorer, pixels, prompt), places)


def _chances(looks: list[torch.Tensor], places: list[list[int]]) -> list[float]:
    found = [pooled(look.flatten(2).transpose(1, 2)) for look in looks]
    tokens = torch.stack(found).mean(0)[0]  # (L,)
    return [float(tokens[place].mean().sigmoid()) if place else 0.5 for place in places]


@torch.inference_mode()
def _looks(scorer: Scorer, pixels: torch.Tensor, prompt: str) -> list[torch.Tensor]:
    """How much each place looks like each token, (1, L, h, w) per layer of the look for words."""
    model, backbone, config = scorer.model, scorer.backbone, scorer.config
    text = backbone.encode_text([prompt], config.long_prompts)
    small = model.small_latents(pixels[None].to(scorer.device), backbone)
    return unet_token_maps(backbone.unet, small, config.timestep, text, config.words)


@torch.inference_mode()
def _attention(scorer: Scorer, pixels: torch.Tensor, prompt: str) -> torch.Tensor:
    """(77 or more, S, S) cross-attention, as the pass for alignment sees the picture."""
    model, backbone, config = scorer.model, scorer.backbone, scorer.config
    prompters = dict(model.prompters.items())
    prompter = prompters.get(WORD_TASK) or next(iter(prompters.values()))
    mean, std = backbone.encode_image(prompter(pixels[None].to(scorer.device)))
    latents = backbone.noisy_latents(mean, std, scorer.noises[0], config.timestep)
    text = backbone.encode_text([prompt], config.long_prompts)
    size = config.image_size
    return attention_maps(backbone.unet, latents, config.timestep, text, config.features, size)[0]


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
