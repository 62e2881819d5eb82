"""Many files -> a table to show and a CSV to keep, by the way ``diffagiqa score`` goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from diffagiqa.app.actions import own_name
from diffagiqa.data.prompts import MAX_PROMPT_CHARACTERS, clean_prompt, sidecar_prompt
from diffagiqa.data.results import RowWriter
from diffagiqa.data.samples import Sample, printable, suffix
from diffagiqa.data.tables import read_samples
from diffagiqa.errors import ImageError, PromptError, TableError
from diffagiqa.rows import Row, chunked, row_columns, score_chunks
from diffagiqa.scorer import Scorer

MOST = 500
MOST_TEXT = 4 * MAX_PROMPT_CHARACTERS + 1
TABLES = (".csv", ".tsv", ".jsonl", ".xlsx")
THREADS = 4


def score_files(
    scorer: Scorer, paths: Sequence[str], prompt: str, out: Path
) -> Iterator[list[Row]]:
    """Score many files batch by batch, and give the rows of each batch as it is done.

    Prompts come from a table among the files, from a text file of the image's name, from the image
    itself, else from ``prompt``. ``out`` (.csv) has the columns that the command line writes; it is
    there once the last batch was taken.

    Raises:
        ImageError: no images, or more than ``MOST``.
        TableError: a table that is none, that names none of the images, or that is not alone.
        PromptError: ``prompt`` is too long.
    """
    tables = [path for path in paths if suffix(path) in TABLES]
    texts = {Path(path).stem: path for path in paths if suffix(path) == ".txt"}
    images = image_files(paths)
    if not images:
        raise ImageError("there are no images yet; drop some")
    if len(images) > MOST:
        raise ImageError(
            f"{len(images)} images were given, and this page takes {MOST}; "
            "use diffagiqa score for more"
        )
    if len(tables) > 1:
        raise TableError(f"{len(tables)} tables of prompts were given; give one")
    prompt = clean_prompt(prompt)
    samples = [
        _named(sample, texts)
        for sample in read_samples(images, prompts_file=tables[0] if tables else None)
    ]
    chunks = chunked(samples, scorer.batch_size)
    with RowWriter(out, row_columns(scorer.config)) as writer:
        for rows in score_chunks(
            scorer, chunks, chunk_rows=scorer.batch_size, threads=THREADS, fallback=prompt
        ):
            for row in rows:
                row["file"] = row["image"]  # the server's own path is nothing to a visitor
                if row["error"]:
                    row["error"] = own_name(row["error"], images[row["row"]])
                writer.write(row)
            yield rows


def image_files(paths: Sequence[str]) -> list[str]:
    """What is no table and no text, so an image."""
    return [path for path in paths if suffix(path) not in (*TABLES, ".txt")]


def _named(sample: Sample, texts: Mapping[str, str]) -> Sample:
    """The sample by its file's name alone, with the prompt of its text file where there is one."""
    file = Path(sample.image)
    sample = replace(sample, image=printable(file.name), location=sample.image)
    text = texts.get(file.stem) or texts.get(file.name)
    if sample.prompt is not None or sample.error or text is None:
        return sample
    try:
        stated = sidecar_prompt(Path(text).read_bytes()[:MOST_TEXT], Path(text).name)
    except PromptError as fault:
        return replace(sample, error=str(fault))
    return replace(sample, prompt=stated.text, prompt_source=stated.source)


def failed_first(rows: Sequence[Row]) -> list[Row]:
    """Rows that could not be scored before the others, which keep their order."""
    return sorted(rows, key=lambda row: not row["error"])


def columns_shown(scorer: Scorer) -> list[str]:
    """Columns of the table on the page, in order."""
    return ["image", *scorer.tasks, "prompt", "remark"]


def row_shown(scorer: Scorer, row: Row) -> list[Any]:
    """A row as the page shows it: three digits, and a remark where a score is missing or means little."""
    remarks = [row["error"]] if row["error"] else []
    if row["prompt_source"].endswith(" ambiguous"):
        remarks.append("the file leaves open which prompt is its own")
    if unlike := row["unfamiliar"]:
        remarks.append(
            f"{unlike.replace('+', ' and ')} unlike the training data: the scores mean little"
        )
    absent = [task for task in scorer.tasks if row[task] is None]
    if row["prompt_read"]:
        remarks.append(f"of the prompt, the model reads {row['prompt_read']}")
    if absent and not row["error"]:
        remarks.append(f"no prompt, so no {' and '.join(absent)}")
    scores = [None if row[task] is None else f"{row[task]:.3f}" for task in scorer.tasks]
    return [row["image"], *scores, row["prompt"], "; ".join(remarks)]
