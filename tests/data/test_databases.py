"""Every database read from a small made-up copy of its exact layout."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from scipy.io import savemat

from diffagiqa.data.columns import TableColumns
from diffagiqa.data.databases import DATABASES, Database, read_database, read_table, verified
from diffagiqa.errors import DatabaseError, MissingExtraError


def picture(path: Path, seed: int | None = None) -> None:
    """A tiny picture; the same name has the same bytes, other names have others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if seed is None:
        seed = int(hashlib.sha256(path.name.encode()).hexdigest()[:8], 16)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def agiqa_3k(root: Path, numbers: int = 4, folder: str = "images") -> pd.DataFrame:
    rows = []
    for setting in ("AttnGAN_normal", "sd1.5_lowcorr", "midjourney_normal"):
        for number in range(numbers):
            name = f"{setting}_{number:03d}.jpg"
            picture(root / folder / name)
            style = "anime style" if number == 3 else ""
            score = 0.5 + number
            rows.append([name, f"a thing {number}", "", "", style, score, 0.3, score / 2, 0.4])
    table = pd.DataFrame(
        rows,
        columns=["name", "prompt", "adj1", "adj2", "style", "mos_quality", "std_quality",
                 "mos_align", "std_align"],
    )  # fmt: skip
    root.mkdir(exist_ok=True)
    table.to_csv(root / "data.csv", index=False)
    return table


def agiqa_1k(root: Path, as_workbook: bool = False) -> pd.DataFrame:
    rows = [
        [
            f"{model}_{figure}_0_{place}_{style}.jpg",
            f"{what}, driving car, {where}, {how} style",
            2.5,
        ]
        for model in ("deepai", "dreamStudio")
        for figure, what in enumerate(("bird", "cat"))
        for place, where in enumerate(("city", "wild"))
        for style, how in enumerate(("anime", "realistic"))
    ]
    table = pd.DataFrame(rows, columns=["Image", "Prompt", "MOS"])
    table["MOS"] = np.linspace(0, 5, len(table))
    for name in table["Image"]:
        picture(root / "file" / name)
    if as_workbook:
        table.to_excel(root / "AIGC_MOS_Zscore.xlsx", index=False)
    else:
        table[:12].to_csv(root / "train.csv", index=False)
        table[12:].to_csv(root / "val.csv", index=False)
    return table


def aigciqa2023(root: Path, images: tuple[int, ...] = (0, 1, 401, 2399)) -> None:
    for folder in ("DATA/MOS", "Image/allimg"):
        (root / folder).mkdir(parents=True)
    for number in (1, 2, 3):
        scores = np.linspace(30, 70, 2400)[:, None] + number
        savemat(root / f"DATA/MOS/mosz{number}.mat", {"MOSz": scores})
    prompts = [["Basic", "Animals", f"a corgi {i}"] for i in range(100)]
    pd.DataFrame(prompts).to_excel(root / "AIGCIQA2023_Prompts.xlsx", index=False, header=False)
    for i in images:
        picture(root / f"Image/allimg/{i}.png")


def aigiqa_20k(root: Path) -> None:
    for part, count in (("train", 7), ("val", 1), ("test", 2)):
        names = [f"{model}_{i:04d}.png" for i in range(count) for model in ("DALLE2", "SD1.5")]
        for name in names:
            picture(root / part / f"{part}-{name}")
        pd.DataFrame(
            {
                "name": [f"{part}-{name}" for name in names],
                "prompt": [f"prompt {i // 2}" for i in range(len(names))],
                "mos": np.linspace(0.5, 4.5, len(names)),
            }
        ).to_csv(root / f"info_{part}.csv", index=False)


def pku_aigiqa_4k(root: Path) -> None:
    rows = []
    for name, source in (
        ("MJ_0_00.jpg", "photo.jpg"),
        ("SD_1000_00.jpg", ""),
        ("DALLE_1000_00.jpg", ""),
    ):
        picture(root / "All" / name)
        rows.append([source, "a corgi", name, 2.5, 2.0, 3.0])
    columns = ["Image_prompt", "Text_prompt", "Generated_image", "MOS_q", "MOS_a", "MOS_c"]
    pd.DataFrame(rows, columns=columns).to_excel(root / "annotation.xlsx", index=False)


def files(database: Database) -> list[bool]:
    return [(database.root / path).is_file() for path in database.table["path"]]


