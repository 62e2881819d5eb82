"""The commands, end to end, on a table of made-up ratings."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import typer
from made_up import made_up_rows, make_pictures, small_config
from typer.testing import CliRunner

from diffagiqa import Scorer
from diffagiqa.cli.ablate import ablate
from diffagiqa.cli.crossdb import crossdb
from diffagiqa.cli.reproduce import reproduce
from diffagiqa.cli.train import train
from diffagiqa.data.splits import Split, prompt_key
from diffagiqa.errors import ConfigError, DiffAGIQAError, TrainingError
from diffagiqa.evaluation.protocol import Evaluation
from diffagiqa.training import measures
from diffagiqa.training.ablation import ablate as run_variants
from diffagiqa.training.ablation import variants
from diffagiqa.training.config import TrainingConfig, load_recipe
from diffagiqa.training.open_data import TableColumns, make_split, open_data, parse_scales

COUNT = 40
OWN = [
    "--label", "perception=mos", "--label", "alignment=fit", "--scale", "perception=0:5",
    "--scale", "alignment=1:10", "--image-column", "file", "--generator-column", "model",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ratings.csv with 40 pictures of 20 prompts by two generators, and a recipe for it."""
    place = tmp_path_factory.mktemp("ratings")
    with (place / "ratings.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "prompt", "mos", "fit", "model"])
        for i, s in enumerate(make_pictures(place / "pictures", COUNT)):
            name = Path(s.image).name
            writer.writerow(
                [f"pictures/{name}", f"thing {i % 20}", s.labels["perception"],
                 s.labels["alignment"], "ab"[i % 2]]
            )  # fmt: skip
    config = small_config(epochs=2, batch_size=8, flip=False, freeze_prompters=True)
    (place / "recipe.json").write_text(config.to_json())
    return place


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "RESAMPLES", 20)


def run(command, *arguments: object) -> str:  # type: ignore[no-untyped-def]
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def common(folder: Path) -> list[object]:
    return [folder / "ratings.csv", *OWN, "--recipe", folder / "recipe.json", "--device", "cpu"]


