"""Score columns for a pandas or polars frame, in one line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from diffagiqa import checks
from diffagiqa.data.samples import Sample
from diffagiqa.errors import TableError
from diffagiqa.rows import score_columns, score_row
from diffagiqa.scorer import Scorer, check_scorer


def add_scores(
    frame: Any,
    scorer: Scorer,
    image: str = "image",
    prompt: str | None = "prompt",
    root: str | Path | None = None,
) -> Any:
    """Score every row of a data frame.

    Args:
        frame: a pandas or polars ``DataFrame``.
        scorer: the model.
        image: column of paths, bytes or PIL images.
        prompt: column of prompts, empty cells being no prompt; None: no prompt for all.
        root: folder that relative paths start from; default: the current one.

    Returns:
        A new frame of the same kind with the columns of ``rows.score_columns``: per task, ``TASK`` in
        [0, 1] and ``TASK_mos`` on the MOS scale; ``doubtful`` and ``unfamiliar``; and ``error``, one
        sentence where a row cannot be scored. Cells with nothing to say are empty.

    Raises:
        TableError: a column is missing or exists twice; or ``frame`` is no ``DataFrame``.
        ConfigError: ``scorer`` is no ``Scorer``.

    >>> pd.read_csv("renders.csv").pipe(add_scores, scorer)                  # doctest: +SKIP
    """
    import pandas

    check_scorer(scorer)
    libraries: Any = (pandas, sys.modules.get("polars", pandas))
    if not any(isinstance(frame, library.DataFrame) for library in libraries):
        raise TableError(
            f"frame is {checks.shown(frame)}; expected a DataFrame of pandas or polars"
        )
    for column in (image,) if prompt is None else (image, prompt):
        if (count := list(frame.columns).count(column)) != 1:
            names = ", ".join(map(str, frame.columns))
            raise TableError(
                f"the frame has {count or 'no'} column{'s' * (count > 1)} "
                f"{checks.shown(column)}; it has {names}"
            )
    images = frame[image].to_list()
    if root is not None:
        folder = Path(checks.location("root", root))
        images = [folder / cell if isinstance(cell, (str, Path)) else cell for cell in images]
    prompts = [""] * len(images) if prompt is None else frame[prompt].to_list()
    texts = ["" if pandas.api.types.is_scalar(t) and pandas.isna(t) else t for t in prompts]
    rows = [
        score_row(scorer, Sample("", str(text), "table", number), result)
        for number, (text, result) in enumerate(
            zip(texts, scorer.score_many(zip(images, texts, strict=True)), strict=True)
        )
    ]
    kinds = score_columns(scorer.config) | {"error": str}
    columns = {name: [row[name] for row in rows] for name in kinds}
    if hasattr(frame, "with_columns"):
        import polars

        return frame.with_columns(
            polars.Series(n, columns[n], dtype=polars.Float64 if kind is float else polars.String)
            for n, kind in kinds.items()
        )
    types = {name: "float64" if kind is float else "object" for name, kind in kinds.items()}
    return frame.assign(
        **{n: pandas.Series(columns[n], index=frame.index, dtype=types[n]) for n in kinds}
    )
