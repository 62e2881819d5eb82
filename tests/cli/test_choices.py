"""People's choices on the command line: data check, evaluate, rank and compare, as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import small_config
from PIL import Image
from typer.testing import CliRunner

from diffagiqa import Scorer
from diffagiqa.cli import training_options as options
from diffagiqa.cli.main import app, run
from diffagiqa.data.databases import DATABASES


@pytest.fixture
def choices(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for i in range(4):
        pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    (tmp_path / "choices.csv").write_text(
        "prompt,image_a,image_b,preferred\n"
        "a fox,0.png,1.png,a\na fox,1.png,2.png,b\na dog,2.png,3.png,tie\n"
    )
    return tmp_path / "choices.csv"


def scores(path: Path, **values: float) -> Path:
    rows = [[f"in/{name}.png", "a fox", value, value] for name, value in values.items()]
    pd.DataFrame(rows, columns=["image", "prompt", "perception", "alignment"]).to_csv(path)
    return path


def test_check(choices: Path) -> None:
    result = CliRunner().invoke(app, ["data", "check", str(choices), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found["preferences"] == {"groups": 3, "largest": 2, "pairs": 3, "ties": 1}
    assert (
        "3 pairs, 1 of them ties" in CliRunner().invoke(app, ["data", "check", str(choices)]).output
    )
    (choices.parent / "1.png").unlink()
    result = CliRunner().invoke(app, ["data", "check", str(choices)])
    assert result.exit_code == 1
    assert "1 of 5 images are not below" in " ".join(result.output.split())


def test_evaluate_scores_every_image_once(choices: Path, reference: Path, tmp_path: Path) -> None:
    model, out = tmp_path / "model", tmp_path / "report.csv"
    Scorer.untrained(str(reference / "backbone"), small_config()).save_pretrained(model)
    arguments = ["evaluate", str(choices), "--model", str(model), "--out", str(out)]
    result = CliRunner().invoke(app, [*arguments, "--dtype", "float32", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert (found["rows"], found["scored"], found["pairs"], found["ties"]) == (5, 5, 2, 1)
    report = pd.read_csv(out)
    assert list(report["image"]) == ["0.png", "1.png", "2.png", "2.png", "3.png"]
    task = report.columns[2]
    assert report[task].between(0, 1).all()
    by_image = report.set_index(["image", "prompt"])[task]
    right = [
        by_image["0.png", "a fox"] > by_image["1.png", "a fox"],
        by_image["2.png", "a fox"] > by_image["1.png", "a fox"],
    ]
    assert found["accuracy"]["value"] == pytest.approx(np.mean(right))
    (tmp_path / "3.png").write_bytes(b"no image")
    out.unlink()
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "4 of 5 images scored" in result.output
    assert "1 pair left out: an image has no score" in result.output


def test_rank_is_judged(choices: Path, tmp_path: Path) -> None:
    table = scores(tmp_path / "s.csv", **{"0": 0.9, "1": 0.5, "2": 0.3, "3": 0.1})
    result = CliRunner().invoke(app, ["rank", str(table), "--judge", str(choices)])
    assert result.exit_code == 0, result.output
    assert "2 decided pairs of 2 prompts" in result.output
    assert "accuracy 0.500" in result.output
    assert "1 tie apart" in result.output
    ranks = tmp_path / "ranks.csv"
    ranks.write_text("prompt,image,rank\na fox,0.png,1\na fox,1.png,2\na fox,2.png,3\n")
    result = CliRunner().invoke(app, ["rank", str(table), "--judge", str(ranks), "--json"])
    found = json.loads(result.output)
    assert (found["best"]["value"], found["tau"]["value"]) == (1, 1)


def test_runs_are_compared_with_what_people_chose(choices: Path, tmp_path: Path) -> None:
    old = scores(tmp_path / "old.csv", **{"1": 0.5, "3": 0.1})
    new = scores(tmp_path / "new.csv", **{"0": 0.9, "2": 0.3})
    arguments = ["compare", str(old), str(new), "--judge", str(choices)]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)[0]["people_win_rate"] == 1
    assert json.loads(result.output)[0]["people_pairs"] == 2
    assert (
        "new against old: 2 pairs, people 1.000, scores 0.500"
        in CliRunner().invoke(app, arguments).output
    )


def test_what_does_not_fit_is_one_sentence(
    choices: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = scores(tmp_path / "s.csv", **{"7": 0.9})
    for arguments, reason in (
        (["rank", str(table), "--judge", str(choices)], "the choices name no image of s"),
        (["evaluate", str(choices), "--pairs", "a", "--out", "x.csv"], "--pairs a names 1 column"),
        (
            ["evaluate", str(choices), "--pairs", "a,b,c", "--label", "x=y"],
            "holds choices or ratin",
        ),
        (["rank", str(table), "--judge", str(table)], "lacks image_a, image_b, preferred"),
    ):
        assert run(arguments) == 2
        assert reason in " ".join(capsys.readouterr().err.split())


def test_help_names_every_database() -> None:
    import re

    known = re.sub(r" \(.*?\)", "", options.KNOWN).split(", ")
    assert known == list(DATABASES)