def test_train_then_crossdb(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    text = run(train, *common(folder), "--out", out)
    assert "ratings: 40 rows, 20 prompts, tasks perception, alignment" in text
    assert "best epoch" in text
    assert set(Evaluation.load(out / "test.json").tasks) == {"perception", "alignment"}
    split = Split.load(out / "split.json")
    rows = {row["image"]: row for row in csv.DictReader((out / "rows.csv").open())}
    prompts = {
        part: {prompt_key(rows[name]["prompt"]) for name in getattr(split, part)}
        for part in ("train", "validation", "test")
    }
    assert not prompts["train"] & prompts["test"]
    assert not prompts["validation"] & (prompts["train"] | prompts["test"])
    assert all(prompts.values())
    assert json.loads((out / "versions.json").read_text())["torch"]
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list((out / "tensorboard").iterdir())

    report = tmp_path / "cross.md"
    text = run(crossdb, out, folder / "ratings.csv", *OWN, "--out", report, "--device", "cpu")
    shared = len(prompts["train"] | prompts["validation"])
    assert f"{shared} of 20 prompts of ratings were trained on" in report.read_text()
    assert f"| perception | new prompts | {len(split.test)} |" in report.read_text()
    assert "| perception | all | 40 |" in text


def test_reproduce_goes_on_and_prints_what_was_not_run(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "all"
    arguments = [*common(folder), "--out", out, "--repeats", "2"]
    text = run(reproduce, *arguments)
    assert text.count("best") >= 2
    report = (out / "report.md").read_text()
    assert "| full method: prompters, pyramid and heads | not run |" in report
    assert "No published figure is at hand." in report
    assert "n = 2" in report
    assert "baseline: the generator's mean label" in report
    results = [
        json.loads((out / "head-only" / f"{i:02d}" / "result.json").read_text()) for i in (0, 1)
    ]
    assert [result["split_seed"] for result in results] == [0, 1]
    first, second = ((out / "head-only" / f"{i:02d}" / "split.json").read_text() for i in (0, 1))
    assert first != second
    again = run(reproduce, *arguments)
    assert "epoch" not in again.replace("epochs", "")
    assert (out / "report.md").read_text() == report

    with pytest.raises(
        TrainingError, match="made with another epochs, lr_heads; give the same again"
    ):
        run(reproduce, *arguments, "--epochs", "1", "--set", "lr_heads=0.1")
    run(reproduce, *arguments, "--set", "workers=1")  # decides no figure
    with pytest.raises(TrainingError, match="made with another rows"):
        run(reproduce, *arguments, "--scale", "perception=0:6")
    file = out / "head-only" / "01" / "result.json"
    file.write_text(json.dumps({**results[1], "decided_by": None}))
    with pytest.raises(
        TrainingError, match="does not say what it was made with, as an older version"
    ):
        run(reproduce, *arguments)
    file.write_text("{")
    with pytest.raises(TrainingError, match=r"cannot be read .* delete .*01 to have it made anew"):
        run(reproduce, *arguments)


def test_ablation_table(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "ablation"
    run(
        ablate, *common(folder), "--out", out, "--repeats", "1", "--timesteps", "201",
        "--epochs", "1", "--features", "mid_block.attentions.0,up_blocks.2.attentions.0",
    )  # fmt: skip
    table = (out / "ablation.md").read_text()
    assert "| a prompter per score, learning (two branches) | not run | not run |" in table
    rows = [line for line in table.splitlines() if line.startswith("| ") and " | 1 | " in line]
    assert len(rows) == 9  # base, no text, t=201, 4 draws, plain, 2 x only, 2 x without
    caches = sorted(f.name for f in (out / "features").iterdir())
    assert caches == ["base", "draws4", "no-text", "t201"]

    run(
        ablate, *common(folder), "--out", tmp_path / "some", "--repeats", "1", "--epochs", "1",
        "--only", "empty prompt", "--only", "timestep 101",
    )  # fmt: skip
    table = (tmp_path / "some/ablation.md").read_text()
    rows = [line for line in table.splitlines() if line.startswith("| ") and " | 1 | " in line]
    assert [row.split(" | ")[0] for row in rows] == [
        "| no text (empty prompt)", "| timestep 101 instead of 51",
    ]  # fmt: skip
    assert "| timestep 201 instead of 51 | not run |" in table
    with pytest.raises(
        ConfigError, match="anything with 'colour'; there are: a prompter per score"
    ):
        run_variants(
            TrainingConfig(), made_up_rows(tmp_path, 4), tmp_path / "none", only=["colour"]
        )
    with pytest.raises(ConfigError, match="these run with --full alone; give it too"):
        run_variants(
            TrainingConfig(), made_up_rows(tmp_path, 4), tmp_path / "none", only=["learning"]
        )


def test_variants_change_one_thing_each() -> None:
    base = TrainingConfig().model
    names = [variant.name for variant in variants(base)]
    assert len(set(names)) == len(names)
    plain = next(v for v in variants(base) if "plain" in v.name)
    assert (plain.model.pooling, plain.model.prompting, plain.cache) == ("plain", "none", "base")
    embedded = load_recipe("embedded").model
    own = {variant.name: variant for variant in variants(embedded)}
    assert not any("plain" in name for name in own)  # there is no pyramid to leave out
    assert own["text for every score"].cache == "all-text"
    assert all(task.use_text for task in own["text for every score"].model.tasks)
    assert all(variant.model.pooling == "statistics" for variant in own.values())
    assert own["no look for words"].model.words == ()
    layers = [variant.model.words for name, variant in own.items() if name.startswith("only ")]
    assert layers == [(layer,) for layer in embedded.words]


def test_splits_and_tables_that_do_not_fit(folder: Path) -> None:
    own = TableColumns(
        {"perception": "mos"}, {"perception": (0, 5)}, image="file", generator="model"
    )
    rows = open_data([str(folder / "ratings.csv")], [], own=own).rows
    parts = make_split(TrainingConfig(split="image"), rows)
    assert sorted(row for part in parts.values() for row in part) == list(range(COUNT))
    with pytest.raises(ConfigError, match="has no official split; use --split prompt"):
        make_split(TrainingConfig(split="official"), rows)
    with pytest.raises(ConfigError, match="its columns must be named"):
        open_data([str(folder / "ratings.csv")], [])
    with pytest.raises(ConfigError, match="neither a database"):
        open_data(["nowhere"], [])
    with pytest.raises(ConfigError, match="agiqa-3k needs its folder"):
        open_data(["agiqa-3k"], [])
    with pytest.raises(ConfigError, match="write --scale perception=1:5"):
        parse_scales(["perception=five"])
    with pytest.raises(DiffAGIQAError):
        run(train, *common(folder), "--out", folder / "x", "--set", "model.colour=red")


def test_resuming_on_other_labels_is_refused(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(train, *common(folder), "--out", out)
    before = {file.name: file.read_bytes() for file in out.glob("*.*")}
    swapped = [str(one).replace("perception=mos", "perception=fit") for one in common(folder)]
    swapped = [one.replace("perception=0:5", "perception=0:10") for one in swapped]
    with pytest.raises(DiffAGIQAError, match=r"other pictures, labels or parts than rows\.csv"):
        run(train, *swapped, "--out", out, "--resume")
    assert {file.name: file.read_bytes() for file in out.glob("*.*")} == before
    assert "best epoch" in run(train, *common(folder), "--out", out, "--resume")


def test_a_column_of_parts_is_the_split(folder: Path, tmp_path: Path) -> None:
    lines = (folder / "ratings.csv").read_text().splitlines()
    parts = ["train"] * 24 + ["validation"] * 6 + ["test"] * 10
    table = folder / "parts.csv"
    table.write_text("\n".join(f"{a},{b}" for a, b in zip(lines, ["part", *parts], strict=True)))
    arguments = [table, *common(folder)[1:], "--split-column", "part"]
    text = run(train, *arguments, "--out", tmp_path / "run")
    assert "train 24, validation 6, test 10" in text
    with pytest.raises(ConfigError, match="--split prompt and --split-column part were given"):
        run(train, *arguments, "--split", "prompt", "--out", tmp_path / "other")


def test_the_package_s_backbone_goes_by_its_name(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = [*common(folder), "--backbone", "embedded", "--image-size", "64", "--epochs", "1"]
    run(train, *arguments, "--set", "model.features=latents", "--out", out)
    saved = json.loads((out / "best" / "config.json").read_text())
    assert saved["backbone"] == "embedded"
    scorer = Scorer.from_pretrained(out / "best", device="cpu")
    assert 0 < scorer(next((folder / "pictures").iterdir()), "thing 0")["perception"] < 1
