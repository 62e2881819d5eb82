"""What the page shows as HTML: scores, words, faults. All text of others is escaped."""

from __future__ import annotations

import html
import math

from diffagiqa.data.samples import printable
from diffagiqa.data.wording import counted
from diffagiqa.explain import Explanation
from diffagiqa.explain.explanation import WordEffect
from diffagiqa.model.config import ModelConfig
from diffagiqa.rows import notice_of
from diffagiqa.scorer import Score

HINTS = {
    "perception": "how good the image looks",
    "alignment": "how well it shows the prompt",
}


def hint_html(text: str) -> str:
    """A remark in small print; empty for none."""
    return f'<p class="hint">{html.escape(text)}</p>' if text else ""


def message_html(text: str) -> str:
    """A fault as the page shows it."""
    return f'<p class="fault" role="alert">{html.escape(printable(text))}</p>'


def score_html(config: ModelConfig, score: Score) -> str:
    """Scores as bars with their numbers, which a screen reader says as they stand."""
    parts = []
    for task in config.tasks:
        if math.isnan(score[task.name]):
            parts.append(hint_html(f"No prompt, so no {task.name}."))
            continue
        value, name = score[task.name], html.escape(task.name)
        doubt = ' <span class="doubt">doubtful</span>' if task.name in config.doubtful else ""
        hint = html.escape(HINTS.get(task.name, ""))
        parts.append(
            f'<div class="score" role="group" aria-label="{name}">'
            f'<div class="line"><span class="task">{name}{doubt}</span><b>{value:.3f}</b></div>'
            f'<div class="bar" aria-hidden="true"><i style="width:{100 * value:.1f}%"></i></div>'
            f'<div class="hint">{hint}{"; " if hint else ""}'
            f"as a mean opinion score {score.mos[task.name]:.2f}</div></div>"
        )
    if score.unfamiliar:
        what = html.escape(score.unfamiliar.replace("+", " and "))
        parts.append(
            f'<p class="flag">Unlike what this model was trained on ({what}): '
            "the scores mean little.</p>"
        )
    return f'<div class="scores">{"".join(parts)}{hint_html(notice_of(config))}</div>'


def words_html(explanation: Explanation) -> str:
    """Which words seem missing: a sentence, and below it a table of all; empty without words."""
    if not explanation.words:
        return ""
    missing = "finds little of it" if explanation.doubtful else "seems missing"
    heads = ("word", "without it, alignment", missing)
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    rows = "".join(
        f'<tr><th scope="row">{html.escape(word.text)}</th>'
        f"<td>{_effect(word)}</td><td>{'yes' if explanation.lacks(word) else ''}</td></tr>"
        for word in explanation.words
    )
    return (
        f'<p class="sentence">{html.escape(explanation.sentence)}</p>'
        f'<div class="wide"><table class="words"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _effect(word: WordEffect) -> str:
    change = round(abs(word.drop), 3)
    return f"{'falls' if word.drop > 0 else 'rises'} by {change:.3f}" if change else "stays"


def progress_html(done: int, total: int, failed: int = 0, notice: str = "") -> str:
    """How far a run over many images has come, for the eye and for a screen reader."""
    said = f"{done} of {counted(total, 'image')} done" + (f", {failed} failed" if failed else "")
    return (
        f'<p class="sentence" role="status">{said}</p>'
        f'<div class="bar" aria-hidden="true"><i style="width:{100 * done / total:.1f}%"></i></div>'
        f"{hint_html(notice)}"
    )
