"""Score columns for a pandas or polars frame, in one line."""

from __future__ import annotations

import sys
from typing import Any

from diffagiqa.checks import shown
from diffagiqa.errors import DiffAGIQAError, TableError
from diffagiqa.scorer import Score, Scorer, check_scorer

TEXT = ("unfamiliar", "error")


def add_scores(
    frame: Any, scorer: Scorer, image: str = "image", prompt: str | None = "prompt"
) -> Any:
    """Score every row of a data frame.

    Args:
        frame: a pandas or polars ``DataFrame``.
        scorer: the model.
        image: column of paths, bytes or PIL images.
        prompt: column of prompts, empty cells being empty prompts; None: the empty prompt for all.

    Returns:
        A new frame of the same kind with, per task, ``TASK`` in [0, 1] and ``TASK_mos`` on the MOS
        scale; ``unfamiliar``, what is unlike the training data, for models that can tell; and
        ``error``, one sentence where a row cannot be scored. Other cells of such a row are empty.

    Raises:
        TableError: a column is missing or exists twice; or ``frame`` is no ``DataFrame``.
        ConfigError: ``scorer`` is no ``Scorer``.

    >>> pd.read_csv("renders.csv").pipe(add_scores, scorer)                  # doctest: +SKIP
    """
    import pandas

    check_scorer(scorer)
    libraries: Any = (pandas, sys.modules.get("polars", pandas))
    if not any(isinstance(frame, library.DataFrame) for library in libraries):
        raise TableError(f"frame is {shown(frame)}; expected a DataFrame of pandas or polars")
    for column in (image,) if prompt is None else (image, prompt):
        if (found := list(frame.columns).count(column)) != 1:
            names = ", ".join(map(str, frame.columns))
            raise TableError(
                f"the frame has {found or 'no'} column{'s' * (found > 1)} {column!r}; it has {names}"
            )
    images = frame[image].to_list()
    prompts = [""] * len(images) if prompt is None else frame[prompt].to_list()
    texts = ["" if pandas.api.types.is_scalar(t) and pandas.isna(t) else t for t in prompts]
    results = list(scorer.score_many(zip(images, texts, strict=True)))
    columns: dict[str, list[Any]] = {}
    for task in scorer.tasks:
        columns[task] = [None if isinstance(r, DiffAGIQAError) else r[task] for r in results]
        columns[f"{task}_mos"] = [
            None if isinstance(r, DiffAGIQAError) else r.mos[task] for r in results
        ]
    if any(isinstance(r, Score) and r.unfamiliar for r in results):
        columns["unfamiliar"] = [
            None if isinstance(r, DiffAGIQAError) else r.unfamiliar or None for r in results
        ]
    columns["error"] = [str(r) if isinstance(r, DiffAGIQAError) else None for r in results]
    if hasattr(frame, "with_columns"):
        import polars

        kinds = {name: polars.String if name in TEXT else polars.Float64 for name in columns}
        return frame.with_columns(
            polars.Series(name, values, dtype=kinds[name]) for name, values in columns.items()
        )
    dtypes = {name: "object" if name in TEXT else "float64" for name in columns}
    return frame.assign(
        **{
            name: pandas.Series(values, index=frame.index, dtype=dtypes[name])
            for name, values in columns.items()
        }
    )
