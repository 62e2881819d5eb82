"""The commands, end to end, on a table of made-up ratings."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
import typer
from made_up import BACKBONE, make_pictures, small_config
from PIL import Image
from typer.testing import CliRunner

from diffagiqa import Scorer
from diffagiqa.backbones.unet import StableDiffusion
from diffagiqa.cli.ablate import ablate
from diffagiqa.cli.crossdb import crossdb
from diffagiqa.cli.reproduce import reproduce
from diffagiqa.cli.train import train
from diffagiqa.cli.training_options import configuration, parse_pairs, parse_scales
from diffagiqa.data.columns import TableColumns
from diffagiqa.data.image_hash import perceptual_hashes
from diffagiqa.data.splits import prompt_key
from diffagiqa.errors import ConfigError, DatabaseError, DiffAGIQAError, TrainingError
from diffagiqa.evaluation.correlations import rmse, srcc
from diffagiqa.evaluation.protocol import Evaluation
from diffagiqa.pretrained import DEFAULT_MODEL, training_images
from diffagiqa.training import measures
from diffagiqa.training.ablation import variants
from diffagiqa.training.config import TrainingConfig
from diffagiqa.training.open_data import make_split, open_data

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
    assert re.search(r"train \d+, validation \d+, test \d+ \(\d+ prompts\)", text)
    assert re.search(r"perception, \d prompts: no interval: SRCC -?\d\.\d+  PLCC", text)
    assert set(Evaluation.from_json(json.loads((out / "test.json").read_text())).tasks) == {
        "perception",
        "alignment",
    }
    split = json.loads((out / "split.json").read_text())
    rows = {row["image"]: row for row in csv.DictReader((out / "rows.csv").open())}
    prompts = {
        part: {prompt_key(rows[name]["prompt"]) for name in split[part]}
        for part in ("train", "validation", "test")
    }
    assert not prompts["train"] & prompts["test"]
    assert not prompts["validation"] & (prompts["train"] | prompts["test"])
    assert all(prompts.values())
    tested = list(csv.DictReader((out / "test.csv").open()))
    assert [row["image"] for row in tested] == sorted(split["test"])
    given = {row["file"]: row for row in csv.DictReader((folder / "ratings.csv").open())}
    for row in tested:
        assert row["prompt"] == given[row["image"]]["prompt"]
        assert row["generator"] == given[row["image"]]["model"]
        assert float(row["alignment"]) == pytest.approx(float(given[row["image"]]["fit"]), rel=1e-5)
    found = Evaluation.from_json(json.loads((out / "test.json").read_text())).tasks["alignment"]
    pairs = [(float(row["alignment_predicted"]), float(row["alignment"])) for row in tested]
    assert found.figures["rmse"].value == pytest.approx(rmse(*zip(*pairs, strict=True)), rel=1e-4)
    assert json.loads((out / "versions.json").read_text())["torch"]
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list((out / "tensorboard").iterdir())

    text = run(crossdb, out, folder / "ratings.csv", *OWN, "--device", "cpu")
    report = out / "crossdb.md"
    shared = len(prompts["train"] | prompts["validation"])
    overlap = re.search(rf"\| ratings \| 20 \| {shared} \| 40 \| (\d+) \| 0 \|", report.read_text())
    assert overlap is not None
    assert int(overlap[1]) >= len(split["train"] + split["validation"])  # stripes look alike, too
    assert "| ratings | perception | all | 40 |" in text
    scored = list(csv.DictReader((out / "crossdb-ratings.csv").open()))
    assert len(scored) == COUNT
    new = sum(row["new"] == "yes" for row in scored)
    assert new <= len(split["test"])
    assert new == 0 or f"| ratings | perception | new | {new} |" in text
    assert json.loads((out / "test.json").read_text())["settings"]["split"]["seen"] == 0
    assert {row["image"]: row["perception_predicted"] for row in scored}.keys() == given.keys()
    with pytest.raises(
        ConfigError, match=r"is the place of the scores; name the report crossdb\.md"
    ):
        run(crossdb, out, folder / "ratings.csv", *OWN, "--out", tmp_path / "x.csv")
    with pytest.raises(ConfigError, match="--unreadable is 'no'; expected stop or skip"):
        run(crossdb, out, folder / "ratings.csv", *OWN, "--unreadable", "no")


def test_crossdb_trains_and_tests_on_ratings_and_choices(folder: Path, tmp_path: Path) -> None:
    """The other ratings are of half of the same images, in other files and with other prompts."""
    rows = list(csv.DictReader((folder / "ratings.csv").open()))
    other = []
    for i, row in enumerate(rows[::2]):
        with Image.open(folder / row["file"]) as image:
            image.save(tmp_path / f"{i}.png", compress_level=1)
        other.append({**row, "file": f"{i}.png", "prompt": f"other {i}", "mos": float(row["mos"])})
    pd.DataFrame(other).to_csv(tmp_path / "others.csv", index=False)
    choices = [
        {"prompt": "x", "image_a": f"{i}.png", "image_b": f"{i + 1}.png", "preferred": "a"}
        for i in range(4)
    ]
    pd.DataFrame(choices).to_csv(tmp_path / "choices.csv", index=False)
    arguments = [
        folder / "ratings.csv", tmp_path / "others.csv", tmp_path / "choices.csv", *OWN,
        "--recipe", folder / "recipe.json", "--device", "cpu", "--run", tmp_path / "run",
    ]  # fmt: skip
    text = run(crossdb, *arguments)
    assert "# Trained on ratings, tested on others, choices" in text
    trained = json.loads((tmp_path / "run" / "split.json").read_text())
    names = {*trained["train"], *trained["validation"]}
    copies = sum(row["file"] in names for row in rows[::2])
    found = re.search(r"\| others \| 20 \| 0 \| 20 \| (\d+) \| 0 \|", text)
    assert found is not None
    assert copies <= int(found[1])  # stripes of one height look alike, too
    if int(found[1]) < 20:
        assert f"| others | perception | new | {20 - int(found[1])} |" in text
    assert "| choices | preference | all | 4 |" in text
    again = run(crossdb, *arguments)  # the run is done, and read back
    assert "epoch   0" not in again
    report = (tmp_path / "run" / "crossdb.md").read_text()
    assert report in text
    assert report in again
    scored = pd.read_csv(tmp_path / "run" / "crossdb-choices.csv")
    assert scored["preference_predicted"].between(0, 1).all()


def test_few_ratings_are_cross_validated(folder: Path, tmp_path: Path) -> None:
    """Every row is tested once, by a model that has not seen its prompt; the model learns from all."""
    out = tmp_path / "run"
    arguments = [*common(folder), "--set", "folds=3", "--epochs", "1", "--out", out]
    text = run(train, *arguments, "--set", "min_steps=12")
    assert re.search(
        r"a test part of \d rows says little: .* 3-fold .* learns from all 40 rows", text
    )
    assert "held-out rows, cross-validated:" in text
    assert "the mean rating for every image: RMSE" in text
    tested = pd.read_csv(out / "test.csv")
    assert sorted(tested["image"]) == sorted(pd.read_csv(folder / "ratings.csv")["file"])
    assert (
        Evaluation.from_json(json.loads((out / "test.json").read_text())).tasks["perception"].rows
        == COUNT
    )
    split = json.loads((out / "split.json").read_text())
    assert (len(split["train"]), len(split["test"])) == (COUNT, 0)
    (row,) = csv.DictReader((out / "metrics.csv").open())
    assert row["validation"] == "0.0"
    # 40 rows make 5 batches of 8: three passes of them, for 12 steps.
    assert torch.load(out / "state.pt")["progress"]["step"] == 15
    # What the model has seen lies beside its weights, and few predictions of a rough start warn.
    hashes = training_images(out / "best")
    assert set(hashes) == set(perceptual_hashes(map(str, (folder / "pictures").iterdir())))
    assert "warning: nine in ten predictions of perception lie in" in text


def test_a_start_from_the_package_s_model(folder: Path, tmp_path: Path) -> None:
    """A table of one's own without any recipe; its scores need not be those of the start."""
    table = folder / "few.csv"
    frame = pd.read_csv(folder / "ratings.csv").rename(columns={"fit": "charm"})
    frame[["file", "prompt", "mos", "charm"]].head(12).to_csv(table, index=False)
    out = tmp_path / "run"
    text = run(
        train, table, "--label", "perception=mos", "--label", "charm=charm", "--scale",
        "perception=0:5", "--scale", "charm=1:10", "--image-column", "file", "--device", "cpu",
        "--set", "min_steps=4", "--epochs", "1", "--set", "folds=2", "--out", out,
    )  # fmt: skip
    assert "12 rows" in text
    assert "few ratings: learnt by a regression; for epochs and losses, --set solve_up_to=0" in text
    start = json.loads((DEFAULT_MODEL / "config.json").read_text())
    made = json.loads((out / "best" / "config.json").read_text())
    assert (made["backbone"], made["features"]) == (start["backbone"], start["features"])
    assert [task["name"] for task in made["tasks"]] == ["perception", "charm"]
    assert made["head_skip"]  # few ratings are learnt by a regression
    scorer = Scorer.from_pretrained(out / "best", device="cpu")
    assert 0 < scorer(next((folder / "pictures").iterdir()), "thing 0")["charm"] < 1
    assert "was trained on" not in text  # the package's model has not seen them

    text = run(
        train, table, "--label", "charm=charm", "--scale", "charm=1:10", "--image-column", "file",
        "--device", "cpu", "--set", "min_steps=4", "--epochs", "1", "--set", "folds=2",
        "--init", out / "best", "--out", tmp_path / "further",
    )  # fmt: skip
    assert "best, the start, was trained on 12 of these 12 images or copies of them" in text


