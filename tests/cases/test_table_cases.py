"""Tables as people have them: one reader, the same rows for every command and in every dialect."""

from __future__ import annotations

import datetime
import json
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from diffagiqa.data.cells import cell_number, cell_text
from diffagiqa.data.columns import TableColumns
from diffagiqa.data.databases import read_table, verified
from diffagiqa.data.records import TableReader, read_frame
from diffagiqa.data.tables import read_samples
from diffagiqa.errors import TableError
from diffagiqa.evaluation.rated_table import read_rated_table
from diffagiqa.report.runs import read_run

CASES = Path(__file__).parent
KETTLE = "a copper kettle on a mossy stone wall"


def image(path: Path, shade: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (shade, 0, 0)).save(path, "PNG")


def case(number: str, root: Path, *names: str) -> Path:
    """A folder with a case's table and small images of these names."""
    for file in (CASES / number).iterdir():
        (root / file.name).write_bytes(file.read_bytes())
    for shade, name in enumerate(names):
        image(root / name, shade)
    return root


def read(table: Path, **options: Any) -> list[tuple[str, str | None]]:
    """Images and prompts; every row must have an image that is there."""
    samples = list(read_samples([str(table)], **options))
    for sample in samples:
        assert sample.error is None
        assert os.path.isfile(str(sample.source))
    return [(sample.image, sample.prompt) for sample in samples]


PAIR = [("images/a.png", KETTLE), ("images/b.png", "two paper boats on a pond")]


def test_17_a_first_line_that_names_the_separator(tmp_path: Path) -> None:
    assert read(case("17", tmp_path, "images/a.png", "images/b.png") / "sep.csv") == PAIR


