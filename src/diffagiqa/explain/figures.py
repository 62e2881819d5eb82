"""Explanations drawn: overlays that stay readable without colour vision and in grey.

Colour: cividis, made for colour-vision deficiency (Nuñez et al., PLoS ONE 2018), over a greyed picture;
the strongest place is also framed by a line, so colour is never the only sign.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from diffagiqa.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from diffagiqa.explain.explanation import Explanation

FRAMED = 0.6  # of the strongest place
FALL, RISE = "#0072B2", "#D55E00"  # Okabe-Ito blue and vermillion


def new_figure(width: float, height: float) -> Figure:
    """A figure of its own, outside pyplot's global state; inches."""
    try:
        from matplotlib.figure import Figure as NewFigure
    except ImportError:
        raise MissingExtraError("matplotlib", "report") from None
    return NewFigure(figsize=(width, height), layout="constrained")


def visible(values: np.ndarray) -> np.ndarray:
    """A map (S, S) as heat in [0, 1]: what is above 0, each place widened to S / 16 pixels.

    Maps are often a few single places, too small to be seen beside a picture. 1 is what one pixel in
    500 reaches, so that one outlier hides less of the rest; zeros stay zeros.
    """
    from scipy import ndimage

    size = values.shape[-1]
    wide = ndimage.maximum_filter(np.clip(values, 0, None), max(1, size // 16))
    heat = ndimage.gaussian_filter(wide, size / 96)
    top = float(np.percentile(heat, 99.8))
    return np.clip(heat / top, 0, 1) if top > 0 else heat


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """(S, S, 3) uint8 and (S, S) in [0, 1] -> (S, S, 3) uint8: cividis over the greyed picture."""
    try:
        from matplotlib import colormaps
    except ImportError:
        raise MissingExtraError("matplotlib", "report") from None
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


def explanation_figure(found: Explanation, most_words: int = 6) -> Figure:
    """Above: picture, map, bars of the words. Below: where the words that matter most are found."""
    words = sorted(found.words, key=lambda word: word.rank)
    shown = sorted(words[:most_words], key=lambda word: word.start)
    columns = max(3, len(shown)) if shown else 2
    figure = new_figure(2.6 * columns, 6.8 if shown else 4.0)
    rows: Any = figure.subfigures(
        2 if shown else 1, 1, squeeze=False, height_ratios=[1.35, 1] if shown else None
    )[:, 0]
    axes = rows[0].subplots(1, 3 if shown else 2)
    scores = ", ".join(f"{task} {value:.2f}" for task, value in found.scores.items())
    axes[0].imshow(found.image)
    axes[0].set_title(scores, fontsize=10, parse_math=False)
    axes[0].set_axis_off()
    title = f"what lowers {found.map_task}"
    draw_overlay(axes[1], found.image, visible(found.quality_map), title)
    for axis in axes[:2]:
        axis.set_anchor("N")  # the scale below takes room from one of them
    _colour_scale(rows[0], axes[1])
    if shown:
        _word_bars(axes[2], found)
        below = np.atleast_1d(rows[1].subplots(1, len(shown)))
        for axis, word in zip(below, shown, strict=True):
            draw_overlay(axis, found.image, contrast(word.attention), word.text)
        rows[1].suptitle("where the model finds a word, least to most in each picture", fontsize=10)
    figure.suptitle(_shortened(found.prompt, 30 * columns), fontsize=10, parse_math=False)
    return figure


def _colour_scale(figure: Any, axis: Any) -> None:
    """What colour and line mean, below the map; the same holds for the pictures of the words."""
    from matplotlib.cm import ScalarMappable

    scale = figure.colorbar(
        ScalarMappable(cmap="cividis"), ax=axis, location="bottom", ticks=[0, FRAMED, 1],
        aspect=30, pad=0.02,
    )  # fmt: skip
    scale.ax.set_xticklabels(["nothing", "framed from here", "most"], fontsize=8)


def contrast(attention: np.ndarray) -> np.ndarray:
    """An attention map from its least to its largest value, as 0 .. 1."""
    low, high = float(attention.min()), float(attention.max())
    return (attention - low) / (high - low) if high > low else np.zeros_like(attention)


def _word_bars(axis: Any, found: Explanation) -> None:
    known = found.words[0].shown is not None
    missing = [found.lacks(word) if known else word.drop < 0 for word in found.words]
    lengths = [word.rank for word in found.words]
    places = range(len(lengths))
    bars = axis.barh(places, lengths, color=[RISE if lacks else FALL for lacks in missing])
    for bar, lacks in zip(bars, missing, strict=True):
        if lacks:
            bar.set_hatch("//")
    axis.set_yticks(places, [_shortened(word.text, 24) for word in found.words], parse_math=False)
    axis.invert_yaxis()
    axis.axvline(0.5 if known else 0, color="black", linewidth=0.8)
    hatched = "the model finds little of it" if found.doubtful else "seems not to be shown"
    axis.set_title(f"words of the prompt\n(hatched: {hatched})", fontsize=10)
    axis.set_xlabel(
        "chance that the picture shows it, 0 to 1" if known else "alignment lost without the word",
        fontsize=9,
    )
    if known:
        axis.set_xlim(0, 1)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