def test_agiqa_3k(tmp_path: Path) -> None:
    agiqa_3k(tmp_path)
    database = verified(read_database("agiqa-3k", tmp_path))
    assert database.tasks == ("perception", "alignment")
    assert database.scales["alignment"] == (0.0, 5.0)
    assert "part" not in database.table
    assert all(files(database))
    table = database.table
    assert set(table["generator"]) == {"AttnGAN_normal", "sd1.5_lowcorr", "midjourney_normal"}
    assert table["group"].nunique() == 4
    row = table[table["image"] == "sd1.5_lowcorr_003.jpg"].iloc[0]
    assert (row["perception"], row["alignment"]) == (3.5, 1.75)
    assert any("12 of 2982 rows, 4 of 300 prompts" in note for note in database.notes)


@pytest.mark.parametrize("folder", ["", "image", "AGIQA-3K/images"])
def test_images_lie_where_users_unpack_them(tmp_path: Path, folder: str) -> None:
    agiqa_3k(tmp_path, folder=folder)
    assert all(files(verified(read_database("agiqa-3k", tmp_path))))


def test_names_are_found_in_another_case_and_with_another_suffix(tmp_path: Path) -> None:
    agiqa_3k(tmp_path)
    images = tmp_path / "images"
    (images / "AttnGAN_normal_000.jpg").rename(images / "attngan_normal_000.JPG")
    Image.open(images / "AttnGAN_normal_001.jpg").save(images / "AttnGAN_normal_001.png")
    (images / "AttnGAN_normal_001.jpg").unlink()
    database = verified(read_database("agiqa-3k", tmp_path))
    assert database.table["path"][0].endswith(".JPG")
    assert database.table["path"][1].endswith(".png")


@pytest.mark.parametrize("as_workbook", [False, True])
def test_agiqa_1k(tmp_path: Path, as_workbook: bool) -> None:
    listed = agiqa_1k(tmp_path, as_workbook)
    database = verified(read_database("agiqa-1k", tmp_path))
    assert database.tasks == ("perception",)
    assert database.table["perception"].tolist() == pytest.approx(listed["MOS"].tolist())
    assert set(database.table["generator"]) == {"deepai", "dreamStudio"}
    assert database.table["group"].nunique() == 8
    if as_workbook:
        assert "part" not in database.table
    else:
        assert np.flatnonzero(database.table["part"] == "train").tolist() == list(range(12))
        assert np.flatnonzero(database.table["part"] == "test").tolist() == [12, 13, 14, 15]


def test_a_repeated_name_as_in_the_released_list_is_a_duplicate(tmp_path: Path) -> None:
    table = agiqa_1k(tmp_path)
    twice = pd.concat([table[:12], table[:1].assign(MOS=4.0)])
    twice.to_csv(tmp_path / "train.csv", index=False)
    database = verified(read_database("agiqa-1k", tmp_path))
    assert any("1 image name stands in more than one row" in note for note in database.notes)
    assert (database.table["duplicates"] != -1).sum() == 2
    clean = database.without_duplicates()
    assert len(clean) == 15
    assert np.flatnonzero(clean.table["part"] == "test").tolist() == [11, 12, 13, 14]
    assert clean.table["image"][11] == table["Image"][12]


def test_aigciqa2023(tmp_path: Path) -> None:
    aigciqa2023(tmp_path)
    database = verified(read_database("aigciqa2023", tmp_path), allow_partial=True)
    assert database.tasks == ("perception", "authenticity", "alignment")
    assert database.scales["perception"] == (0.0, 100.0)
    table = database.table.set_index("image")
    assert list(table.index) == ["0.png", "1.png", "401.png", "2399.png"]
    assert table.loc["401.png", "generator"] == "DALLE"
    assert table.loc["401.png", "prompt"] == "a corgi 0"
    assert table.loc["2399.png", "generator"] == "Unidiffuser"
    assert table.loc["2399.png", "prompt"] == "a corgi 99"
    assert table.loc["0.png", "perception"] == pytest.approx(31)
    assert table.loc["2399.png", "alignment"] == pytest.approx(73)
    assert any("2,396 of 2,400 rows are left out" in note for note in database.notes)


