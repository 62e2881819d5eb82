"""The convert and evaluate commands, run as a user runs them."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import small_config
from PIL import Image
from scipy import stats
from typer.testing import CliRunner

from diffagiqa import Scorer
from diffagiqa.cli.main import app, run
from diffagiqa.data.image_hash import perceptual_hashes
from diffagiqa.pretrained import TRAINING_IMAGES, load_model


@pytest.fixture(scope="module")
def model_folder(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    Scorer.untrained(str(reference / "backbone"), small_config()).save_pretrained(folder)
    return folder


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    rows = [("Image", "Prompt", "MOS")]
    for i in range(5):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(
            tmp_path / f"{i}.png"
        )
        rows.append((f"{i}.png", f"fox, number {i}", str(1 + i / 2)))
    with (tmp_path / "val.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return tmp_path / "val.csv"


def test_convert_writes_a_model_folder(reference: Path, tmp_path: Path) -> None:
    checkpoint = str(reference / "upstream_small.pth")
    result = CliRunner().invoke(app, ["convert", checkpoint, str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "image_prompts.meta_net" in result.output
    model = load_model(tmp_path / "out")
    assert model.config.task_names == ("perception",)


def test_evaluate_reports_scores_and_correlations(table: Path, model_folder: Path) -> None:
    out = table.parent / "report.csv"
    arguments = ["evaluate", str(table), "--model", str(model_folder), "--out", str(out)]
    result = CliRunner().invoke(app, [*arguments, "--dtype", "float32"])
    assert result.exit_code == 0, result.output
    with out.open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["Image"] for row in rows] == [f"{i}.png" for i in range(5)]
    predicted = [float(row["predicted_score"]) for row in rows]
    scorer = Scorer.from_pretrained(model_folder, dtype="float32")
    wanted = scorer(table.parent / "3.png", "fox, number 3").mos["perception"]
    assert predicted[3] == pytest.approx(wanted, abs=1e-5)
    srcc = stats.spearmanr(predicted, [float(row["MOS"]) for row in rows]).statistic
    assert f"SRCC {srcc:.4f}" in result.output
    assert run(arguments) == 2  # evaluate overwrites nothing
    out.unlink()
    result = CliRunner().invoke(app, [*arguments, "--dtype", "float32", "--json", "--quiet"])
    found = json.loads(result.output)
    assert found["SRCC"] == pytest.approx(srcc)
    assert (found["rows"], found["scored"]) == (5, 5)


def test_evaluate_leaves_out_images_that_the_model_was_trained_on(
    table: Path, model_folder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "trained")
    hashes = perceptual_hashes([str(table.parent / f"{i}.png") for i in range(5)])
    Image.open(table.parent / "1.png").save(table.parent / "1.jpg", quality=95)
    table.write_text(table.read_text().replace("1.png", "1.jpg"))  # the same image, another file
    ratings = np.array([1, 1.5, 2, 2.5, 3])

    def evaluate(seen: Sequence[int], *options: str) -> tuple[str, np.ndarray]:
        (folder / TRAINING_IMAGES).write_text("".join(f"{hashes[i]:016x}\n" for i in seen))
        out = tmp_path / f"{len(seen)}{len(options)}.csv"
        result = CliRunner().invoke(
            app, ["evaluate", str(table), "--model", str(folder), "--out", str(out), *options]
        )
        assert result.exit_code == 0, result.output
        with out.open() as stream:
            scores = [float(row["predicted_score"]) for row in csv.DictReader(stream)]
        return result.output, np.array(scores)

    said, scores = evaluate([0, 1])
    assert "2 of 5 images look like ones that the model was trained on" in said
    left = stats.spearmanr(scores[2:], ratings[2:]).statistic
    assert f"SRCC {left:.4f}" in said  # the report has all rows, the figures those that are new
    found = json.loads(evaluate([0, 1], "--json", "--quiet")[0])
    assert (found["seen_in_training"], found["rated"]) == (2, 3)
    said, scores = evaluate(range(5))
    assert "trained on these images, so figures say nothing of others" in said
    assert f"SRCC {stats.spearmanr(scores, ratings).statistic:.4f}" in said
    assert "trained on" not in evaluate([])[0]


def test_evaluate_reports_a_missing_image_in_its_row(table: Path, model_folder: Path) -> None:
    (table.parent / "2.png").unlink()
    out = table.parent / "report.csv"
    result = CliRunner().invoke(
        app, ["evaluate", str(table), "--model", str(model_folder), "--out", str(out)]
    )
    assert result.exit_code == 1
    assert "4 of 5 rows scored" in result.output
    with out.open() as stream:
        rows = list(csv.DictReader(stream))
    assert rows[2]["predicted_score"] == ""
    assert "2.png" in rows[2]["error"]


def test_evaluate_goes_on_past_every_kind_of_bad_row(table: Path, model_folder: Path) -> None:
    root = table.parent / "in"
    root.mkdir()
    for i in range(4):
        (table.parent / f"{i}.png").rename(root / f"{i}.png")
    secret = table.parent / "4.png"
    text = (
        "Image,Prompt,MOS,z\r\n0.png,=a fox,3,-1.5\r\n1.png,,good,2\r\n2.png,\x00a\u202efox,1,0\r\n"
    )
    text += f"3.png,b,2,0\r\n../4.png,c,4,0\r\n{secret},c,4,0\r\n,c,4,0\r\n2.png,c\r\n"
    table.write_bytes(b"\xef\xbb\xbf" + text.encode())
    out = table.parent / "report.csv"
    arguments = ["evaluate", str(table), "--root", str(root), "--model", str(model_folder)]
    result = CliRunner().invoke(app, [*arguments, "--out", str(out)])
    assert result.exit_code == 1, result.output
    assert "4 of 8 rows scored" in result.output
    assert "perception: 3 rated and scored rows, 3 prompts: no interval" in result.output
    assert "1 row without a number in MOS left out" in result.output
    assert "SRCC" in result.output
    with out.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["Image", "Prompt", "MOS", "z", "predicted_score", "error"]
    assert [rows[0]["Prompt"], rows[0]["z"]] == ["'=a fox", "-1.5"]
    faults = ["", "", "", "", "leads out of", "is a full path", "names no image", "has 2 fields"]
    for row, fault in zip(rows, faults, strict=True):
        assert fault in row["error"]
        assert bool(row["predicted_score"]) == (fault == "")


def test_evaluate_takes_any_table_columns_and_several_labels(
    tmp_path: Path, model_folder: Path
) -> None:
    rows, rng = [], np.random.default_rng(0)
    for i in range(12):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(
            tmp_path / f"{i}.png"
        )
        rows.append([f"{i}.png", f"fox {i}", 1 + i / 2, 2.5, "ab"[i % 2]])
    table = tmp_path / "rated.xlsx"
    columns = ["Photo", "asked", "quality", "flat", "model"]
    pd.DataFrame(rows, columns=columns).to_excel(table, index=False)
    out = tmp_path / "report.csv"
    arguments = ["evaluate", str(table), "--model", str(model_folder), "--out", str(out)]
    arguments += ["--image-column", "photo", "--prompt-column", "asked", "--dtype", "float32"]
    one = [*arguments, "--label", "perception=quality", "--scale", "perception=1:7"]
    result = CliRunner().invoke(app, one)
    assert result.exit_code == 0, result.output
    with out.open() as stream:
        report = list(csv.DictReader(stream))
    predicted = np.array([float(row["predicted_score"]) for row in report])
    quality = [float(row["quality"]) for row in report]
    score = Scorer.from_pretrained(model_folder, dtype="float32")(tmp_path / "3.png", "fox 3")
    assert predicted[3] == pytest.approx(1 + 6 * score["perception"], abs=1e-5)
    assert "95 % intervals over 12 prompts" in result.output
    assert f"KRCC {stats.kendalltau(predicted, quality).statistic:.4f} [" in result.output
    assert f"RMSE {np.sqrt(np.mean((predicted - quality) ** 2)):.4f} [" in result.output
    for name in ("PLCC, 4-parameter logistic", "MAE", "SRCC within generators", "| a | 6 |"):
        assert name in result.output
    assert "outside the scale" not in result.output
    out.unlink()
    assert "outside the scale of 0 to 5" in CliRunner().invoke(app, one[:-2]).output
    both = ["--label", "perception=quality", "--label", "alignment=flat", "--json"]
    out.unlink()
    result = CliRunner().invoke(app, [*arguments, *both])
    found = json.loads(result.output)
    assert found["tasks"]["alignment"]["reasons"]["srcc"] == "all 12 opinion scores are equal"
    assert found["tasks"]["alignment"]["figures"]["srcc"]["value"] is None
    assert "alignment_predicted" in out.read_text()


def test_evaluate_says_why_there_is_no_correlation(table: Path, model_folder: Path) -> None:
    text = table.read_text().splitlines()
    table.write_text("\n".join([text[0], *(line.rpartition(",")[0] + ",3" for line in text[1:])]))
    out = table.parent / "report.csv"
    arguments = ["evaluate", str(table), "--model", str(model_folder), "--out", str(out)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "no correlation: all 5 opinion scores are equal" in result.output
    assert "nan" not in result.output
    out.unlink()  # evaluate overwrites nothing
    table.write_text("Image,MOS\n0.png,3\n1.png,4\n2.png,5\n")
    assert "no column of prompts was found" in CliRunner().invoke(app, arguments).output


def test_evaluate_says_before_it_scores_that_its_report_has_no_place(
    table: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", str(table), "--model", str(model_folder), "--out"]
    for out, sentence in (
        (table.parent / "no" / "report.csv", "cannot be written"),
        (table.parent / "report.xlsx", "name it .csv, .jsonl or .parquet"),
        (table, "is there already; give --out another name"),
    ):
        assert run([*arguments, str(out)]) == 2
        assert sentence in capsys.readouterr().err
    assert table.read_text().startswith("Image,Prompt,MOS")


def test_a_mistake_is_one_sentence_and_exit_code_2(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table.write_text("Picture,Text\na.png,a fox\n")
    (table.parent / "half.csv").write_text("Image,Text\na.png,a fox\n")
    (table.parent / "header.csv").write_text("Image,Prompt,MOS\n")
    for arguments, sentence in (
        (["evaluate", str(table)], "expected one of image, image_path"),
        (["evaluate", str(table), "--image-column", "Photo"], "expected 'Photo'"),
        (
            ["evaluate", str(table.with_name("half.csv"))],
            "has columns Image, Text; expected 'MOS' with the opinion scores of perception; name "
            "another by --label perception=COLUMN",
        ),
        (
            ["evaluate", "t.csv", "--label", "a=b", "--label", "a=c"],
            "--label a was given as b and as c",
        ),
        (
            ["evaluate", str(table.with_name("t.txt"))],
            "suffix .txt; expected a table in one of .csv",
        ),
        (["evaluate", str(table.with_name("header.csv"))], "has no rows"),
        (["evaluate", str(table.with_name("no.csv"))], "does not exist"),
        (["convert", str(table), "out"], "never unpickled"),
    ):
        assert run(arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert sentence in error
        assert error.count("\n") == 1
        assert "Traceback" not in error
