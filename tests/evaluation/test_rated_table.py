"""Rated tables, row by row: what counts as a rating, and what a report keeps of the columns."""

from __future__ import annotations

from pathlib import Path

from diffagiqa.evaluation.rated_table import column_kinds, read_rated_table

LABELS = {"perception": "MOS"}


def test_what_is_no_finite_number_is_no_rating(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "image,mos\na.png,3.5\nb.png,inf\nc.png,nan\nd.png,n/a\ne.png,\n"
    )
    rows = read_rated_table(tmp_path / "t.csv", LABELS).rows
    assert [row.cells["mos"] for row in rows] == [3.5, None, None, None, None]
    assert [row.sample.labels for row in rows] == [{"perception": 3.5}, {}, {}, {}, {}]


def test_a_row_that_cannot_be_read_is_named_by_its_number(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,mos\na.png,1\nb.png,2,3\n")
    good, bad = read_rated_table(tmp_path / "t.csv", LABELS).rows
    assert (good.sample.error, good.sample.source) == (None, f"{tmp_path}/a.png")
    assert str(bad.sample.error).startswith(f"{tmp_path}/t.csv row 2: it has 3 fields")


def test_columns_keep_their_text_but_negative_numbers(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "image,MOS,id,zero,change\na.png,1,007,0,-0.5\nb.png,2,008,1,2\n"
    )
    kinds = column_kinds(read_rated_table(tmp_path / "t.csv", LABELS), LABELS)
    assert kinds == {"image": str, "MOS": float, "id": str, "zero": str, "change": float}