def test_aigciqa2023_in_folders_by_generator_and_on_five_points(tmp_path: Path) -> None:
    aigciqa2023(tmp_path, images=())
    for number in (1, 2, 3):
        savemat(tmp_path / f"DATA/MOS/mosz{number}.mat", {"MOSz": np.linspace(1.6, 3.7, 2400)})
    for model in ("Controlnet", "DALLE"):
        picture(tmp_path / "Image" / model / "007-2.png", seed=len(model))
    database = verified(read_database("aigciqa2023", tmp_path), allow_partial=True)
    assert database.scales["alignment"] == (0.0, 5.0)
    assert database.table["image"].tolist() == ["29.png", "429.png"]
    assert database.table["path"].tolist() == [
        "Image/Controlnet/007-2.png",
        "Image/DALLE/007-2.png",
    ]


def test_aigiqa_20k(tmp_path: Path) -> None:
    aigiqa_20k(tmp_path)
    database = verified(read_database("aigiqa-20k", tmp_path))
    assert database.table["part"].value_counts().to_dict() == {
        "train": 14,
        "validation": 2,
        "test": 4,
    }
    assert set(database.table["generator"]) >= {"train-DALLE2", "test-SD1.5"}
    (tmp_path / "info_val.csv").unlink()
    partial = verified(read_database("aigiqa-20k", tmp_path))
    assert len(partial) == 18
    assert any("official validation part is missing" in note for note in partial.notes)


def test_pku_aigiqa_4k(tmp_path: Path) -> None:
    pku_aigiqa_4k(tmp_path)
    database = verified(read_database("pku-aigiqa-4k", tmp_path))
    table = database.table
    assert table["generator"].tolist() == ["MJ_i2i", "SD", "DALLE"]
    assert table.loc[0, ["perception", "authenticity", "alignment"]].tolist() == [2.5, 2.0, 3.0]
    assert table["group"].nunique() == 1
    assert "part" not in database.table  # only a whole copy has the authors' split


def test_samples_are_what_training_takes(tmp_path: Path) -> None:
    table = agiqa_3k(tmp_path)
    table.loc[0, "mos_align"] = np.nan
    table.to_csv(tmp_path / "data.csv", index=False)
    samples = verified(read_database("agiqa-3k", tmp_path)).samples()
    assert samples[0].labels == {"perception": 0.5}
    assert samples[1].labels == {"perception": 1.5, "alignment": 0.75}
    assert samples[0].generator == "AttnGAN_normal"
    assert Path(str(samples[0].source)).is_file()


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json", ".parquet", ".xlsx"])
def test_any_table(tmp_path: Path, suffix: str) -> None:
    for name in ("a.png", "b.png"):
        picture(tmp_path / "pictures" / name)
    table = pd.DataFrame(
        {
            "File": ["a.png", "b.png"],
            "Text": ["none", "a dog"],  # a prompt may look like a missing value
            "score": [1.0, 7.0],
            "kind": ["train", "val"],
            "model": ["sd", ""],
        }
    )
    path = tmp_path / f"ratings{suffix}"
    if suffix in (".csv", ".tsv"):
        table.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    elif suffix in (".jsonl", ".json"):
        table.to_json(path, orient="records", lines=suffix == ".jsonl")
    elif suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_excel(path, index=False)
    database = verified(
        read_table(
            path,
            TableColumns(
                image="file",
                prompt="text",
                labels={"perception": "score"},
                scales={"perception": (1, 7)},
                generator="model",
                split="kind",
            ),
        )
    )
    assert database.table["prompt"].tolist() == ["none", "a dog"]
    assert database.table["perception"].tolist() == [1.0, 7.0]
    assert database.table["generator"].tolist() == ["sd", "unknown"]
    assert np.flatnonzero(database.table["part"] == "validation").tolist() == [1]
    assert database.name == "ratings"


@pytest.mark.parametrize(
    ("separator", "decimal", "encoding", "suffix"),
    [
        (";", ".", "utf-8", ".csv"), (";", ",", "utf-8", ".csv"), ("\t", ".", "utf-8", ".csv"),
        (",", ".", "utf-16", ".csv"), (";", ",", "utf-16", ".csv"), (",", ".", "utf-8-sig", ".tsv"),
    ],
)  # fmt: skip
def test_tables_as_spreadsheets_save_them(
    tmp_path: Path, separator: str, decimal: str, encoding: str, suffix: str
) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    table = pd.DataFrame(
        {"image": ["a.png", "b.png"], "prompt": ["a cat, caf\xe9", "1,5 dogs"], "mos": [1.5, 4]}
    )
    path = tmp_path / f"t{suffix}"
    table.to_csv(path, index=False, sep=separator, decimal=decimal, encoding=encoding)
    database = verified(
        read_table(path, TableColumns(labels={"perception": "mos"}, scales={"perception": (0, 5)}))
    )
    assert database.table["prompt"].tolist() == ["a cat, caf\xe9", "1,5 dogs"]
    assert database.table["perception"].tolist() == [1.5, 4.0]


