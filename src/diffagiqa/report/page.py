"""One self-contained HTML file for a run: works from disk, offline, without any script."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffagiqa import checks
from diffagiqa.data.images import decode_image
from diffagiqa.data.samples import printable
from diffagiqa.data.wording import counted
from diffagiqa.errors import ImageError, TableError, need_extra
from diffagiqa.jobs.folder import OutputFolder
from diffagiqa.report import charts
from diffagiqa.report.images import ImageFinder
from diffagiqa.report.runs import Run, check_run, group_column
from diffagiqa.rows import doubt_sentence

if TYPE_CHECKING:
    import pandas as pd

TEMPLATE = "report.html"
THUMBNAIL = 240  # pixels, longer side
MOST_GROUPS, MOST_ERRORS = 50, 200
MOST_TEXT, MOST_NAME = 160, 70  # characters of a prompt and of a file's name on a card
# Perception, and its lead over alignment, of a fine image of something else.
GOOD, APART = 0.5, 0.2
MOST_PATH, MOST_ERROR = 1000, 1000  # characters of an image's name and of a reason anywhere


def write_report(run: Run, out: str | Path, **options: Any) -> Path:
    """Write ``render_report(run, **options)`` as one HTML file, ``out``, which is returned.

    Raises:
        TableError: no row has scores, the column ``by`` is missing, or ``out`` cannot be written.
        ConfigError: an argument is not as expected.
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    out = Path(checks.location("out", out))
    OutputFolder(str(out.parent)).write(out.name, render_report(run, **options).encode())
    return out


def render_report(
    run: Run, *, by: str | None = None, root: str | Path | None = None,
    each: int = 12, title: str | None = None,
) -> str:  # fmt: skip
    """A page that works offline: statistics, charts, galleries, errors.

    Args:
        run: the scores.
        by: column of groups, such as generators, or "folder"; default: "generator" if there is one,
            else the folder.
        root: folder that image paths are relative to; images outside it are not shown. Default: the
            column ``file``, the current folder, that of the scores.
        each: images per gallery, 0 or more.
        title: heading; default: the run's name.
    """
    check_run(run)
    checks.whole("each", each)
    if root is not None:
        checks.location("root", root)
    for library in ("jinja2", "matplotlib"):
        need_extra(library, "report")
    import jinja2

    scored = run.scored
    if scored.empty:
        raise TableError(f"{run.name} has no row with scores; see its column error")
    groups = group_column(run, by)[scored.index]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    failed = run.rows[run.rows["error"] != ""]
    several = groups.nunique() > 1
    shown = tuple(task for task in run.tasks if scored[task].notna().any())
    trusted = tuple(task for task in shown if task not in run.doubtful)
    finder = ImageFinder(None if root is None else Path(root), run.folder)
    galleries = _galleries(run, scored, finder, each)
    _warn_of_absent([card for gallery in galleries for card in gallery["cards"]])
    return environment.get_template(TEMPLATE).render(
        title=printable(title or run.name),
        tasks=shown,
        facts=_facts(run, scored, shown),
        doubtful=run.doubtful,
        notice=doubt_sentence(run.doubtful) if run.doubtful else "",
        summary=_summary(scored, run, shown, groups) if several else [],
        histogram=charts.histogram(scored, shown),
        histogram_says=_spread(scored, shown),
        scatter=charts.scatter(scored, trusted, groups) if len(trusted) > 1 else "",
        scatter_says=_sides(scored, trusted) if len(trusted) > 1 else "",
        galleries=galleries,
        errors=[
            (_end_of(r.image), printable(r.error[:MOST_ERROR]))
            for r in failed[:MOST_ERRORS].itertuples()
        ],
        more_errors=max(0, len(failed) - MOST_ERRORS),
    )


def _facts(run: Run, scored: pd.DataFrame, tasks: tuple[str, ...]) -> list[tuple[str, str]]:
    rows, good = run.rows, run.rows["error"] == ""
    facts = [
        ("images", f"{len(rows):,}"),
        ("prompts", f"{rows['prompt'][rows['prompt'] != ''].nunique():,}"),
        ("failed", f"{int((~good).sum()):,}"),
    ]
    if count := int((good & (rows["prompt_source"] == "none")).sum()):
        facts.append(("without a prompt", f"{count:,}"))
    if count := int(rows["prompt_source"].str.endswith(" ambiguous").sum()):
        facts.append(("with an ambiguous prompt", f"{count:,}"))
    if "unfamiliar" in rows.columns and rows["unfamiliar"].notna().any():
        flagged = rows["unfamiliar"].notna() & (rows["unfamiliar"] != "")
        facts.append(("unlike the training data", f"{int(flagged.sum()):,}"))
    facts += [
        (f"mean {task}" + " (doubtful)" * (task in run.doubtful), f"{scored[task].mean():.3f}")
        for task in tasks
    ]
    for column in ("model", "seed"):
        if column in rows.columns:
            # A column with gaps is read as floats, and a seed is a whole number.
            values = {f"{v:.0f}" if isinstance(v, float) else str(v) for v in rows[column].dropna()}
            facts.append((column, printable(", ".join(sorted(values)))[:60]))
    return facts


