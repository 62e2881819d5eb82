"""What the page shows as HTML: scores, words, verdicts, faults. All text of others is escaped."""

from __future__ import annotations

import html

from diffagiqa.data.samples import printable
from diffagiqa.data.wording import counted
from diffagiqa.explain import Explanation
from diffagiqa.explain.explanation import WordEffect
from diffagiqa.scorer import Score

HINTS = {
    "perception": "how good the picture looks",
    "alignment": "how well it shows the prompt",
}
ABOUT_EQUAL = 0.01  # a smaller difference means nothing
ALIGNMENT_CAVEAT = (
    "The model in the package hardly reads the prompts of real pictures: "
    "their alignment says little."
)


def hint_html(text: str) -> str:
    """A remark in small print; empty for none."""
    return f'<p class="hint">{html.escape(text)}</p>' if text else ""


def message_html(text: str) -> str:
    """A fault as the page shows it."""
    return f'<p class="fault" role="alert">{html.escape(printable(text))}</p>'


def score_html(score: Score, has_prompt: bool = True, caveat: str = "") -> str:
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
        parts.append(hint_html("Scored against the empty prompt: the alignment means nothing."))
    return f'<div class="scores">{"".join(parts)}{hint_html(caveat)}</div>'


def better_html(first: Score, second: Score, has_prompt: bool = True, caveat: str = "") -> str:
    """Which of two is better, task by task; without a prompt, nothing of alignment."""
    lines = []
    for task in first.scores:
        if task == "alignment" and not has_prompt:
            continue
        gap = round(second[task] - first[task], 3)
        said = f"{'B' if gap > 0 else 'A'} is better by {abs(gap):.3f}"
        if abs(gap) < ABOUT_EQUAL:
            said = "about equal"
        lines.append(f"<li><b>{html.escape(task)}</b>: {said}</li>")
    return f'<ul class="sentence">{"".join(lines)}</ul>{hint_html(caveat if has_prompt else "")}'


def words_html(found: Explanation) -> str:
    """Which words seem missing: a sentence, and below it a table of all; empty without words."""
    if not found.words:
        return ""
    missing = "finds little of it" if found.doubtful else "seems missing"
    heads = ("word", "chance it is shown", "without it, alignment", missing)
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    rows = "".join(
        f'<tr><th scope="row">{html.escape(word.text)}</th>'
        f"<td>{'not known' if word.shown is None else f'{word.shown:.0%}'}</td>"
        f"<td>{_effect(word)}</td><td>{'yes' if found.lacks(word) else ''}</td></tr>"
        for word in found.words
    )
    return (
        f'<p class="sentence">{html.escape(found.sentence)}</p>'
        f'<div class="wide"><table class="words"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _effect(word: WordEffect) -> str:
    change = round(abs(word.drop), 3)
    return f"{'falls' if word.drop > 0 else 'rises'} by {change:.3f}" if change else "stays"


def progress_html(done: int, total: int, failed: int = 0, caveat: str = "") -> str:
    """How far a run over many pictures has come, for the eye and for a screen reader."""
    said = f"{done} of {counted(total, 'picture')} done" + (f", {failed} failed" if failed else "")
    return (
        f'<p class="sentence" role="status">{said}</p>'
        f'<div class="bar" aria-hidden="true"><i style="width:{100 * done / total:.1f}%"></i></div>'
        f"{hint_html(caveat)}"
    )