@pytest.mark.parametrize(("column", "prompt"), [("prompt_source", "-a fox"), ("of", "'-a fox")])
def test_ratings_beside_scores_of_ours(tmp_path: Path, column: str, prompt: str) -> None:
    picture(tmp_path / "a.png")
    path = tmp_path / "t.csv"
    path.write_text(f"image,prompt,mos,{column}\na.png,'-a fox,-1,x\n")
    database = verified(
        read_table(path, TableColumns(labels={"perception": "mos"}, scales={"perception": (-5, 5)}))
    )
    assert database.table[["prompt", "perception"]].values.tolist() == [[prompt, -1.0]]


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".xlsx"])
def test_of_two_columns_of_one_name_none_is_taken(tmp_path: Path, suffix: str) -> None:
    table = pd.DataFrame([["a.png", "a cat", "a dog", 1.0]])
    table.columns = pd.Index(["image", "prompt", "prompt", "mos"])
    if suffix == ".csv":
        table.to_csv(tmp_path / "t.csv", index=False)
    elif suffix == ".xlsx":
        table.to_excel(tmp_path / "t.xlsx", index=False)
    else:
        arrays = [pa.array(table.iloc[:, i]) for i in range(4)]
        parquet.write_table(
            pa.Table.from_arrays(arrays, list(table.columns)), tmp_path / "t.parquet"
        )
    with pytest.raises(DatabaseError, match="has a header that names the column 'prompt' twice"):
        verified(
            read_table(
                tmp_path / f"t{suffix}",
                TableColumns(labels={"perception": "mos"}, scales={"perception": (0, 5)}),
            )
        )


def test_a_table_without_prompts(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    path = tmp_path / "t.csv"
    path.write_text("image,mos\na.png,1\nb.png,2\n")
    database = verified(
        read_table(
            path,
            TableColumns(prompt=None, labels={"perception": "mos"}, scales={"perception": (0, 5)}),
        )
    )
    assert [sample.prompt for sample in database.samples()] == ["", ""]
    assert any("no row has a prompt, so every image goes with" in note for note in database.notes)


def test_workbooks_say_which_extra_they_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agiqa_1k(tmp_path, as_workbook=True)

    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'diffagiqa\[train\]'"):
        verified(read_database("agiqa-1k", tmp_path))


def test_every_source_says_where_it_is_from() -> None:
    for name, source in DATABASES.items():
        assert source.name == name
        assert source.citation
        assert source.home.startswith("https://") or name == "made"
        assert source.licence


# Errors


def test_unknown_database(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="known are agiqa-1k, agiqa-3k"):
        verified(read_database("koniq", tmp_path))


def test_root_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="is not a folder"):
        verified(read_database("agiqa-3k", tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("agiqa-1k", "holds none of AIGC_MOS_Zscore.xlsx"),
        ("agiqa-3k", "holds none of data.csv"),
        ("aigciqa2023", "holds no mosz1.mat, mosz2.mat, mosz3.mat, AIGCIQA2023_Prompts.xlsx"),
        ("aigiqa-20k", "holds none of info_train.csv"),
        ("pku-aigiqa-4k", "holds none of annotation.xlsx"),
    ],
)
def test_no_labels(tmp_path: Path, name: str, expected: str) -> None:
    (tmp_path / "readme.txt").write_text("hello")
    with pytest.raises(DatabaseError, match=expected):
        verified(read_database(name, tmp_path))


def test_missing_columns_are_all_named(tmp_path: Path) -> None:
    table = agiqa_3k(tmp_path)
    table.drop(columns=["prompt", "mos_align"]).to_csv(tmp_path / "data.csv", index=False)
    with pytest.raises(DatabaseError, match="lacks prompt, mos_align; it has columns name, adj1"):
        verified(read_database("agiqa-3k", tmp_path))


