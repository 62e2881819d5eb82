"""The convert and evaluate commands, run as a user runs them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import small_config
from PIL import Image
from scipy import stats
from typer.testing import CliRunner

from diffagiqa import Scorer
from diffagiqa.cli.main import app, run
from diffagiqa.weights.folder import load_model


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
    result = CliRunner().invoke(app, [*arguments, "--dtype", "float32", "--json", "--quiet"])
    found = json.loads(result.output)
    assert found["SRCC"] == pytest.approx(srcc)
    assert (found["rows"], found["scored"]) == (5, 5)


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


def test_a_mistake_is_one_sentence_and_exit_code_2(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table.write_text("Picture,Text\na.png,a fox\n")
    for arguments, sentence in (
        (["evaluate", str(table)], "expected Image, Prompt and MOS"),
        (["evaluate", str(table.with_name("no.csv"))], "cannot be read"),
        (["convert", str(table), "out"], "never unpickled"),
    ):
        assert run(arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert sentence in error
        assert error.count("\n") == 1
        assert "Traceback" not in error
