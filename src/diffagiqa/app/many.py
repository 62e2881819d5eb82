"""The tab of many images: a table, and the same as a CSV."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diffagiqa.app.batch import (
    MOST,
    TABLES,
    columns_shown,
    failed_first,
    image_files,
    row_shown,
    score_files,
)
from diffagiqa.app.markup import message_html, progress_html
from diffagiqa.data.samples import IMAGE_SUFFIXES
from diffagiqa.errors import DiffAGIQAError
from diffagiqa.rows import Row, notice_of
from diffagiqa.scorer import Scorer


def many(gr: Any, scorer: Scorer, folder: Path) -> None:
    """Lay the tab out."""
    files = gr.File(
        label=f"Image files (up to {MOST}); with them .txt files of their names, or a table, of prompts",
        file_count="multiple", file_types=[*IMAGE_SUFFIXES, ".txt", *TABLES], height=240,
        elem_id="many",
    )  # fmt: skip
    prompt = gr.Textbox(label="Prompt of images that come without one")
    button = gr.Button("Score all", variant="primary", elem_id="score-all")
    status = gr.HTML(elem_id="status")
    table = gr.Dataframe(
        label="Scores", interactive=False, visible=False, wrap=True, elem_id="table"
    )
    download = gr.File(
        label="Table as CSV", interactive=False, visible=False, height=100, elem_id="csv"
    )

    def score_all(paths: list[str] | None, text: str) -> Iterator[list[Any]]:
        hidden = gr.update(value=None, visible=False)
        total = len(image_files(paths or []))
        if total:  # say at once that something goes on
            yield [progress_html(0, total), hidden, hidden]
        out = Path(tempfile.mkdtemp(dir=folder)) / "scores.csv"
        rows: list[Row] = []
        try:
            for done in score_files(scorer, paths or [], text, out):
                rows += done
                yield [progress_html(len(rows), total), hidden, hidden]
        except DiffAGIQAError as error:
            yield [message_html(str(error)), hidden, hidden]
            return
        failed = sum(bool(row["error"]) for row in rows)
        columns = columns_shown(scorer)
        value = {"headers": columns, "data": [row_shown(scorer, row) for row in failed_first(rows)]}
        yield [
            progress_html(len(rows), len(rows), failed, notice_of(scorer.config)),
            gr.update(value=value, visible=True, column_widths=_widths(columns)),
            gr.update(value=str(out), visible=True),
        ]  # fmt: skip

    button.click(
        score_all, [files, prompt], [status, table, download],
        show_progress_on=status, api_visibility="private",
    )  # fmt: skip


def _widths(columns: list[str]) -> list[int]:
    """Pixels of each column: names and two scores fit a phone's 390."""
    wide = {"image": 130, "prompt": 300, "remark": 400}
    return [wide.get(name, 112) for name in columns]
