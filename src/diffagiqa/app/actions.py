"""What the page does, without the page: files and prompts -> HTML, pictures and rows."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from diffagiqa.data.images import ImageLimits, decode_image, read_image_bytes
from diffagiqa.data.prompts import find_prompt
from diffagiqa.data.results import RowWriter
from diffagiqa.data.samples import printable
from diffagiqa.errors import DiffAGIQAError, ImageError
from diffagiqa.explain import Explanation
from diffagiqa.explain.figures import contrast, overlay, visible
from diffagiqa.scorer import Score, Scorer

LIMITS = ImageLimits(max_bytes=50_000_000, max_pixels=50_000_000)
WORD_COLUMNS = ("word", "chance it is shown", "alignment lost without it", "seems missing")
MOST_BATCH = 500
HINTS = {
    "perception": "how good the picture looks",
    "alignment": "how well it shows the prompt",
}


@dataclass(frozen=True)
class Shown:
    """What one scored picture puts on the page.

    Attributes:
        scores: HTML.
        heat: (S, S, 3) uint8 overlay, None where nothing was explained.
        sentence: which words seem missing, HTML.
        words: rows of the word table.
        attention: (overlay, word), one per word.
    """

    scores: str
    heat: np.ndarray | None = None
    sentence: str = ""
    words: list[list[Any]] = field(default_factory=list)
    attention: list[tuple[np.ndarray, str]] = field(default_factory=list)


def open_picture(path: str) -> tuple[np.ndarray, str, str]:
    """A dropped file -> (H, W, 3) uint8, the prompt found in it, and a line that says from where.

    Raises:
        ImageError: it is no picture that can be read.
    """
    data = read_image_bytes(path, LIMITS)
    picture = decode_image(data, LIMITS)
    prompt, source = find_prompt(None, data, sidecar=False)
    if prompt:
        return picture, prompt, f"Prompt found in the file ({source}). Change it if it is wrong."
    return picture, "", "No prompt in the file: type the one that the picture was made from."


def score_picture(
    scorer: Scorer,
    path: str | None,
    prompt: str,
    explain: bool,
    method: str = "activation",
    words: bool = True,
) -> Shown:
    """Score, and with ``explain`` say why; without ``words`` by the map alone, which is quicker.

    Raises:
        ImageError: no file, or one that cannot be read.
    """
    if not path:
        raise ImageError("there is no picture yet; drop one, or choose an example")
    picture = decode_image(path, LIMITS)
    scores = score_html(scorer(picture, prompt), bool(prompt.strip()))
    if not explain:
        return Shown(scores)
    found: Explanation = scorer.explain(picture, prompt, method=method, words=words)
    return Shown(
        scores,
        overlay(found.image, visible(found.quality_map)),
        f'<p class="sentence">{html.escape(found.sentence)}</p>' if found.sentence else "",
        [
            [
                w.text,
                "not known" if w.shown is None else f"{w.shown:.0%}",
                round(w.drop, 3),
                "yes" if found.lacks(w) else "",
            ]
            for w in found.words
        ],
        [(overlay(found.image, contrast(w.attention)), w.text) for w in found.words],
    )


def score_html(score: Score, has_prompt: bool = True) -> str:
    """Scores as bars with their numbers, which a screen reader says as they stand."""
    parts = []
    for task, value in score.scores.items():
        name = html.escape(task)
        hint = html.escape(HINTS.get(task, ""))
        parts.append(
            f'<div class="score" role="group" aria-label="{name}">'
            f'<div class="line"><span class="task">{name}</span><b>{value:.3f}</b></div>'
            f'<div class="bar" aria-hidden="true"><i style="width:{100 * value:.1f}%"></i></div>'
            f'<div class="hint">{hint}{"; " if hint else ""}'
            f"as a mean opinion score {score.mos[task]:.2f}</div></div>"
        )
    if score.unfamiliar:
        what = html.escape(score.unfamiliar.replace("+", " and "))
        parts.append(
            f'<p class="flag">Unlike what this model was trained on ({what}): '
            "the scores mean little.</p>"
        )
    if not has_prompt:
        parts.append('<p class="hint">Scored against the empty prompt.</p>')
    return f'<div class="scores">{"".join(parts)}</div>'


def message_html(error: Exception) -> str:
    """An error as the page shows it."""
    return f'<p class="fault" role="alert">{html.escape(printable(str(error)))}</p>'


def better_html(first: Score, second: Score) -> str:
    """Which of two is better, task by task."""
    lines = []
    for task in first.scores:
        gap = second[task] - first[task]
        winner = "equal" if abs(gap) < 0.005 else ("B is better" if gap > 0 else "A is better")
        size = "" if winner == "equal" else f" by {abs(gap):.3f}"
        lines.append(f"<li><b>{html.escape(task)}</b>: {winner}{size}</li>")
    return f'<ul class="sentence">{"".join(lines)}</ul>'


def score_batch(
    scorer: Scorer,
    paths: Sequence[str],
    prompt: str,
    out: Path,
    progress: Callable[[float], Any] = lambda _: None,
) -> list[list[Any]]:
    """Score many files; the prompt of each comes from the file, else from ``prompt``.

    Writes ``out`` (.csv) and returns its rows: file, scores, prompt, error.

    Raises:
        ImageError: no files, or more than ``MOST_BATCH``.
    """
    if not paths:
        raise ImageError("there are no pictures yet; drop some")
    if len(paths) > MOST_BATCH:
        raise ImageError(
            f"{len(paths)} pictures were given, and this page takes {MOST_BATCH}; "
            "use diffagiqa score for more"
        )
    columns = batch_columns(scorer)
    kinds = {name: float if name in scorer.tasks else str for name in columns}
    rows: list[list[Any]] = []
    with RowWriter(out, kinds) as writer:
        for number, path in enumerate(paths):
            row = _batch_row(scorer, path, prompt)
            writer.write(row)
            rows.append(
                [round(v, 3) if isinstance(v, float) else v for v in (row[c] for c in columns)]
            )
            progress((number + 1) / len(paths))
    return rows


def batch_columns(scorer: Scorer) -> list[str]:
    """Columns of the batch table, in order."""
    flag = ["unfamiliar"] if scorer.config.unfamiliar_above else []
    return ["file", *scorer.tasks, *flag, "prompt", "error"]


def _batch_row(scorer: Scorer, path: str, prompt: str) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(batch_columns(scorer), "")
    row |= dict.fromkeys(scorer.tasks)
    row["file"] = printable(Path(path).name)
    try:
        picture, found, _ = open_picture(path)
        row["prompt"] = found or prompt
        score = scorer(picture, row["prompt"])
        row |= {task: score[task] for task in scorer.tasks}
        if "unfamiliar" in row:
            row["unfamiliar"] = score.unfamiliar
    except DiffAGIQAError as fault:
        row["error"] = printable(str(fault))
    return row