def _summary(
    scored: pd.DataFrame, run: Run, tasks: tuple[str, ...], groups: pd.Series
) -> list[dict[str, Any]]:
    """Means and standard errors per group, the best first."""
    figures = scored.groupby(groups, sort=False)[list(tasks)].agg(["mean", "sem", "size"])
    means = figures.xs("mean", axis=1, level=1)
    best = (
        means[list(run.ranking)]
        .sum(axis=1)
        .sort_values(ascending=False, kind="stable")
        .index[:MOST_GROUPS]
    )
    return [
        {
            "name": _end_of(str(name)) or "without a name",
            "count": int(figures.loc[name, (tasks[0], "size")]),
            "means": {task: float(figures.loc[name, (task, "mean")]) for task in tasks},
            # NaN for a single image.
            "errors": {task: float(figures.loc[name, (task, "sem")]) for task in tasks},
        }
        for name in best
    ]


def _spread(scored: pd.DataFrame, tasks: tuple[str, ...]) -> str:
    """What the histograms show, in words."""
    return "; ".join(
        f"{task} from {scored[task].min():.2f} to {scored[task].max():.2f}, "
        f"half of the images above {scored[task].median():.2f}"
        for task in tasks
    )


def _sides(scored: pd.DataFrame, tasks: tuple[str, ...]) -> str:
    """What the scatter plot shows, in words."""
    scored = scored[scored[list(tasks)].notna().all(axis=1)]
    higher = int((scored[tasks[0]] > scored[tasks[1]]).sum())
    return (
        f"{tasks[0]} against {tasks[1]}, one mark per image; "
        f"{higher:,} of {len(scored):,} have more {tasks[0]} than {tasks[1]}"
    )


def _galleries(
    run: Run, scored: pd.DataFrame, finder: ImageFinder, each: int
) -> list[dict[str, Any]]:
    """No image stands in two of them: best and worst take at most half each."""
    order = run.weighted().dropna().sort_values(ascending=False, kind="stable").index
    by = run.ranking[0] if len(run.ranking) == 1 else "mean score"
    best = order[: min(each, -(-len(order) // 2))]
    worst = order[::-1][: min(each, len(order) // 2)]
    chosen = [("Best", f"Highest {by}.", best), ("Worst", f"Lowest {by}.", worst)]
    if {"perception", "alignment"} <= set(run.tasks) - set(run.doubtful):
        others = scored.drop(index=best.union(worst))
        gap = others["perception"] - others["alignment"]
        fine = others["perception"] >= max(GOOD, scored["perception"].median())
        missed = gap[fine & (gap >= APART)].sort_values(ascending=False, kind="stable").index
        note = (
            f"Perception of {GOOD:g} or more and above the median, and {APART:g} above alignment: "
            "look whether the prompt was met."
        )
        chosen.append(("Fine images of something else", note, missed[:each]))
    return [
        {"title": title, "note": note, "cards": [_card(run, scored.loc[i], finder) for i in rows]}
        for title, note, rows in chosen
        if len(rows)
    ]


def _warn_of_absent(cards: Sequence[dict[str, Any]]) -> None:
    """Scores of a table name images relative to that table's folder, which nobody here knows."""
    if absent := sum(not card["thumbnail"] and "://" not in card["image"] for card in cards):
        were = counted(absent, "image was", "images were")
        warnings.warn(
            f"{were} not found, of {len(cards)} to show; give their folder as root (--root)",
            stacklevel=4,
        )


def _end_of(name: str) -> str:
    """An image's or group's name, of which a table of strangers may make a megabyte."""
    return printable(name if len(name) <= MOST_PATH else "…" + name[-MOST_PATH:])


def _card(run: Run, row: pd.Series, finder: ImageFinder) -> dict[str, Any]:
    """An image as the template shows it; ``short_prompt`` is "" where the prompt needs no shortening."""
    image, prompt = _end_of(str(row["image"])), printable(row["prompt"])
    remarks = {name: row.get(name) for name in ("unfamiliar", "prompt_read")}
    return {
        "image": image,
        "short_name": "…" + image[-MOST_NAME:] if len(image) > MOST_NAME else image,
        "prompt": prompt,
        "short_prompt": prompt[:MOST_TEXT] + "…" if len(prompt) > MOST_TEXT else "",
        "scores": [(task, float(row[task])) for task in run.tasks if row[task] == row[task]],
        "thumbnail": thumbnail(finder.find(str(row["image"]), row.get("file"))),
        **{name: printable(v) if isinstance(v, str) else "" for name, v in remarks.items()},
    }


def thumbnail(path: Path | None) -> str:
    """A data URI of an image file, "" where there is none or it cannot be read."""
    from PIL import Image

    if path is None:
        return ""
    try:
        image = Image.fromarray(decode_image(path))
    except ImageError:
        return ""
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
