"""What the page does with one image: a file and a prompt -> HTML and images."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from diffagiqa.app import markup
from diffagiqa.data.images import ImageLimits, decode_image, read_image_bytes
from diffagiqa.data.prompts import find_prompt
from diffagiqa.data.samples import printable
from diffagiqa.errors import ImageError
from diffagiqa.explain import Explanation
from diffagiqa.explain import explain as explain_image
from diffagiqa.explain.figures import contrast, overlay, visible
from diffagiqa.scorer import Scorer

LIMITS = ImageLimits(max_bytes=50_000_000, max_pixels=50_000_000)


@dataclass(frozen=True)
class Shown:
    """What one scored image puts on the page.

    Attributes:
        scores: HTML.
        heat: (S, S, 3) uint8 overlay, None where nothing was explained.
        words: which words seem missing, HTML.
        attention: (overlay, word), one per word.
    """

    scores: str
    heat: np.ndarray | None = None
    words: str = ""
    attention: list[tuple[np.ndarray, str]] = field(default_factory=list)


def open_image(path: str) -> tuple[np.ndarray, str, str]:
    """A dropped file -> (H, W, 3) uint8, the prompt found in it or "", and where that was.

    Raises:
        ImageError: it is no image that can be read.
    """
    data, image = _read(path)
    prompt, source = find_prompt(None, data, sidecar=False)
    return image, prompt or "", source


def own_name(text: str, path: str) -> str:
    """A fault's text with the file's own name: its path on this machine is nothing to a visitor."""
    name = printable(Path(path).name)
    return text.replace(printable(path), name).replace("the image data", name)


def _read(path: str) -> tuple[bytes, np.ndarray]:
    try:
        data = read_image_bytes(path, LIMITS)
        return data, decode_image(data, LIMITS)
    except ImageError as fault:
        raise ImageError(own_name(str(fault), path)) from None


def score_image(scorer: Scorer, path: str | None, prompt: str, explain: bool) -> Shown:
    """Score, and with ``explain`` say why.

    Raises:
        ImageError: no file, or one that cannot be read.
        PromptError: the prompt is too long.
    """
    if not path:
        raise ImageError("there is no image yet; drop one, or choose an example")
    image = _read(path)[1]
    scores = markup.score_html(scorer.config, scorer(image, prompt))
    if not explain:
        return Shown(scores)
    explanation: Explanation = explain_image(scorer, image, prompt)
    return Shown(
        scores,
        overlay(explanation.image, visible(explanation.quality_map)),
        markup.words_html(explanation),
        [(overlay(explanation.image, contrast(w.attention)), w.text) for w in explanation.words],
    )