def test_a_named_backbone_brings_its_defaults(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"model.backbone": BACKBONE, "model.timestep": 101}
    config = configuration([str(folder / "ratings.csv")], None, given, ["model.pyramid_size=8"])
    defaults = StableDiffusion.defaults
    assert (config.init, config.model.backbone) == (None, BACKBONE)
    assert (config.model.image_size, config.model.fit) == (512, "resize")
    assert (config.model.features, config.model.timestep) == (defaults.features, 101)
    assert config.model.pyramid_size == 8
    said = capsys.readouterr().out
    assert "image_size 512; fit resize; features mid_block" in said
    assert "timestep" not in said
    compact = configuration([str(folder / "ratings.csv")], None, {"model.backbone": "compact"}, [])
    assert (compact.init, compact.model.backbone) == ("default", "compact")
    chosen = configuration(["agiqa-3k"], None, {"init": "default"}, [])
    assert chosen.model.backbone == "compact"
    assert configuration(["agiqa-3k"], None, {}, []).model == TrainingConfig().model


def test_choices_are_learnt_from_a_table(folder: Path, tmp_path: Path) -> None:
    table = folder / "choices.csv"
    names = pd.read_csv(folder / "ratings.csv")["file"]
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["prompt", "image_a", "image_b", "preferred"])
        for i in range(0, COUNT, 2):
            writer.writerow([f"thing {i}", names[i], names[i + 1], ["a", "b", "tie"][i // 2 % 3]])
    recipe = ["--recipe", folder / "recipe.json", "--device", "cpu", "--epochs", "1"]
    text = run(train, table, *recipe, "--set", "test_fraction=0.4", "--out", tmp_path / "run")
    assert "choices: 40 rows, 20 prompts, tasks preference" in text
    assert re.search(r"test part, pairs by preference:\n  \d+ decided pairs? of \d+ prompts", text)
    assert re.search(r"validation  preference pairs \d", text)
    found = json.loads((tmp_path / "run" / "test-pairs.json").read_text())["preference"]
    assert found["pairs"] + found["ties"] == 8
    tested = pd.read_csv(tmp_path / "run" / "test.csv")
    assert tested["preference_predicted"].between(0, 1).all()


def test_written_predictions_keep_their_ranks() -> None:
    predicted = [2.04595531, 2.04595512, 2.04595552]  # as close as those of a model just begun
    frame = pd.DataFrame({"prompt": "", "generator": "unknown", "perception_predicted": predicted})
    written = pd.read_csv(io.StringIO(measures.predictions_csv(frame)))
    assert written["perception_predicted"].rank().tolist() == [2, 1, 3]
    assert list(written) == ["perception_predicted"]


def test_databases_are_tested_each_by_itself(folder: Path, tmp_path: Path) -> None:
    """Where one database's labels lie above the other's, all together say which database it is."""
    head, *lines = (folder / "ratings.csv").read_text().splitlines()
    tables = [folder / "first.csv", folder / "second.csv"]
    for table, own in zip(tables, (lines[:20], lines[20:]), strict=True):
        table.write_text("\n".join([head, *own]))
    out = tmp_path / "run"
    text = run(train, *tables, *common(folder)[1:], "--set", "test_fraction=0.4", "--out", out)
    tested = pd.read_csv(out / "test.csv")
    for table in tables:
        own = tested[tested["image"].str.startswith(f"{table.stem}/")]
        found = Evaluation.from_json(
            json.loads((out / f"test-{table.stem}.json").read_text())
        ).tasks["perception"]
        assert found.rows == len(own) > 3
        pair = (own["perception_predicted"], own["perception"])
        assert found.figures["srcc"].value == pytest.approx(srcc(*pair))
        assert f"test part of {table.stem}:\n  perception, " in text
    assert not (out / "test.json").exists()


def test_pictures_cut_short_are_left_out_on_demand(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "ratings"
    shutil.copytree(folder, place)
    cut = place / "pictures" / "003.png"
    cut.write_bytes(cut.read_bytes()[:500])
    arguments = [*common(place), "--epochs", "1", "--out", tmp_path / "run"]
    with pytest.raises(
        DatabaseError, match=r"cannot be read: pictures/003.png; --unreadable skip l"
    ):
        run(train, *arguments)
    text = run(train, *arguments, "--unreadable", "skip")
    assert "note: 1 of 40 rows is left out: their images cannot be read" in text
    assert "ratings: 39 rows" in text


def test_scores_that_are_all_equal_say_so(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffagiqa.training import train as training

    def constant(model, source, rows, processes):  # type: ignore[no-untyped-def]
        return {task: torch.full((len(rows),), 0.5) for task in ("perception", "alignment")}

    monkeypatch.setattr(training, "predict", constant)
    text = run(train, *common(folder), "--epochs", "1", "--out", tmp_path / "run")
    assert re.search(r"RMSE \d\.\d+  no correlation: all \d predicted scores are equal", text)


def test_a_table_without_prompts(folder: Path, tmp_path: Path) -> None:
    table = folder / "bare.csv"
    pd.read_csv(folder / "ratings.csv").drop(columns="prompt").to_csv(table, index=False)
    arguments = [table, *common(folder)[1:], "--epochs", "1", "--out", tmp_path / "run"]
    with pytest.raises(DatabaseError, match="lacks prompt"):
        run(train, *arguments)
    text = run(train, *arguments, "--prompt-column", "")
    assert "bare: 40 rows, 0 prompts" in text
    assert "note: no row has a prompt" in text
    assert "8 rows: no interval" in text
    assert "prompt" not in (tmp_path / "run" / "test.csv").read_text()


def test_reproduce_goes_on_and_prints_what_was_not_run(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "all"
    arguments = [*common(folder), "--out", out, "--repeats", "2"]
    text = run(reproduce, *arguments)
    assert text.count("best") >= 2
    report = (out / "report.md").read_text()
    assert "| full method: prompters, pyramid and heads | not run |" in report
    assert "There are no published results to compare with." in report
    assert "n = 2" in report
    median = re.search(r"heads trained on cached features \| (\d\.\d{3}|-\d\.\d{3})", report)
    assert median is not None
    assert f"Median SRCC on held-out images: perception {median[1]} (generator mean" in report
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
        run(reproduce, *("perception=0:6" if a == "perception=0:5" else a for a in arguments))
    file = out / "head-only" / "01" / "result.json"
    file.write_text(json.dumps({**results[1], "decided_by": None}))
    with pytest.raises(
        TrainingError, match="does not say what it was made with, as an older version"
    ):
        run(reproduce, *arguments)
    file.write_text("{")
    with pytest.raises(TrainingError, match=r"cannot be read .* delete .*01 to have it made anew"):
        run(reproduce, *arguments)


def test_one_model_under_several_splits(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "splits"
    arguments = [*common(folder), "--out", out, "--repeats", "2", "--epochs", "1"]
    arguments += ["--protocol", "prompt", "--protocol", "image", "--protocol", "generators"]
    run(reproduce, *arguments)
    table = (out / "protocols.md").read_text()
    by_prompt, by_image, left_out = table.splitlines()[-3:]
    assert by_prompt.startswith("| by prompt: no prompt on both sides | head-only | 2 | 0 % | ")
    assert left_out.startswith(
        "| leaving one generator out, and its test prompts | head-only | 2 | 0 % |"
    )
    shares = []
    for i in range(2):
        result = json.loads((out / "image" / "head-only" / f"0{i}" / "result.json").read_text())
        rows = list(csv.DictReader((out / "image" / "head-only" / f"0{i}" / "rows.csv").open()))
        trained = {prompt_key(row["prompt"]) for row in rows if row["part"] != "test"}
        tested = [prompt_key(row["prompt"]) for row in rows if row["part"] == "test"]
        assert result["split"]["seen"] == sum(prompt in trained for prompt in tested) > 0
        assert result["split"]["test"] == len(tested)
        shares.append(result["split"]["seen"] / len(tested))
        left = json.loads((out / "generators" / "head-only" / f"0{i}" / "result.json").read_text())
        assert left["split"]["kind"] == f"leaving out {'ab'[i]}"
        assert left["split"]["new_generators"] == ["ab"[i]]
    share = f"{100 * sum(shares) / 2:.0f} %"
    assert f" | {share} | " in by_image
    report = (out / "image" / "report.md").read_text()
    assert f"* Split by image: on average {share} of the test rows have a prompt that is" in report
    with pytest.raises(ConfigError, match="--split image and --protocol were given"):
        run(reproduce, *arguments, "--split", "image")
    with pytest.raises(ConfigError, match="ratings has no official split"):
        run(reproduce, *arguments[:-6], "--protocol", "official")


def test_ablation_table(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "ablation"
    run(
        ablate, *common(folder), "--out", out, "--repeats", "1", "--timesteps", "201",
        "--epochs", "1", "--set", "model.features=mid_block.attentions.0,up_blocks.2.attentions.0",
    )  # fmt: skip
    table = (out / "ablation.md").read_text()
    assert "| trained prompter per score (two branches) | not run | not run |" in table
    rows = [line for line in table.splitlines() if line.startswith("| ") and " | 1 | " in line]
    assert len(rows) == 9  # base, no text, t=201, 4 draws, plain, 2 x only, 2 x without
    caches = sorted(f.name for f in (out / "features").iterdir())
    assert caches == ["base", "draws4", "no-text", "plain", "t201"]


@pytest.mark.parametrize(
    ("command", "flag", "value"),
    [
        (ablate, "--repeats", "0"), (reproduce, "--repeats", "-1"),
        (reproduce, "--full-repeats", "-1"),
    ],
)  # fmt: skip
def test_repeats_that_cannot_be(command: Callable[..., None], flag: str, value: str) -> None:
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, ["t.csv", "--out", "x", flag, value])
    assert result.exit_code == 2
    assert "greater than or equal to" in " ".join(result.output.replace("│", " ").split())


def test_variants_change_one_thing_each() -> None:
    base = TrainingConfig().model
    names = [variant.name for variant in variants(base)]
    assert len(set(names)) == len(names)
    plain = next(v for v in variants(base) if "plain" in v.name)
    assert (plain.model.pooling, plain.model.prompting, plain.cache) == ("plain", "none", "plain")
    silent = tuple(replace(task, use_text=False) for task in base.tasks)
    found = {variant.name: variant for variant in variants(replace(base, tasks=silent))}
    assert found["text for every score"].cache == "all-text"
    assert all(task.use_text for task in found["text for every score"].model.tasks)


def test_splits_and_tables_that_do_not_fit(folder: Path, tmp_path: Path) -> None:
    own = TableColumns(
        {"perception": "mos"}, {"perception": (0, 5)}, image="file", generator="model"
    )
    rows = open_data([str(folder / "ratings.csv")], [], columns=own).rows
    parts = make_split(TrainingConfig(split="image"), rows)
    assert sorted(row for part in parts.values() for row in part) == list(range(COUNT))
    with pytest.raises(ConfigError, match="has no official split; use --split prompt"):
        make_split(TrainingConfig(split="official"), rows)
    with pytest.raises(ConfigError, match="its columns must be named"):
        open_data([str(folder / "ratings.csv")], [])
    again = tmp_path / "other.csv"
    shutil.copy(folder / "ratings.csv", again)
    both, pictures = [str(folder / "ratings.csv"), str(again)], str(folder)
    for name in ("other", str(again)):
        found = open_data(both, [f"{name}={pictures}"], columns=own)
        assert (found.rows.names, len(found.rows)) == (("ratings", "other"), 2 * COUNT)
    for root in (pictures, f"othr={pictures}"):
        with pytest.raises(
            ConfigError, match=f"--root {root} does not say .* NAME being ratings or o"
        ):
            open_data(both, [root], columns=own)
    with pytest.raises(ConfigError, match="--root gives other the folders a and b; give one"):
        open_data(both, ["other=a", "other=b"], columns=own)
    with pytest.raises(
        ConfigError, match="two of the databases are called ratings; give each once"
    ):
        open_data(both[:1] * 2, [], columns=own)
    with pytest.raises(
        ConfigError, match="--label perception was given as mos and as fit; give one"
    ):
        parse_pairs(["perception=mos", "perception=fit"], "--label")
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
    with pytest.raises(DiffAGIQAError, match=r"other images, labels or parts than rows\.csv"):
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
