"""Counts and means of a job, chunk by chunk and part by part; which part a chunk belongs to."""

from __future__ import annotations

from typing import Any

from diffagiqa.jobs.chunks import Layout, Share
from diffagiqa.jobs.totals import Totals

ROWS: list[dict[str, Any]] = [
    {"perception": 0.5, "prompt_source": "none"},
    {"perception": 0.2, "prompt_source": "table", "unfamiliar": "picture"},
    {"perception": None, "prompt_source": "none", "error": "no such file"},
    {"perception": 0.8, "prompt_source": "table"},
]


def test_rows_scores_and_faults_are_counted() -> None:
    totals = Totals(("perception",))
    totals.add_chunk(ROWS)
    assert (totals.rows, totals.failed, totals.unfamiliar) == (4, 1, 1)
    assert totals.no_prompt == 1  # a row that failed is no row without a prompt
    assert totals.scores == {"perception": [3, 1.5, 0.2, 0.8]}
    assert totals.mean("perception") == 0.5
    assert totals.mean("alignment") is None


def test_parts_add_up_to_the_whole() -> None:
    whole, parts = Totals(("perception",)), Totals(("perception",))
    whole.add_chunk(ROWS)
    for number, rows in enumerate((ROWS[:2], ROWS[2:])):
        part = Totals(("perception",))
        part.add_chunk(rows)
        parts.add_part(part.as_dict() | {"chunks": {str(number): "digest"}})
    assert parts.as_dict() == whole.as_dict()
    assert parts.chunks == 2


def test_parts_of_a_share_follow_one_another() -> None:
    share = Share(1, 4)
    own = [chunk for chunk in range(24) if share.owns(chunk)]
    assert own == [1, 5, 9, 13, 17, 21]
    layout = Layout(1, 2, 4, share=share)
    assert [layout.part_of(chunk) for chunk in own] == [0, 0, 1, 1, 2, 2]
