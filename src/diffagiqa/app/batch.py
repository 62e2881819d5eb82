"""Many files -> a table to show and a CSV to keep, by the way ``diffagiqa score`` goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from diffagiqa.app.actions import own_name
from diffagiqa.data.prompts import clean_prompt
from diffagiqa.data.results import RowWriter
from diffagiqa.data.samples import Sample, printable
from diffagiqa.errors import ImageError
from diffagiqa.rows import Row, chunked, row_columns, score_chunks
from diffagiqa.scorer import Scorer

MOST = 500
THREADS = 4


def score_files(
    scorer: Scorer, paths: Sequence[str], prompt: str, out: Path
) -> Iterator[list[Row]]:
    """Score many files batch by batch, and give the rows of each batch as it is done.

    The prompt of each comes from the file, else from ``prompt``. ``out`` (.csv) has the columns that
    the command line writes; it is there once the last batch was taken.

    Raises:
        ImageError: no files, or more than ``MOST``.
        PromptError: ``prompt`` is too long.
    """
    if not paths:
        raise ImageError("there are no pictures yet; drop some")
    if len(paths) > MOST:
        raise ImageError(
            f"{len(paths)} pictures were given, and this page takes {MOST}; "
            "use diffagiqa score for more"
        )
    prompt = clean_prompt(prompt)
    samples = (
        Sample(printable(Path(path).name), None, "none", number, location=path)
        for number, path in enumerate(paths)
    )
    chunks = chunked(samples, scorer.batch_size)
    with RowWriter(out, row_columns(scorer.config)) as writer:
        for rows in score_chunks(
            scorer, chunks, chunk_rows=scorer.batch_size, threads=THREADS, fallback=prompt
        ):
            for row in rows:
                row["file"] = row["image"]  # the server's own path is nothing to a visitor
                if row["error"]:
                    row["error"] = own_name(row["error"], paths[row["row"]])
                writer.write(row)
            yield rows


def columns_shown(scorer: Scorer) -> list[str]:
    """Columns of the table on the page, in order."""
    return ["image", *scorer.tasks, "prompt", "remark"]


def row_shown(scorer: Scorer, row: Row) -> list[Any]:
    """A row as the page shows it: three digits, and a remark where a score is missing or means little."""
    remarks = [row["error"]] if row["error"] else []
    if unlike := row["unfamiliar"]:
        remarks.append(
            f"{unlike.replace('+', ' and ')} unlike the training data: the scores mean little"
        )
    absent = [task for task in scorer.tasks if row[task] is None]
    if absent and not row["error"]:
        remarks.append(f"no prompt, so no {' and '.join(absent)}")
    scores = [None if row[task] is None else f"{row[task]:.3f}" for task in scorer.tasks]
    return [row["image"], *scores, row["prompt"], "; ".join(remarks)]
