"""Explanations drawn: overlays that stay readable without colour vision and in grey.

Colour: cividis, made for colour-vision deficiency (Nuñez et al., PLoS ONE 2018), over a greyed image;
the strongest place is also framed by a line, so colour is never the only sign.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from diffagiqa.errors import need_extra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from diffagiqa.explain.explanation import Explanation, WordEffect

FRAMED = 0.6  # of the strongest place
COLUMN = 3.0  # inches
BARS = 14  # in one column
MOST_PROMPT = 400  # characters
FALL, RISE = "#0072B2", "#D55E00"  # Okabe-Ito blue and vermillion


def new_figure(width: float, height: float) -> Figure:
    """A figure of its own, outside pyplot's global state; inches."""
    need_extra("matplotlib", "report")
    from matplotlib.figure import Figure as NewFigure

    return NewFigure(figsize=(width, height), layout="constrained")


def visible(values: np.ndarray) -> np.ndarray:
    """A map (H, W) as heat in [0, 1]: what is above 0, each place widened to a sixteenth of the side.

    Maps are often a few single places, too small to be seen beside an image. 1 is what one pixel in
    500 reaches, so that one outlier hides less of the rest; zeros stay zeros.
    """
    from scipy import ndimage

    size = values.shape[-1]
    wide = ndimage.maximum_filter(np.clip(values, 0, None), max(1, size // 16))
    heat = ndimage.gaussian_filter(wide, size / 96)
    top = float(np.percentile(heat, 99.8))
    return np.clip(heat / top, 0, 1) if top > 0 else heat


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 and (H, W) in [0, 1] -> (H, W, 3) uint8: cividis over the greyed image."""
    need_extra("matplotlib", "report")
    from matplotlib import colormaps

    grey = image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    base = np.repeat(grey[..., None], 3, axis=2) * 0.85
    colour = colormaps["cividis"](heat)[..., :3] * 255
    weight = (0.75 * heat[..., None] ** 0.7).astype(np.float32)
    return np.clip((1 - weight) * base + weight * colour, 0, 255).astype(np.uint8)


def draw_overlay(axis: Any, image: np.ndarray, heat: np.ndarray, title: str) -> None:
    """An overlay with a line around what is above ``FRAMED``."""
    axis.imshow(overlay(image, heat))
    if heat.max() > FRAMED > heat.min():
        axis.contour(heat, levels=[FRAMED], colors="black", linewidths=2.6)
        axis.contour(heat, levels=[FRAMED], colors="white", linewidths=1.2)
    axis.set_title(title, fontsize=10, wrap=True, parse_math=False)
    axis.set_axis_off()


def explanation_figure(explanation: Explanation, most_words: int = 6) -> Figure:
    """Above: image, map, bars of the words. Below: where the words that matter most are found.

    Warnings stand above them all; the prompt is wrapped, and cut after ``MOST_PROMPT`` characters.
    """
    with_maps = [word for word in explanation.words if word.attention.max() > word.attention.min()]
    strongest = sorted(with_maps, key=lambda word: -abs(word.drop))[:most_words]
    shown = sorted(strongest, key=lambda word: word.start)
    bars = max(1, math.ceil(len(explanation.words) / BARS))  # columns of bars
    columns = 2 + bars if explanation.words else 2
    height, width = explanation.image.shape[:2]
    side = min(max(COLUMN * height / width, 1.8), 6.0)  # of an image, inches
    upper = side + 0.9
    if explanation.words:
        upper = max(upper, 0.9 + 0.21 * min(BARS, len(explanation.words)))
    below = max(len(shown), columns)  # images in the lower row
    lower = 0.7 + side * columns / below if shown else 0.0
    title = _title(explanation, int(11 * COLUMN * columns))  # characters at 10 points
    figure = new_figure(COLUMN * columns, upper + lower + 0.22 * (1 + title.count("\n")))
    rows: Any = figure.subfigures(
        2 if shown else 1, 1, squeeze=False, height_ratios=[upper, lower] if shown else None
    )[:, 0]
    axes = rows[0].subplots(1, columns, squeeze=False)[0]
    scores = ", ".join(f"{task} {value:.2f}" for task, value in explanation.scores.items())
    axes[0].imshow(explanation.image)
    axes[0].set_title(scores, fontsize=10, parse_math=False)
    axes[0].set_axis_off()
    draw_overlay(
        axes[1],
        explanation.image,
        visible(explanation.quality_map),
        f"what lowers {explanation.map_task}",
    )
    for axis in axes[:2]:
        axis.set_anchor("N")
    _colour_scale(rows[0], axes[1])
    for i, axis in enumerate(axes[2:]):
        _word_bars(axis, explanation, explanation.words[i * BARS : (i + 1) * BARS])
    if shown:
        lower_axes = rows[1].subplots(1, below, squeeze=False)[0]
        for axis in lower_axes[len(shown) :]:
            axis.set_axis_off()
        for axis, word in zip(lower_axes, shown, strict=False):
            draw_overlay(
                axis, explanation.image, contrast(word.attention), _shortened(word.text, 18)
            )
        rows[1].suptitle("where the model finds a word, least to most in each image", fontsize=10)
    figure.suptitle(title, fontsize=10, parse_math=False)
    return figure


def _title(explanation: Explanation, line: int) -> str:
    """Prompt and warnings, in lines of so many characters."""
    prompt = _shortened(explanation.prompt, MOST_PROMPT) or "without a prompt"
    warnings = [f"Caution: {warning}" for warning in explanation.warnings]
    return "\n".join(text for part in (*warnings, prompt) for text in textwrap.wrap(part, line))


def _colour_scale(figure: Any, axis: Any) -> None:
    """What colour and line mean, below the map; the same holds for the images of the words."""
    from matplotlib.cm import ScalarMappable

    scale = figure.colorbar(
        ScalarMappable(cmap="cividis"), cax=axis.inset_axes((0, -0.1, 1, 0.04)),
        orientation="horizontal", ticks=[0, FRAMED, 1],
    )  # fmt: skip
    scale.ax.set_xticklabels(["nothing", "framed from here", "most"], fontsize=8)


def contrast(attention: np.ndarray) -> np.ndarray:
    """A map of a word, smoothed over a thirty-second of the side, from least to most as 0 .. 1."""
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(attention, max(attention.shape) / 32)
    low, high = float(smooth.min()), float(smooth.max())
    return (smooth - low) / (high - low) if high > low else np.zeros_like(smooth)


def _word_bars(axis: Any, explanation: Explanation, words: Sequence[WordEffect]) -> None:
    """Bars of some of the words, in the order of the prompt, all on one scale."""
    missing = [explanation.lacks(word) for word in words]
    bars = axis.barh(
        range(len(words)), [word.drop for word in words],
        color=[RISE if lacks else FALL for lacks in missing],
    )  # fmt: skip
    for bar, lacks in zip(bars, missing, strict=True):
        if lacks:
            bar.set_hatch("//")
    names = [_shortened(word.text, 18) for word in words]
    axis.set_yticks(range(len(words)), names, parse_math=False)
    # In every column as many: bars of one thickness.
    rows = max(4, min(BARS, len(explanation.words)))
    axis.set_ylim(rows - 0.5, -0.5)
    reach = 1.1 * max(explanation.missing_above, *(abs(word.drop) for word in explanation.words))
    axis.set_xlim(-reach, reach)
    axis.axvline(0, color="black", linewidth=0.8)
    hatched = "the model finds little of it" if explanation.doubtful else "seems not to be shown"
    axis.set_title(f"words of the prompt\n(hatched: {hatched})", fontsize=10)
    axis.set_xlabel("alignment lost without the word", fontsize=9)
    axis.tick_params(labelsize=8)
    axis.locator_params(axis="x", nbins=4)
    axis.spines[["top", "right"]].set_visible(False)


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
