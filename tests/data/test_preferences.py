"""Preferences from small made-up copies of the exact layouts: folders, zip, tar and Parquet bytes."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from diffagiqa.data.databases import Database, check_database, read_database, verified
from diffagiqa.data.databases.choices import read_preferences
from diffagiqa.data.databases.files import json_entries
from diffagiqa.data.images import decode_image
from diffagiqa.data.preferences import (
    PreferenceGroup,
    pairs_of,
    renumbered,
)
from diffagiqa.errors import DatabaseError, TableError


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def hpdv2(root: Path, images: str = "folder") -> None:
    train = [
        {"prompt": "a cat", "file_path": ["0.jpg", "1.jpg"], "human_preference": [0, 1],
         "user_hash": "x"},
        {"prompt": "a cat", "file_path": ["0.jpg", "2.jpg"], "human_preference": [1, 0]},
    ]  # fmt: skip
    test = [
        {"prompt": "a dog", "image_path": ["a.jpg", "b.jpg", "c.jpg"], "rank": [2, 0, 1],
         "raw_annotations": [[2, 0, 1]]}
    ]  # fmt: skip
    root.mkdir(exist_ok=True)
    (root / "train.json").write_text(json.dumps(train))
    (root / "test.json").write_text(json.dumps(test, indent=1))
    names = ["train/0.jpg", "train/1.jpg", "train/2.jpg", "test/a.jpg", "test/b.jpg", "test/c.jpg"]
    for seed, name in enumerate(names):
        if images == "folder":
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_bytes(png(seed))
    if images == "zip":
        with zipfile.ZipFile(root / "images.zip", "w") as archive:
            for seed, name in enumerate(names):
                archive.writestr(name, png(seed))
    if images == "tar":
        for part in ("train", "test"):
            with tarfile.open(root / f"{part}.tar", "w") as tar:
                for seed, name in enumerate(names):
                    if name.startswith(part):
                        info = tarfile.TarInfo(name.partition("/")[2])
                        info.size = len(png(seed))
                        tar.addfile(info, io.BytesIO(png(seed)))


def pick_a_pic(root: Path, rows: list[dict[str, object]] | None = None) -> Path:
    if rows is None:
        rows = [
            {"caption": "a cat", "jpg_0": png(0), "jpg_1": png(1), "label_0": 1.0, "has_label": True,
             "image_0_uid": "u0", "image_1_uid": "u1", "model_0": "sdxl", "model_1": "sd2"},
            {"caption": "a cat", "jpg_0": png(0), "jpg_1": png(2), "label_0": 0.5, "has_label": True,
             "image_0_uid": "u0", "image_1_uid": "u2", "model_0": "sdxl", "model_1": "sdxl"},
            {"caption": "a dog", "jpg_0": png(3), "jpg_1": png(4), "label_0": None,
             "has_label": False, "image_0_uid": "u3", "image_1_uid": "u4", "model_0": "sdxl",
             "model_1": "sd2"},
            {"caption": "a fox", "jpg_0": png(5), "jpg_1": png(6), "label_0": 0.0, "has_label": True,
             "image_0_uid": "u5", "image_1_uid": "u6", "model_0": "sdxl", "model_1": "sd2"},
        ]  # fmt: skip
    file = root / "data" / "train-00000-of-00001-abc.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(rows), file, row_group_size=2)
    return file


def pixels(database: Database) -> list[np.ndarray]:
    return [decode_image(sample.source) for sample in database.samples()]


def test_groups_make_pairs_without_scoring_an_image_twice() -> None:
    groups = [PreferenceGroup((0, 1, 2), (3, 1, 1)), PreferenceGroup((2, 4), (1, 2))]
    pairs = pairs_of(groups)
    assert pairs.first.tolist() == [0, 0, 1, 2]
    assert pairs.second.tolist() == [1, 2, 2, 4]
    assert pairs.outcome.tolist() == [0, 0, 0.5, 1]
    assert pairs.group.tolist() == [0, 0, 0, 1]
    assert groups[0].best == (1, 2)
    assert renumbered(groups, {1: 0, 2: 1}) == (PreferenceGroup((0, 1), (1, 1)),)
    assert len(pairs_of([]).first) == 0


@pytest.mark.parametrize(
    ("rows", "ranks"), [((0,), (1,)), ((0, 0), (1, 2)), ((0, 1), (1,)), ((0, 1), (1, np.nan))]
)
def test_a_group_is_two_images_with_a_rank_each(
    rows: tuple[int, ...], ranks: tuple[float, ...]
) -> None:
    with pytest.raises(TableError):
        PreferenceGroup(rows, ranks)


def test_ratings_with_a_spread_make_shares_of_people() -> None:
    ratings, spread = np.array([3.0, 4.0, 4.0]), 0.8
    group = PreferenceGroup((0, 1, 2), tuple(-ratings), spread=spread)
    assert pairs_of([group]).outcome.tolist() == [0, 0, 0.5]  # what is judged stays an order
    opinions = np.random.default_rng(0).normal(ratings, spread, (200_000, 3))
    chosen = (opinions[:, 0] > opinions[:, 1]).mean()  # of 200,000: a deviation of 0.0009
    first, second, tie = pairs_of([group], shares=True).outcome
    assert first == second == pytest.approx(chosen, abs=0.005)
    assert tie == 0.5
    assert renumbered([group], {0: 1, 1: 0})[0].spread == spread


@pytest.mark.parametrize("images", ["folder", "zip", "tar"])
def test_hpdv2(tmp_path: Path, images: str) -> None:
    hpdv2(tmp_path, images)
    database = verified(read_database("hpdv2", tmp_path))
    assert database.tasks == ()
    assert database.table["image"].tolist()[:3] == ["train/0.jpg", "train/1.jpg", "train/2.jpg"]
    assert database.table["prompt"].tolist() == ["a cat"] * 3 + ["a dog"] * 3
    assert [group.best for group in database.groups] == [(1,), (0,), (4,)]
    assert pairs_of(database.groups).outcome.tolist() == [0, 1, 0, 0, 1]
    assert np.flatnonzero(database.table["part"] == "test").tolist() == [3, 4, 5]
    for seed, image in enumerate(pixels(database)):
        np.testing.assert_array_equal(image, decode_image(png(seed)))
    report = check_database(database, decode=True)
    assert report.usable
    assert report.preferences is not None
    assert (report.preferences.pairs, report.preferences.ties) == (5, 0)
    test = database.select((database.table["part"] == "test").to_numpy(), "test alone")
    assert test.groups == (PreferenceGroup((0, 1, 2), (2, 0, 1)),)


def test_images_that_are_missing_or_twice_there_are_named(tmp_path: Path) -> None:
    hpdv2(tmp_path)
    (tmp_path / "train/1.jpg").unlink()
    (tmp_path / "train/2.jpg").write_bytes(png(0))
    report = check_database(read_database("hpdv2", tmp_path))
    assert any("1 of 6 images are not below" in error for error in report.errors)
    assert any("byte-identical" in note for note in report.notes)
    partial = verified(read_database("hpdv2", tmp_path), allow_partial=True)
    assert [len(group.rows) for group in partial.groups] == [2, 3]
    (tmp_path / "test.json").unlink()
    notes = read_database("hpdv2", tmp_path).notes
    assert "test.json is not there, so the test part is missing" in notes


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"prompt": "x", "file_path": ["0.jpg", "1.jpg"], "human_preference": [1]}, "2 images"),
        ({"prompt": "x", "file_path": ["0.jpg"], "human_preference": [1]}, "fewer than two"),
        ({"prompt": "", "file_path": ["0.jpg", "1.jpg"], "human_preference": [1, 0]}, "no prompt"),
        ({"prompt": "x", "file_path": ["0.jpg", "1.jpg"], "human_preference": ["a", 0]}, "'a'"),
        ({"prompt": "x", "file_path": ["0.jpg", "1.jpg"], "human_preference": [7, 0]}, "7 is no"),
        ({"prompt": "x", "image_path": ["0.jpg", "1.jpg"], "rank": [True, 2]}, "its ranks are"),
        ({"prompt": "x", "file_path": [None, "1.jpg"], "human_preference": [1, 0]}, "no name"),
        ({"prompt": "x", "file_path": "0.jpg", "human_preference": [1, 0]}, "a list of images"),
        ({"prompt": "x", "file_path": ["0.jpg", "1.jpg"]}, "one of ranks"),
        ([], "not an object"),
    ],
)
def test_a_broken_entry_is_refused_by_its_number(
    tmp_path: Path, entry: object, reason: str
) -> None:
    hpdv2(tmp_path)
    good = json.loads((tmp_path / "train.json").read_text())
    (tmp_path / "train.json").write_text(json.dumps([*good, entry]))
    with pytest.raises(DatabaseError, match=r"train\.json.* entry 3") as caught:
        read_database("hpdv2", tmp_path)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ('[{"a": 1}, {"a": 2}]', ["1", "2"]), ('{"x": {"a": 1}, "y": {}}', ["x", "y"]),
        ('{"a": 1}\n{"a": 2}\n', ["1", "2"]), ("[]", []), ("{}", []),
        ("\ufeff [ ]", []),
    ],
)  # fmt: skip
def test_json_is_read_entry_by_entry(tmp_path: Path, text: str, keys: list[str]) -> None:
    (tmp_path / "x.json").write_text(text, encoding="utf-8")
    assert [key for key, _ in json_entries(tmp_path / "x.json")] == keys


def test_long_json_is_read_in_windows(tmp_path: Path) -> None:
    entries = [
        {"number": i, "text": "x" * 50_000} for i in range(60)
    ]  # three windows of a megabyte
    (tmp_path / "x.json").write_text(json.dumps(entries))
    assert [entry for _, entry in json_entries(tmp_path / "x.json")] == entries


@pytest.mark.parametrize(
    "text", ["", "3", '[{"a": 1}', '[{"a": 1} {"a": 2}]', '[{"a": 1}, 2]', '{"x" {}}', '{"x": 1}',
             '[{"a": 1},, {}]', "[" * 100_000]
)  # fmt: skip
def test_broken_json_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DatabaseError, match=r"x\.json cannot be read at entry \d"):
        list(json_entries(tmp_path / "x.json"))


def test_image_reward_with_ties(tmp_path: Path) -> None:
    entry = {"id": "0-1", "prompt": "a fox", "generations": ["images/0.png", "images/1.png",
             "images/2.png"], "ranking": [2, 1, 1]}  # fmt: skip
    (tmp_path / "images").mkdir()
    for seed in range(3):
        (tmp_path / f"images/{seed}.png").write_bytes(png(seed))
    (tmp_path / "test.json").write_text(json.dumps([entry]))
    database = verified(read_database("imagerewarddb", tmp_path))
    assert database.groups == (PreferenceGroup((0, 1, 2), (2, 1, 1)),)
    assert pairs_of(database.groups).outcome.tolist() == [0, 0, 0.5]
    assert "no list of the train part is there, so it is missing" in database.notes
    (tmp_path / "test.json").write_text(json.dumps([entry, entry | {"ranking": [0, 1, 1]}]))
    with pytest.raises(DatabaseError, match=r"entry 2: its ranking is \[0, 1, 1\]; expected ranks"):
        read_database("imagerewarddb", tmp_path)


def test_image_reward_as_the_hub_has_it(tmp_path: Path) -> None:
    rows = [
        {"image_path": f"train_1/{i}.webp", "prompt_id": "7", "prompt": "a fox", "rank": rank}
        for i, rank in enumerate((2, 1))
    ]
    rows.append({"image_path": "train_1/9.webp", "prompt_id": "8", "prompt": "one", "rank": 1})
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "metadata-train.parquet")
    with zipfile.ZipFile(tmp_path / "train_1.zip", "w") as archive:
        for i in range(2):
            archive.writestr(f"{i}.webp", png(i))
    database = verified(read_database("imagerewarddb", tmp_path))
    assert database.table["path"].tolist() == ["train_1.zip::0.webp", "train_1.zip::1.webp"]
    assert database.groups[0].best == (1,)
    assert any("has one image" in note for note in database.notes)
    broken = [*rows, {**rows[0], "rank": None}]
    parquet.write_table(pa.Table.from_pylist(broken), tmp_path / "metadata-train.parquet")
    with pytest.raises(DatabaseError, match="row 4: it has no rank"):
        read_database("imagerewarddb", tmp_path)


def test_pick_a_pic_reads_bytes_from_the_table(tmp_path: Path) -> None:
    pick_a_pic(tmp_path)
    database = verified(read_database("pick-a-pic", tmp_path))
    assert database.table["image"].tolist() == ["u0", "u1", "u2", "u5", "u6"]
    assert database.table["generator"].tolist() == ["sdxl", "sd2", "sdxl", "sdxl", "sd2"]
    assert pairs_of(database.groups).outcome.tolist() == [1, 0.5, 0]
    assert "1 row without a label is left out" in database.notes
    for seed, image in zip((0, 1, 2, 5, 6), pixels(database), strict=True):
        np.testing.assert_array_equal(image, decode_image(png(seed)))
    assert check_database(database, decode=True).usable


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"label_0": 0.7}, "row 1: label_0 is 0.7"), ({"caption": None}, "row 1: it has no prompt"),
     ({"image_1_uid": "u0"}, "row 1: it compares fewer than two")],
)  # fmt: skip
def test_a_broken_row_of_pick_a_pic_is_named(
    tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    row = {"caption": "a cat", "jpg_0": png(0), "jpg_1": png(1), "label_0": 1.0,
           "image_0_uid": "u0", "image_1_uid": "u1"}  # fmt: skip
    pick_a_pic(tmp_path, [row | change])
    with pytest.raises(DatabaseError, match=reason):
        read_database("pick-a-pic", tmp_path)


def test_a_cell_without_an_image_cannot_be_used(tmp_path: Path) -> None:
    row = {"caption": "a cat", "jpg_0": b"", "jpg_1": png(1), "label_0": 1.0}
    file = pick_a_pic(tmp_path, [row, row | {"caption": "b", "jpg_0": None}])
    report = check_database(read_database("pick-a-pic", tmp_path), decode=True)
    assert any("2 images cannot be read" in error for error in report.errors)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DatabaseError, match=r"parquet cannot be read"):
        read_database("pick-a-pic", tmp_path)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_table_of_pairs(tmp_path: Path, suffix: str) -> None:
    import pandas as pd

    rows = pd.DataFrame(
        {
            "prompt": ["a cat", "a cat", "a dog"],
            "image_a": ["a.png", "a.png", "c.png"],
            "image_b": ["b.png", "c.png", "b.png"],
            "Preferred": ["b", "tie", "c.png"],
            "generator_a": ["x", "x", "y"],
            "generator_b": ["y", "y", "x"],
        }
    )
    file = tmp_path / f"pairs{suffix}"
    if suffix == ".csv":
        rows.to_csv(file, index=False)
    elif suffix == ".jsonl":
        rows.to_json(file, orient="records", lines=True)
    else:
        rows.to_parquet(file)
    for seed, name in enumerate(("a.png", "b.png", "c.png")):
        (tmp_path / name).write_bytes(png(seed))
    database = read_preferences(file)
    assert check_database(database).usable
    assert database.table["image"].tolist() == ["a.png", "b.png", "c.png", "c.png", "b.png"]
    assert database.table["generator"].tolist() == ["x", "y", "y", "y", "x"]
    assert pairs_of(database.groups).outcome.tolist() == [0, 0.5, 1]


def test_a_table_of_pairs_with_the_images_in_it(tmp_path: Path) -> None:
    rows = [{"prompt": "a cat", "left": {"bytes": png(0), "path": "x"},
             "right": {"bytes": png(1), "path": "y"}, "choice": "left"}]  # fmt: skip
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "pairs.parquet")
    database = read_preferences(tmp_path / "pairs.parquet", ("left", "right", "choice"))
    np.testing.assert_array_equal(pixels(database)[1], decode_image(png(1)))
    assert database.groups[0].best == (0,)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a cat,a.png,b.png,", "row 2: the choice is ''"),
        ("a cat,a.png,b.png,1", "row 2: the choice is '1'"),
        ("a cat,a.png,a.png,a", "row 2: it compares fewer than two"),
        ("a cat,,b.png,a", "row 2: an image has no name"),
        (",a.png,b.png,a", "row 2: it has no prompt"),
        ("a cat,a.png", "row 2: it has 2 fields"),
    ],
)
def test_a_broken_row_of_a_table_of_pairs_is_named(tmp_path: Path, line: str, reason: str) -> None:
    file = tmp_path / "pairs.csv"
    file.write_text(f"prompt,image_a,image_b,preferred\na cat,a.png,b.png,a\n{line}\n")
    with pytest.raises(DatabaseError, match=reason):
        read_preferences(file)
    file.write_text("prompt,image_a,image_b\nx,a.png,b.png\n")
    with pytest.raises(DatabaseError, match="lacks preferred"):
        read_preferences(file)


def test_damaged_archives_are_named(tmp_path: Path) -> None:
    hpdv2(tmp_path, "zip")
    archive = tmp_path / "images.zip"
    whole = archive.read_bytes()
    database = read_database("hpdv2", tmp_path)
    archive.write_bytes(whole.replace(png(1)[40:60], b"\0" * 20))
    report = check_database(database, decode=True)
    assert any("train/1.jpg" in error for error in report.errors)
    archive.write_bytes(whole[:200])
    with pytest.raises(DatabaseError, match=r"images\.zip cannot be read"):
        read_database("hpdv2", tmp_path)


def test_a_table_of_ranks(tmp_path: Path) -> None:
    (tmp_path / "ranks.csv").write_text(
        "prompt,image,rank,model\na,0.png,2,x\nb,9.png,1,x\na,1.png,1,y\na,2.png,1,z\nb,8.png,2,y\n"
    )
    database = read_preferences(tmp_path / "ranks.csv")
    assert database.table["image"].tolist() == ["0.png", "1.png", "2.png", "9.png", "8.png"]
    assert database.table["generator"].tolist() == ["x", "y", "z", "x", "y"]
    assert [group.best for group in database.groups] == [(1, 2), (3,)]
    (tmp_path / "ranks.csv").write_text("prompt,image,rank\na,0.png,2\na,1.png,first\n")
    with pytest.raises(DatabaseError, match="row 2, of 'a': its ranks are"):
        read_preferences(tmp_path / "ranks.csv")
