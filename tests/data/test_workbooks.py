"""Workbooks are tables like any other."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from zipfile import ZipFile

import pandas as pd
import pytest

from diffagiqa.data import workbooks
from diffagiqa.data.records import TableReader
from diffagiqa.data.tables import read_samples
from diffagiqa.errors import MissingExtraError, TableError


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """Two rows, between them a blank one, and a column without a name."""
    rows = [
        ["image", None, "prompt", "mos", "made"],
        ["a.png", "x", "a cat", 2.5, datetime.date(2026, 1, 2)],
        [None] * 5,
        ["b.png", "y", None, 3, None],
    ]
    file = tmp_path / "rated.xlsx"
    pd.DataFrame(rows).to_excel(file, index=False, header=False)
    return file


def test_rows_of_a_workbook(book: Path) -> None:
    first, second = TableReader(book)
    assert first == {"image": "a.png", "prompt": "a cat", "mos": "2.5", "made": "2026-01-02"}
    assert second == {"image": "b.png", "prompt": "", "mos": "3", "made": ""}
    samples = list(read_samples([str(book)]))
    assert [(sample.image, sample.prompt) for sample in samples] == [
        ("a.png", "a cat"), ("b.png", None),
    ]  # fmt: skip
    assert samples[0].location == str(book.parent / "a.png")


SHEET = "xl/worksheets/sheet1.xml"


def change_sheet(book: Path, old: bytes, new: bytes) -> None:
    """Replace a text in the XML of a workbook's first sheet."""
    with ZipFile(book) as parts:
        files = {name: parts.read(name) for name in parts.namelist()}
    assert old in files[SHEET]
    files[SHEET] = files[SHEET].replace(old, new)
    with ZipFile(book, "w") as parts:
        for name, data in files.items():
            parts.writestr(name, data)


def test_no_row_is_lost_where_the_file_says_that_it_is_smaller(book: Path) -> None:
    change_sheet(book, b'<dimension ref="A1:E4"', b'<dimension ref="A1:A1"')
    first, second = TableReader(book)
    assert (first["image"], first["prompt"]) == ("a.png", "a cat")
    assert (second["image"], second["mos"], second["made"]) == ("b.png", "3", "")


@pytest.mark.parametrize(
    ("old", "new"), [(b'<row r="4"', b'<row r="99999999999"'), (b'"E4"', b'"ZZZ4"')]
)
def test_empty_cells_without_end_are_refused(
    book: Path, old: bytes, new: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workbooks, "_MAX_CELLS", 10_000)
    change_sheet(book, old, new)
    with pytest.raises(TableError, match=r"over 1,048,576 rows or 10,000 cells, empty ones incl"):
        list(TableReader(book))


def test_errors_in_cells_are_empty(book: Path) -> None:
    pd.DataFrame([["image", "mos"], ["a.png", "#N/A"]]).to_excel(book, index=False, header=False)
    assert list(TableReader(book)) == [{"image": "a.png", "mos": ""}]


def test_workbooks_that_cannot_be_read(book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as small:
        small.setattr(workbooks, "_MAX_UNPACKED", 1000)
        with pytest.raises(
            TableError, match=r"bytes unpacked, and the limit is 1,000; save it as CSV"
        ):
            list(TableReader(book))
    pd.DataFrame([["image", "image"], ["a", "b"]]).to_excel(book, index=False, header=False)
    with pytest.raises(TableError, match="names the column 'image' twice"):
        list(TableReader(book))
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'diffagiqa\[train\]'"):
        list(TableReader(book))
    monkeypatch.undo()
    book.write_bytes(b"no workbook")
    with pytest.raises(TableError, match=r"cannot be read as xlsx \(.*\); check its format"):
        list(TableReader(book))
