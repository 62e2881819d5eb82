"""What the check finds, and what ``diffagiqa data check`` shows of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from diffagiqa.cli.data import app
from diffagiqa.data.databases import check_database, read_database, verified
from diffagiqa.errors import ConfigError, DatabaseError

SETTINGS = ("AttnGAN_normal", "sd1.5_lowcorr")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small AGIQA-3K."""
    random = np.random.default_rng(0)
    rows = []
    (tmp_path / "images").mkdir()
    for level, setting in enumerate(SETTINGS):
        for number in range(6):
            name = f"{setting}_{number:03d}.jpg"
            pixels = random.integers(0, 256, (96, 96, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name)
            rows.append(
                [name, f"thing {number}", "", "", "", 1.0 + 2 * level, 0.3, number / 2, 0.4]
            )
    pd.DataFrame(
        rows,
        columns=["name", "prompt", "adj1", "adj2", "style", "mos_quality", "std_quality",
                 "mos_align", "std_align"],
    ).to_csv(tmp_path / "data.csv", index=False)  # fmt: skip
    return tmp_path


def change(root: Path, row: int, column: str, value: object) -> None:
    table = pd.read_csv(root / "data.csv").astype({column: object})
    table.loc[row, column] = value
    table.to_csv(root / "data.csv", index=False)


def test_report(root: Path) -> None:
    report = check_database(read_database("agiqa-3k", root))
    assert report.usable
    assert (report.rows, report.prompts) == (12, 6)
    assert report.generators == {"AttnGAN_normal": 6, "sd1.5_lowcorr": 6}
    quality = report.labels[0]
    assert (quality.lowest, quality.highest, quality.mean, quality.std) == (1.0, 3.0, 2.0, 1.0)
    assert sum(quality.histogram) == 12
    assert quality.histogram[4] == quality.histogram[12] == 6  # 1.0 and 3.0 of 0..5 in 20 bins
    assert report.notes == (
        "this copy is a part of the database: 12 of 2982 rows, 6 of 300 prompts, 2 of 10 generators",
    )


def test_missing_labels_are_counted(root: Path) -> None:
    change(root, 3, "mos_align", np.nan)
    database = verified(read_database("agiqa-3k", root))
    assert "1 of 12 rows has no alignment score" in database.notes
    assert np.isnan(database.table["alignment"][3])


def test_no_label_of_a_task_at_all(root: Path) -> None:
    table = pd.read_csv(root / "data.csv").assign(mos_align="")
    table.to_csv(root / "data.csv", index=False)
    with pytest.raises(DatabaseError, match="alignment has no scores"):
        verified(read_database("agiqa-3k", root))


def test_identical_files_are_marked_and_left_out(root: Path) -> None:
    images = root / "images"
    for number in (1, 4):  # two prompts, one file
        (images / f"sd1.5_lowcorr_{number:03d}.jpg").write_bytes(
            (images / "AttnGAN_normal_000.jpg").read_bytes()
        )
    database = verified(read_database("agiqa-3k", root))
    marked = database.table.loc[database.table["duplicates"] != -1, "image"].tolist()
    assert marked == ["AttnGAN_normal_000.jpg", "sd1.5_lowcorr_001.jpg", "sd1.5_lowcorr_004.jpg"]
    assert any(
        "3 rows in 1 set have byte-identical files, 1 of the sets" in n for n in database.notes
    )
    clean = database.without_duplicates()
    assert len(clean) == 9
    assert list(clean.table.index) == list(range(9))
    assert any("3 rows whose files are byte-identical" in note for note in clean.notes)
    assert clean.without_duplicates() is clean


def test_files_of_equal_size_and_other_bytes_are_no_duplicates(root: Path) -> None:
    first, second = sorted((root / "images").iterdir())[:2]
    longest = max(first.stat().st_size, second.stat().st_size)
    for file in (first, second):
        file.write_bytes(file.read_bytes().ljust(longest, b"\0"))
    assert (verified(read_database("agiqa-3k", root)).table["duplicates"] == -1).all()


def test_black_pictures_are_named(root: Path) -> None:
    Image.new("RGB", (96, 96)).save(root / "images" / "sd1.5_lowcorr_002.jpg")
    notes = verified(read_database("agiqa-3k", root)).notes
    assert "1 image is of one colour only: sd1.5_lowcorr_002.jpg" in notes


def test_damaged_pictures_show_when_all_are_opened(root: Path) -> None:
    file = root / "images" / "sd1.5_lowcorr_005.jpg"
    file.write_bytes(b"\xff\xd8" + b"x" * (file.stat().st_size - 4) + b"\xff\xd9")
    database = read_database("agiqa-3k", root)
    assert check_database(database).usable
    assert check_database(database, decode=True).errors == (
        "1 image cannot be read: sd1.5_lowcorr_005.jpg",
    )


def test_rows_that_say_the_same_are_kept_once(root: Path) -> None:
    """And others of one picture, which do not, are still left out."""
    table = pd.read_csv(root / "data.csv")
    unlike = table.iloc[[3]].assign(mos_quality=4.0)
    pd.concat([table, table.iloc[[0, 1, 0]], unlike, table.iloc[[3]]]).to_csv(
        root / "data.csv", index=False
    )
    clean = verified(read_database("agiqa-3k", root)).without_duplicates()
    assert clean.table["image"].tolist() == [n for i, n in enumerate(table["name"]) if i != 3]
    assert clean.notes[-2:] == (
        "3 rows repeat another's image, prompt and scores (AttnGAN_normal_000.jpg); one of each is "
        "kept",
        "3 rows whose files are byte-identical to others are left out",
    )


def test_a_copy_that_was_cut_short_is_found(root: Path) -> None:
    file = root / "images" / "sd1.5_lowcorr_005.jpg"
    file.write_bytes(file.read_bytes()[:-200])
    assert check_database(read_database("agiqa-3k", root)).errors == (
        "1 image cannot be read: sd1.5_lowcorr_005.jpg",
    )


def test_more_rows_than_the_distribution_is_another_database(root: Path) -> None:
    database = read_database("agiqa-3k", root)
    table = pd.concat([database.table] * 250, ignore_index=True)
    table["image"] = [f"{i}" for i in range(len(table))]
    from dataclasses import replace

    notes = check_database(replace(database, table=table)).notes
    assert any("not the distributed database: 3000 of 2982 rows" in note for note in notes)


def run(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["check", *map(str, arguments)], env={"COLUMNS": "80"})
    return result.exit_code, result.output


def test_summary(root: Path) -> None:
    code, shown = run("agiqa-3k", root)
    assert code == 0
    for part in ("AGIQA-3K", "Licence: MIT", "perception", "0 to 5", "2.00 ± 1.00", "█",
                 "sd1.5_lowcorr", "official split", "note", "It can be used."):  # fmt: skip
        assert part in shown
    assert all(len(line) <= 80 for line in shown.splitlines())
    best, worst = shown.index("sd1.5_lowcorr "), shown.index("AttnGAN_normal ")
    assert best < worst


def test_unusable_exits_with_1(root: Path) -> None:
    (root / "images" / "sd1.5_lowcorr_002.jpg").unlink()
    code, shown = run("agiqa-3k", root)
    assert code == 1
    assert "1 of 12 images are not below" in shown
    assert "It cannot be used as it is." in shown
    (root / "data.csv").unlink()
    code, shown = run("agiqa-3k", root)
    assert code == 1
    assert "holds none of data.csv" in shown


def test_json(root: Path) -> None:
    code, shown = run("agiqa-3k", root, "--json")
    values = json.loads(shown)
    assert code == 0
    assert values["usable"] is True
    assert values["rows"] == 12
    assert values["labels"][0]["task"] == "perception"
    (root / "data.csv").unlink()
    code, shown = run("agiqa-3k", root, "--json")
    assert code == 1
    assert json.loads(shown)["usable"] is False


def test_json_of_a_database_without_scores_is_valid(root: Path) -> None:
    table = pd.read_csv(root / "data.csv").assign(mos_align="")
    table.to_csv(root / "data.csv", index=False)
    code, shown = run("agiqa-3k", root, "--json")
    assert code == 1
    assert json.loads(shown)["labels"][1]["mean"] is None
    assert "NaN" not in shown
    assert run("agiqa-3k", root)[0] == 1


def test_unknown_name_is_wrong_use(root: Path) -> None:
    result = CliRunner().invoke(app, ["check", "koniq", str(root)])
    assert isinstance(result.exception, ConfigError)
    assert "'koniq' is neither a database (agiqa-1k" in str(result.exception)
    result = CliRunner().invoke(app, ["check", "agiqa-3k"])
    assert "needs its folder; write diffagiqa data check agiqa-3k F" in str(result.exception)


def test_a_table_of_ones_own(root: Path) -> None:
    own = (
        "--label",
        "perception=mos_quality",
        "--scale",
        "perception=0:5",
        "--image-column",
        "name",
    )
    code, shown = run(root / "data.csv", root / "images", *own)
    assert code == 0
    assert "12" in shown
    assert "It can be used." in shown
    code, shown = run(root / "data.csv", *own[:4])
    assert code == 1
    assert "lacks image; it has columns name" in shown
    code, shown = run(root / "data.csv", root / "images", *own, "--decode", "--json")
    assert json.loads(shown)["labels"][0]["labelled"] == 12
    help_text = " ".join(CliRunner().invoke(app, ["check", "--help"]).output.split())
    assert "--decode" in help_text