def test_words_for_scores(tmp_path: Path) -> None:
    table = agiqa_3k(tmp_path).astype({"mos_quality": object})
    table.loc[2, "mos_quality"] = "good"
    table.to_csv(tmp_path / "data.csv", index=False)
    with pytest.raises(
        DatabaseError, match=r"1 score that is no number in 'perception' \(row 3: 'good'\)"
    ):
        verified(read_database("agiqa-3k", tmp_path))
    table.loc[2, "mos_quality"] = "-inf"
    table.to_csv(tmp_path / "data.csv", index=False)
    with pytest.raises(
        DatabaseError, match=r"1 score that is no number in 'perception' \(row 3: '-inf'\)"
    ):
        verified(read_database("agiqa-3k", tmp_path))


def test_one_message_names_everything_wrong(tmp_path: Path) -> None:
    table = agiqa_3k(tmp_path)
    table.loc[0, "mos_quality"] = 9.0
    table.loc[1, "prompt"] = ""
    table.to_csv(tmp_path / "data.csv", index=False)
    (tmp_path / "images" / "AttnGAN_normal_002.jpg").unlink()
    (tmp_path / "images" / "AttnGAN_normal_003.jpg").write_bytes(b"no picture")
    with pytest.raises(DatabaseError) as caught:
        verified(read_database("agiqa-3k", tmp_path))
    message = str(caught.value)
    assert "1 of 12 images are not below" in message
    assert "AttnGAN_normal_002.jpg" in message
    assert "perception runs from 0.5 to 9, outside its scale of 0 to 5" in message
    assert "1 row has no prompt: row 2" in message
    assert "1 image cannot be read: AttnGAN_normal_003.jpg" in message
    assert "--allow-partial leaves out rows without an image" in message
    assert "--unreadable skip leaves out rows whose image cannot be read" in message


def test_missing_files_may_be_left_out_with_a_note(tmp_path: Path) -> None:
    agiqa_3k(tmp_path)
    (tmp_path / "images" / "AttnGAN_normal_002.jpg").unlink()
    with pytest.raises(DatabaseError, match="1 of 12 images are not below"):
        verified(read_database("agiqa-3k", tmp_path))
    database = verified(read_database("agiqa-3k", tmp_path), allow_partial=True)
    assert len(database) == 11
    assert any("1 of 12 rows is left out: their images are not there" in n for n in database.notes)


def test_unreadable_pictures_may_be_left_out_with_a_note(tmp_path: Path) -> None:
    """Also such as are cut short but large enough not to stand out by their size."""
    agiqa_3k(tmp_path)
    cut = tmp_path / "images" / "AttnGAN_normal_002.jpg"
    cut.write_bytes(cut.read_bytes()[:-100])
    with pytest.raises(
        DatabaseError, match=r"1 image cannot be read: AttnGAN_normal_002.jpg; --unr"
    ):
        verified(read_database("agiqa-3k", tmp_path))
    (tmp_path / "images" / "AttnGAN_normal_001.jpg").unlink()
    with pytest.raises(DatabaseError, match="--unreadable skip leaves out rows whose image"):
        verified(read_database("agiqa-3k", tmp_path), allow_partial=True)
    database = verified(
        read_database("agiqa-3k", tmp_path), allow_partial=True, skip_unreadable=True
    )
    assert len(database) == 10
    assert "1 of 11 rows is left out: their images cannot be read" in database.notes


def test_no_image_at_all_is_never_a_partial_database(tmp_path: Path) -> None:
    agiqa_3k(tmp_path)
    for file in (tmp_path / "images").iterdir():
        file.unlink()
    with pytest.raises(DatabaseError, match="12 of 12 images are not below"):
        verified(read_database("agiqa-3k", tmp_path), allow_partial=True)


def test_linked_folders_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    agiqa_3k(tmp_path / "elsewhere")
    root = tmp_path / "root"
    root.mkdir()
    (root / "images").symlink_to(tmp_path / "elsewhere" / "images", target_is_directory=True)
    (root / "data.csv").symlink_to(tmp_path / "elsewhere" / "data.csv")
    (root / "again").symlink_to(root, target_is_directory=True)
    assert len(verified(read_database("agiqa-3k", root))) == 12


