"""EvalMuse-40K, GenAI-Bench, and databases read by the names of their columns, from made-up copies."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from test_preferences import png

from diffagiqa.data.databases import check_database, read_database, verified
from diffagiqa.errors import DatabaseError


def evalmuse(root: Path, as_text: bool = False, **changes: object) -> None:
    elements = {"puffin (animal)": [1, 1, 0], "on a (red) rock (location)": [0, 0, 0]}
    entry = {
        "prompt_id": "0001", "prompt": "a puffin on a (red) rock", "type": "real",
        "img_path": "SDXL-Turbo/0001.png", "total_score": [4, 5, 3],
        "element_score": json.dumps(elements) if as_text else elements,
        "promt_meaningless": [0, 0, 1], "split_confidence": [0, 0, 0],
        "attribute_confidence": [1, 1, 1], "fidelity_label": ["beak", ""],
    }  # fmt: skip
    other = {**entry, "img_path": "dalle3/0001.png", "total_score": [1, 2, 1]}
    (root / "train_list.json").write_text(json.dumps([entry, {**other, **changes}]))


def images(root: Path, names: list[str]) -> None:
    with zipfile.ZipFile(root / "images.zip", "w") as archive:
        for seed, name in enumerate(names):
            archive.writestr(f"images/{name}", png(seed))


@pytest.mark.parametrize("as_text", [False, True])
def test_evalmuse(tmp_path: Path, as_text: bool) -> None:
    evalmuse(tmp_path, as_text)
    images(tmp_path, ["SDXL-Turbo/0001.png", "dalle3/0001.png"])
    (tmp_path / "test.json").write_text("[]")
    database = verified(read_database("evalmuse-40k", tmp_path))
    assert (database.tasks, dict(database.scales)) == (("alignment",), {"alignment": (1.0, 5.0)})
    table = database.table
    assert table["alignment"].tolist() == pytest.approx([4, 4 / 3])
    assert table["generator"].tolist() == ["SDXL-Turbo", "dalle3"]
    assert table["path"][1] == "images.zip::images/dalle3/0001.png"
    found = [(e.text, e.category, round(e.shown, 3)) for e in table["elements"][0]]
    assert found == [("puffin", "animal", 0.667), ("on a (red) rock", "location", 0)]
    assert table["fidelity"][0] == ("beak", "")
    assert "test.json has no ratings, so it is not read" in database.notes
    assert check_database(database, decode=True).usable


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"total_score": [6, 1]}, "it has the rating 6, outside 1 to 5"),
        ({"total_score": []}, "it has no ratings"),
        ({"total_score": ["4"]}, "not numbers"),
        ({"prompt": None}, "its prompt is None"),
        ({"img_path": ""}, "its img_path is ''"),
        ({"element_score": [1]}, "its element_score is a list"),
        ({"element_score": "{"}, "Expecting"),
        ({"element_score": {"a (b)": [2, 2]}}, "has votes"),
        ({"element_score": {"a (b)": ["x"]}}, "could not convert"),
        ({"element_score": {"a (b)": None}}, "NoneType"),
        ({"element_score": "[" * 100_000}, "recursion"),
        ({"fidelity_label": 3}, "not iterable"),
    ],
)
def test_a_broken_entry_of_evalmuse_is_named(
    tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    evalmuse(tmp_path, **change)
    with pytest.raises(DatabaseError, match=r"train_list\.json entry 2: ") as caught:
        read_database("evalmuse-40k", tmp_path)
    assert reason in str(caught.value)


def test_genai_bench(tmp_path: Path) -> None:
    models = {"DALLE_3": [5, 4, 5], "SDXL_2_1": [1, 2, 2]}
    entries = {"00000": {"id": "00000", "prompt": "two cats", "models": models},
               "00001": {"id": "00001", "prompt": "a dog", "models": {"DALLE_3": [3, 3, 3]}}}  # fmt: skip
    (tmp_path / "genai_image.json").write_text(json.dumps(entries))
    for model in models:
        with zipfile.ZipFile(tmp_path / f"{model}.zip", "w") as archive:
            for i in range(2):
                archive.writestr(f"{model}/{i:05d}.jpeg", png(i + len(model)))
    database = verified(read_database("genai-bench", tmp_path))
    assert database.table["image"].tolist() == [
        "DALLE_3/00000.jpeg", "SDXL_2_1/00000.jpeg", "DALLE_3/00001.jpeg"
    ]  # fmt: skip
    assert database.table["alignment"].tolist() == pytest.approx([14 / 3, 5 / 3, 3])
    assert "1 prompt lacks some models" in database.notes
    entries["00001"]["models"] = {"DALLE_3": [0, 1, 1]}
    (tmp_path / "genai_image.json").write_text(json.dumps(entries))
    with pytest.raises(DatabaseError, match="entry 00001: it has the rating 0, outside 1 to 5"):
        read_database("genai-bench", tmp_path)


@pytest.mark.parametrize(("name", "high"), [("evalmi-50k", 100.0), ("q-eval-100k", 5.0)])
def test_databases_are_read_by_the_names_of_their_columns(
    tmp_path: Path, name: str, high: float
) -> None:
    table = pd.DataFrame(
        {
            "Image_Path": ["flux/0.png", "sd3/0.png", "sora/0.mp4"],
            "Prompt": ["a", "a", "b"],
            "MOS1": [0.5 * high, 0.9 * high, 1],
            "MOS2": [0.1 * high, 0.7 * high, 1],
        }
    )
    table.to_excel(tmp_path / "labels.xlsx", index=False)
    (tmp_path / "settings.json").write_text("{}")
    images(tmp_path, ["flux/0.png", "sd3/0.png"])
    database = verified(read_database(name, tmp_path))
    assert database.tasks == ("perception", "alignment")
    assert database.scales["alignment"] == (0.0, high)
    assert database.table["generator"].tolist() == ["flux", "sd3"]
    assert database.table["perception"].tolist() == pytest.approx([0.5 * high, 0.9 * high])
    assert "1 row that is no image is left out" in database.notes
    assert any("MOS1 as perception" in note for note in database.notes)
    table.assign(MOS2=["x", 1, 1]).to_excel(tmp_path / "labels.xlsx", index=False)
    with pytest.raises(DatabaseError, match=r"in 'alignment' \(row 1: 'x'\)"):
        read_database(name, tmp_path)


def test_tables_of_parts_are_the_official_split(tmp_path: Path) -> None:
    for part in ("train", "test"):
        rows = {"image": [f"{part}.png"], "prompt": ["a"], "quality": [3.0]}
        pd.DataFrame(rows).to_csv(tmp_path / f"q_eval_{part}.csv", index=False)
    images(tmp_path, ["train.png", "test.png"])
    database = verified(read_database("q-eval-100k", tmp_path))
    assert database.tasks == ("perception",)
    assert database.table["part"].value_counts().to_dict() == {
        "train": 1, "test": 1,
    }  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "again.csv", index=False)
    with pytest.raises(DatabaseError, match="holds 3 tables with images, prompts and scores"):
        read_database("q-eval-100k", tmp_path)
    for file in tmp_path.glob("*.csv"):
        file.write_text("a,b\n1,2\n")
    with pytest.raises(DatabaseError, match=r"no table .*has columns a, b\); give one as a table"):
        read_database("q-eval-100k", tmp_path)