@pytest.mark.parametrize(
    ("first", "mark"),
    [
        ("sep=;", ";"), ("SEP=,", ","), ('"sep=|"', "|"), ("sep=\t", "\t"), ("\n\nsep=;", ";"),
        ("sep=;;;", ";"), ("sep=; ", ";"), ("", "|"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_separators_named_in_a_first_line(
    tmp_path: Path, first: str, mark: str, encoding: str
) -> None:
    image(tmp_path / "a.png")
    rows = [["image", "prompt"], ["a.png", '"a cat; red, old | tame"']]
    text = "\r\n".join([first, *(mark.join(row) for row in rows)])
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    assert read(tmp_path / "t.csv") == [("a.png", "a cat; red, old | tame")]


def test_18_utf_16_with_tabs(tmp_path: Path) -> None:
    table = case("18", tmp_path, "images/a.png", "images/b.png") / "excel-unicode.csv"
    assert read(table) == PAIR
    prompts = tmp_path / "prompts.txt"
    prompts.write_text(f"{KETTLE}\r\n{PAIR[1][1]}\r\n", encoding="utf-16")
    names = [str(tmp_path / name) for name, _ in PAIR]
    assert [s.prompt for s in read_samples(names, prompts_file=str(prompts))] == [
        prompt for _, prompt in PAIR
    ]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-16-be with mark"]
)
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json"])
def test_encodings(tmp_path: Path, encoding: str, suffix: str) -> None:
    rows = [{"画像": "a.png", "prompt": "苔むした石垣 🫖"}, {"画像": "b.png", "prompt": "café"}]
    if suffix in (".csv", ".tsv"):
        frame = pd.DataFrame(rows)
        text = frame.to_csv(index=False, sep="\t" if suffix == ".tsv" else ",")
    elif suffix == ".jsonl":
        text = "".join(json.dumps(row, ensure_ascii=False) + "\r\n" for row in rows)
    else:
        text = json.dumps(rows, ensure_ascii=False)
    mark = "\ufeff" if "mark" in encoding else ""
    (tmp_path / f"t{suffix}").write_bytes((mark + text).encode(encoding.split()[0]))
    for name in ("a.png", "b.png"):
        image(tmp_path / name)
    expected = [(row["画像"], row["prompt"]) for row in rows]
    assert read(tmp_path / f"t{suffix}", image_column="画像") == expected


def test_22_numbers_and_booleans_in_a_workbook_are_the_cells_of_a_csv(tmp_path: Path) -> None:
    case("22", tmp_path, "images/a.png", "images/b.png", "7")
    assert read(tmp_path / "t.csv") == [
        ("images/a.png", "1984"), ("images/b.png", "TRUE"), ("7", "x")
    ]  # fmt: skip
    assert read(tmp_path / "t.xlsx") == [
        ("images/a.png", "1984"), ("images/b.png", "TRUE"), ("7", KETTLE)
    ]  # fmt: skip


def test_names_with_spaces_and_errors_of_spreadsheets(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    (tmp_path / "t.csv").write_text("Positive Prompt, Image-Path \na cat, a.png\n#N/A, a.png\n")
    assert read(tmp_path / "t.csv") == [(" a.png", "a cat"), (" a.png", None)]
    rows = [
        {"image": "a.png", "prompt": "a cat_x000D_\non a mat"},
        {"image": "a.png", "prompt": "#N/A"},
    ]
    pd.DataFrame(rows).to_excel(tmp_path / "t.xlsx", index=False)
    assert read(tmp_path / "t.xlsx") == [("a.png", "a cat on a mat"), ("a.png", None)]


TYPED = [
    {"image": 7, "prompt": 1984, "generator": 1.5, "mos": 3.5},
    {"image": 8, "prompt": True, "generator": 2, "mos": 4},
    {"image": 9, "prompt": datetime.date(2026, 1, 2), "generator": "x", "mos": 2.25},
    {"image": 10, "prompt": None, "generator": None, "mos": None},
]


def typed_table(path: Path) -> None:
    if path.suffix == ".xlsx":
        pd.DataFrame(TYPED, dtype=object).to_excel(path, index=False)
        return
    # Parquet has one type per column, so the mixed ones stay with JSON.
    rows = [{**row, "prompt": cell_text(row["prompt"]) if i == 2 else row["prompt"]}
            for i, row in enumerate(TYPED)]  # fmt: skip
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))


@pytest.mark.parametrize("suffix", [".xlsx", ".jsonl", ".json"])
def test_typed_cells(tmp_path: Path, suffix: str) -> None:
    table = tmp_path / f"t{suffix}"
    typed_table(table)
    for name in ("7", "8", "9", "10"):
        image(tmp_path / name)
    samples = list(read_samples([str(table)]))
    assert [(s.image, s.prompt, s.generator) for s in samples] == [
        ("7", "1984", "1.5"), ("8", "TRUE", "2"), ("9", "2026-01-02", "x"), ("10", None, None)
    ]  # fmt: skip
    rated = read_rated_table(table, {"perception": "mos"}).rows
    assert [row.sample.labels.get("perception") for row in rated] == [3.5, 4, 2.25, None]


def test_typed_columns_of_parquet(tmp_path: Path) -> None:
    frame = pd.DataFrame({"image": [7, 8], "prompt": [1984.0, None], "mos": [3.5, float("nan")]})
    frame.to_parquet(tmp_path / "t.parquet")
    first, second = read_samples([str(tmp_path / "t.parquet")])
    assert (first.image, first.prompt) == ("7", "1984")
    assert (second.image, second.prompt) == ("8", None)


def test_lists_are_no_text() -> None:
    with pytest.raises(TableError, match=r"its prompt is list; give text\."):
        cell_text(["a"], "prompt")


def composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def decomposed(name: str) -> str:
    return unicodedata.normalize("NFD", name)


def test_23_paths_of_windows_and_decomposed_names(tmp_path: Path) -> None:
    case("23", tmp_path, "images/a.png", f"images/{decomposed('théière.png')}")
    assert read(tmp_path / "t.csv") == [
        ("images\\a.png", KETTLE), (composed("images/théière.png"), KETTLE)
    ]  # fmt: skip


@pytest.mark.parametrize(("write", "save"), [(composed, decomposed), (decomposed, composed)])
@pytest.mark.parametrize("name", ["é/ö.png", "가/각.png", "plain/ñ.png"])
def test_names_in_another_unicode_form(
    tmp_path: Path, write: Callable[[str], str], save: Callable[[str], str], name: str
) -> None:
    image(tmp_path / save(name))
    rows = [{"image": write(name).replace("/", "\\"), "prompt": "x", "mos": 1}]
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    assert read(tmp_path / "t.csv") == [(rows[0]["image"], "x")]
    assert read(tmp_path / "t.csv", root=str(tmp_path)) == [(rows[0]["image"], "x")]
    columns = TableColumns(labels={"perception": "mos"}, scales={"perception": (0, 5)})
    assert verified(read_table(tmp_path / "t.csv", columns)).table["path"].tolist() == [save(name)]
    matched = read_samples([str(tmp_path / save(name))], prompts_file=str(tmp_path / "t.csv"))
    assert [sample.prompt for sample in matched] == ["x"]
    for given in (tmp_path / write(name), (tmp_path / write(name)).parent):
        (sample,) = read_samples([str(given)])
        assert Path(sample.image).is_file()


@pytest.mark.skipif(os.name == "nt", reason="there, such paths are full ones")
@pytest.mark.parametrize(
    "name", ["C:\\renders\\a.png", "D:/renders/a.png", "\\\\nas\\share\\a.png"]
)
def test_full_paths_of_windows_say_so(tmp_path: Path, name: str) -> None:
    (tmp_path / "t.csv").write_text(f"image,prompt\n{name},x\n")
    (sample,) = read_samples([str(tmp_path / "t.csv")])
    assert sample.error is not None
    assert (
        "is a full path of Windows, which is not on this machine; give it relative" in sample.error
    )


@pytest.mark.skipif(os.name == "nt", reason="there, a backslash is a separator")
def test_a_backslash_in_a_name_is_a_letter_where_the_file_is_there(tmp_path: Path) -> None:
    image(tmp_path / "a\\b.png")
    (tmp_path / "t.csv").write_text("image,prompt\na\\b.png,x\n..\\up.png,y\na\\..\\..\\up.png,z\n")
    first, *others = read_samples([str(tmp_path / "t.csv")])
    assert first.source == str(tmp_path / "a\\b.png")
    assert ["leads out of the folder" in str(sample.error) for sample in others] == [True, True]


COLUMNS = TableColumns(
    prompt="prompt", labels={"perception": "quality"}, scales={"perception": (1, 5)}
)


def test_29_decimal_commas(tmp_path: Path) -> None:
    table = case("29", tmp_path, "images/a.png", "images/b.png") / "de.csv"
    rated = read_rated_table(table, {"perception": "quality"}).rows
    labels = [row.sample.labels["perception"] for row in rated]
    assert labels == [3.5, 2.25, 4.0]
    assert sum(labels) / 3 == 3.25
    assert verified(read_table(table, COLUMNS)).table["perception"].tolist() == labels


DIALECTS: dict[str, Callable[[pd.DataFrame, Path], None]] = {
    "comma.csv": lambda frame, path: frame.to_csv(path, index=False),
    "german.csv": lambda frame, path: frame.to_csv(path, index=False, sep=";", decimal=","),
    "excel.csv": lambda frame, path: frame.to_csv(
        path, index=False, sep="\t", decimal=",", encoding="utf-16"
    ),
    "quoted.csv": lambda frame, path: frame.astype(str).replace(r"^(\d)\.(\d+)$", r"\1,\2", regex=True)
    .to_csv(path, index=False),
    "wide.csv": lambda frame, path: frame.assign(**{"": "", " ": ""}).to_csv(path, index=False),
    "t.tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    "t.jsonl": lambda frame, path: frame.to_json(path, orient="records", lines=True),
    "t.json": lambda frame, path: frame.to_json(path, orient="records"),
    "t.parquet": lambda frame, path: frame.to_parquet(path),
    "t.xlsx": lambda frame, path: frame.to_excel(path, index=False),
    "text.xlsx": lambda frame, path: frame.astype(str).to_excel(path, index=False),
}  # fmt: skip


@pytest.mark.parametrize("name", DIALECTS)
def test_every_command_reads_the_same(tmp_path: Path, name: str) -> None:
    """One table in every dialect, through the doors of score, evaluate, train and report."""
    frame = pd.DataFrame(
        {
            "image": ["a.png", "b.png", "c.png"],
            "prompt": ["1,5 dogs", "1984", "a cat; red, old"],
            "quality": [3.5, 2.25, 4.0],
            "perception": [0.5, 0.25, 1.0],
        }
    )
    for shade, file in enumerate(frame["image"]):
        image(tmp_path / file, shade)
    table = tmp_path / name
    DIALECTS[name](frame, table)
    pairs = list(zip(frame["image"], frame["prompt"], strict=True))
    assert read(table) == pairs
    rated = read_rated_table(table, {"perception": "quality"}).rows
    assert [(r.sample.image, r.sample.prompt) for r in rated] == pairs
    assert [r.sample.labels["perception"] for r in rated] == [3.5, 2.25, 4.0]
    rows = verified(read_table(table, COLUMNS)).table
    assert rows["prompt"].tolist() == frame["prompt"].tolist()
    assert rows["perception"].tolist() == [3.5, 2.25, 4.0]
    run = read_run(table).rows
    assert list(zip(run["image"], run["prompt"], strict=True)) == pairs
    assert run["perception"].tolist() == [0.5, 0.25, 1.0]


@pytest.mark.parametrize(
    ("text", "comma", "number"),
    [
        ("3,5", False, 3.5), ("1,234", False, None), ("1,234", True, 1.234), ("0,125", False, 0.125),
        ("1.234,5", True, None), ("1,2,3", True, None), (" +4 ", False, 4.0), ("-1e-2", False, -0.01),
        ("1_0", False, None), ("0x10", False, None), ("nan", False, None), ("1e999", False, None),
        ("9" * 500, False, None), ("", True, None), (".5", False, 0.5), ("5.", False, 5.0),
    ],
)  # fmt: skip
def test_numbers(text: str, comma: bool, number: float | None) -> None:
    assert cell_number(text, comma) == number


def test_blank_rows_and_empty_cells_beyond_the_header_are_nothing(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "\r\n;;\r\nimage;prompt;\r\n\r\na.png;x;;;\r\n;;\r\nb.png;y;\r\n"
    )
    assert list(TableReader(tmp_path / "t.csv")) == [
        {"image": "a.png", "prompt": "x"}, {"image": "b.png", "prompt": "y"}
    ]  # fmt: skip


def test_damaged_utf_16_spoils_its_own_row(tmp_path: Path) -> None:
    text = (
        "image,prompt\na.png,x\n".encode("utf-16")
        + b"\x00\xd8"
        + ",y\nb.png,z\n".encode("utf-16-le")
    )
    (tmp_path / "t.csv").write_bytes(text + b"!")
    first, bad, good, end = TableReader(tmp_path / "t.csv")
    assert first == {"image": "a.png", "prompt": "x"}
    assert bad == "it is not UTF-8; save the table as UTF-8."
    assert good == {"image": "b.png", "prompt": "z"}
    assert isinstance(end, str)


def test_a_frame_names_the_row_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,prompt\na.png,x\nb.png,y,z\n")
    with pytest.raises(TableError, match=r"t\.csv row 2: it has 3 fields, and the header 2"):
        read_frame(tmp_path / "t.csv")


def test_what_is_held_whole_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffagiqa.data.records._MAX_FRAME", 2)
    (tmp_path / "t.csv").write_text("image\na\nb\nc\n")
    with pytest.raises(TableError, match="has over 2 rows, and all are needed at once; split it"):
        read_frame(tmp_path / "t.csv")