def test_a_name_of_two_files_is_not_guessed(tmp_path: Path) -> None:
    table = agiqa_3k(tmp_path)
    name = table["name"][0]
    (tmp_path / "images" / name).unlink()
    for folder in ("one", "two"):
        picture(tmp_path / folder / name)
    with pytest.raises(DatabaseError, match=f"1 of 12 images are not below .*{name}"):
        verified(read_database("agiqa-3k", tmp_path))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"mos": np.zeros(2400)}, "holds mos; expected a matrix called MOSz"),
        ({"MOSz": np.zeros(7)}, "holds 7 values; expected 2400"),
        ({"MOSz": {"mos": np.zeros(2400)}}, "MOSz in .*mosz2.mat holds no numbers; download"),
        ({"MOSz": np.full(2400, np.inf)}, "MOSz in .*mosz2.mat holds infinite values"),
    ],
)
def test_other_matrices(tmp_path: Path, content: dict[str, np.ndarray], expected: str) -> None:
    aigciqa2023(tmp_path)
    savemat(tmp_path / "DATA/MOS/mosz2.mat", content)
    with pytest.raises(DatabaseError, match=expected):
        verified(read_database("aigciqa2023", tmp_path))


def test_damaged_files(tmp_path: Path) -> None:
    aigciqa2023(tmp_path)
    (tmp_path / "DATA/MOS/mosz1.mat").write_bytes(b"no matrix")
    with pytest.raises(DatabaseError, match=r"mosz1.mat cannot be read as a MATLAB file"):
        verified(read_database("aigciqa2023", tmp_path))


def test_other_lists_of_aigciqa2023(tmp_path: Path) -> None:
    aigciqa2023(tmp_path)
    (tmp_path / "AIGCIQA2023_Prompts.xlsx").write_bytes(b"no workbook")
    with pytest.raises(DatabaseError, match=r"Prompts.xlsx cannot be read as xlsx"):
        verified(read_database("aigciqa2023", tmp_path))
    pd.DataFrame([["x", "y", "z"]]).to_excel(
        tmp_path / "AIGCIQA2023_Prompts.xlsx", index=False, header=False
    )
    with pytest.raises(DatabaseError, match="has 1 row; expected 100"):
        verified(read_database("aigciqa2023", tmp_path))


def test_errors_of_own_tables(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    path = tmp_path / "t.csv"
    path.write_text("image,prompt,mos,part\na.png,a cat,3,exam\n")
    scales = {"perception": (1.0, 5.0)}
    labels = {"perception": "mos"}
    with pytest.raises(DatabaseError, match="no label was named"):
        verified(read_table(path, TableColumns(labels={}, scales={})))
    with pytest.raises(DatabaseError, match=r"has no scale; .* --scale perception=1:5"):
        verified(read_table(path, TableColumns(labels=labels, scales={})))
    for scale in ((5.0, 1.0), (0.0, float("inf")), (float("nan"), 5.0)):
        with pytest.raises(DatabaseError, match="expected two numbers, the lower one first"):
            verified(read_table(path, TableColumns(labels=labels, scales={"perception": scale})))
    with pytest.raises(DatabaseError, match="'exam' in 'part'; expected train, validation or test"):
        verified(read_table(path, TableColumns(labels=labels, scales=scales, split="part")))
    with pytest.raises(
        DatabaseError,
        match=r"lacks quality; it has columns image, prompt, mos, part; .* --label",
    ):
        verified(read_table(path, TableColumns(labels={"perception": "quality"}, scales=scales)))
    with pytest.raises(DatabaseError, match="is not a file"):
        verified(read_table(tmp_path / "gone.csv", TableColumns(labels=labels, scales=scales)))
    (tmp_path / "t.txt").write_text("x")
    with pytest.raises(DatabaseError, match=r"has suffix \.txt"):
        verified(read_table(tmp_path / "t.txt", TableColumns(labels=labels, scales=scales)))
    for content, sentence in (
        (b"", "t.csv has no rows; expected a header"),
        (b"image,prompt,mos\n", "t.csv has no rows; expected a header"),
        (b"image,prompt,mos\na.png,caf\xe9,3\n", "row 1: it is not UTF-8; save the table as UTF-8"),
        (
            b"image,prompt,mos\na.png,x,3\na.png,x,3,4\n",
            r"row 2: it has 4 fields, and the header 3",
        ),
        (b"image,prompt,mos\na.png,x,3\n", r"--prompt-column \('' where there are no prompts\)"),
    ):
        path.write_bytes(content)
        with pytest.raises(DatabaseError, match=sentence) as caught:
            verified(read_table(path, TableColumns(prompt="text", labels=labels, scales=scales)))
        assert "download" not in str(caught.value)
