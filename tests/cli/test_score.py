"""``diffagiqa score`` as a user meets it: outputs, prompts, exit codes."""

from __future__ import annotations

import csv
import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pyarrow import parquet

from diffagiqa.cli.main import run

COLUMNS = [
    "row", "image", "file", "prompt", "prompt_source", "prompt_read", "perception", "alignment",
    "perception_mos", "alignment_mos", "doubtful", "unfamiliar", "seed", "model", "error",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures whose prompts lie in a sidecar, in metadata, nowhere; and one that is none."""
    place = tmp_path_factory.mktemp("pictures")
    for name in ("a", "b", "c"):
        values = np.random.default_rng(ord(name)).integers(0, 256, (40, 64, 3), dtype=np.uint8)
        info = PngInfo()
        if name == "b":
            info.add_text("parameters", "a green bird\nSteps: 20, Sampler: Euler a")
        Image.fromarray(values).save(place / f"{name}.png", pnginfo=info)
    (place / "a.txt").write_text("=a red fox")
    (place / "d.png").write_bytes(b"")
    return place


def score(model: Path, *arguments: object) -> int:
    return run(
        [
            "score",
            *map(str, arguments),
            "--model",
            str(model),
            "--device",
            "cpu",
            "--dtype",
            "float32",
        ]
    )


def test_table_on_standard_output(
    tiny_model: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score(tiny_model, folder) == 1
    captured = capsys.readouterr()
    rows = list(csv.DictReader(captured.out.splitlines()))
    assert list(rows[0]) == COLUMNS
    assert [row["prompt_source"] for row in rows] == ["sidecar", "png a1111", "none", "none"]
    assert [row["prompt"] for row in rows] == ["'=a red fox", "a green bird", "", ""]
    assert "is empty (0 bytes)" in rows[3]["error"]
    assert rows[3]["perception"] == ""
    for row in rows[:3]:
        assert float(row["perception_mos"]) == pytest.approx(5 * float(row["perception"]))
        assert len(row["model"]) == 16
    assert "3 of 4 rows scored" in captured.err
    assert [row["alignment"] == "" for row in rows] == [False, False, True, True]
    assert "1 without a prompt, so without alignment" in captured.err


def test_a_name_that_is_not_utf8_can_be_printed(
    tiny_model: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = os.path.join(os.fsencode(tmp_path), b"b\xff.png")
    with open(name, "wb") as file:
        file.write((folder / "b.png").read_bytes())
    assert score(tiny_model, os.fsdecode(name)) == 0
    (row,) = csv.DictReader(capsys.readouterr().out.splitlines())
    assert row["image"] == f"{tmp_path}/b\\udcff.png"


@pytest.mark.parametrize("name", ["scores.csv", "scores.jsonl", "scores.parquet", "folder"])
def test_out(
    tiny_model: Path, folder: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / name
    code = score(tiny_model, folder / "a.png", folder / "b.png", "--prompt", "a fox", "--out", out)
    assert code == 0
    shown = capsys.readouterr().out
    assert "2 of 2 rows scored" in shown
    assert f"written to {out}" in shown
    if name == "folder":
        rows = parquet.read_table(out / "part-00000.parquet").to_pylist()
    elif name.endswith("parquet"):
        rows = parquet.read_table(out).to_pylist()
    elif name.endswith("jsonl"):
        rows = [json.loads(line) for line in out.read_text().splitlines()]
    else:
        rows = list(csv.DictReader(out.read_text().splitlines()))
    assert list(rows[0]) == COLUMNS
    assert [row["prompt"] for row in rows] == ["a fox", "a fox"]
    assert {row["prompt_source"] for row in rows} == {"argument"}
    assert 0 < float(rows[0]["alignment"]) < 1
    assert rows[0]["alignment"] != rows[1]["alignment"]


def test_json(
    tiny_model: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score(tiny_model, folder / "a.png", "--json", "--quiet") == 0
    captured = capsys.readouterr()
    row = json.loads(captured.out)
    assert row["prompt"] == "=a red fox"
    assert captured.err == ""
    out = tmp_path / "scores.csv"
    assert score(tiny_model, folder, "--json", "--out", out) == 1
    summary = json.loads(capsys.readouterr().out)
    assert (summary["rows"], summary["failed"], summary["without_prompt"]) == (4, 1, 1)
    assert summary["mean"]["perception"] > 0


def test_files_that_are_no_pictures_are_said(
    tiny_model: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "in"
    place.mkdir()
    (place / "a.jfif").write_bytes((folder / "a.png").read_bytes())
    for name in ("b.heic", "c.heic", "d", "a.txt"):
        (place / name).write_bytes(b"")
    assert score(tiny_model, place, "--json", "--out", tmp_path / "s.csv") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["passed_over"] == {".heic": 2, "": 1}
    said = "3 files in folders were skipped (not images): 2 x .heic, 1 x without suffix"
    assert said in captured.err
    assert score(tiny_model, place, "--quiet") == 0
    assert capsys.readouterr().err == ""


def test_prompts_file_and_table_give_the_same_scores(
    tiny_model: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "prompts.txt").write_text("a cat\na dog\n")
    table = tmp_path / "table.csv"
    table.write_text(f"picture,said\n{folder}/a.png,a cat\n{folder}/b.png,a dog\n")
    files = [folder / "a.png", folder / "b.png"]
    found = []
    for arguments in (
        [*files, "--prompts", tmp_path / "prompts.txt"],
        [table, "--image-column", "picture", "--prompt-column", "said"],
    ):
        assert score(tiny_model, *arguments, "--json", "-q") == 0
        found.append([json.loads(line) for line in capsys.readouterr().out.splitlines()])
    assert [row["alignment"] for row in found[0]] == [row["alignment"] for row in found[1]]
    assert [row["prompt_source"] for row in found[1]] == ["table", "table"]


def test_a_table_of_ours_is_scored_again_and_by_no_pattern(
    tiny_model: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(folder / "a.png", "a.png")
    Path("a.txt").write_text("-a red fox")
    for _ in range(2):
        assert score(tiny_model, "*.[pc]*", "--out", "x.csv", "-q") == 0
    assert score(tiny_model, "x.csv", "--out", "y.jsonl", "-q") == 0
    rows = [json.loads(line) for line in Path("y.jsonl").read_text().splitlines()]
    assert [(row["image"], row["prompt"]) for row in rows] == [("a.png", "-a red fox")]


def test_need_prompt(tiny_model: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score(tiny_model, folder / "c.png", "--need-prompt", "--json", "-q") == 1
    assert "no prompt was given" in json.loads(capsys.readouterr().out)["error"]


@pytest.mark.parametrize(("case", "code"), [("07", 1), ("08", 0), ("14", 0)])
def test_need_prompt_of_files_as_people_have_them(
    tiny_model: Path, case: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """07: what cameras and editors write; 08: a graph; 14: texts and profiles that Pillow refuses."""
    images = Path(__file__).parents[1] / "cases" / case
    assert score(tiny_model, images, "--need-prompt", "--json", "-q") == code
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["prompt_source"] == "none" for row in rows} == {bool(code)}
    assert all(bool(row["error"]) == bool(code) for row in rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{folder}/*.webp"], "holds no image"),
        (["{folder}", "--prompt", "a", "--prompts", "b.txt"], "give one of the two"),
        (["{folder}", "--shard", "4/4", "--out", "{folder}/new"], "expected i/n"),
        (["{folder}", "--shard", "0/4"], "--shard goes with --out; name a file or folder"),
        (["{folder}", "--engine", "ray"], "--engine ray goes with --out"),
        (["{folder}/absent.png"], "absent.png does not exist; check the path"),
        (["{folder}/absent.csv"], "absent.csv does not exist; check the path"),
        (["{folder}", "--engine", "spark"], "expected local or ray"),
        (["{folder}", "--out", "a.csv", "--format", "xml"], "expected one of parquet, csv, jsonl"),
        (["{folder}", "--workers", "4"], "--workers was given and the engine is local"),
        (["{folder}", "--ray-address", "a:1"], "--ray-address was given and the engine is local"),
        (["{folder}", "--out", "scores.xlsx"], "name it .csv, .jsonl or .parquet"),
        (["{folder}", "--out", "{folder}"], "holds a.png and no job of ours"),
        (["{folder}/a.png", "--out", "{folder}/a.png"], "a.png is an input of this command"),
        (["{folder}", "--chunk-rows", "2", "--out", "{folder}/new"], "do not grow"),
        (["{folder}", "--dtype", "int8"], "dtype 'int8' is unknown"),
    ],
)
def test_wrong_use(
    tiny_model: Path,
    folder: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [argument.format(folder=folder) for argument in arguments]
    code = run(["score", *given, "--model", str(tiny_model)])
    assert code == 2
    assert not (folder / "_job").exists()
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["absent.png"],
        ["."],
        ["table.csv", "--image-column", "picture"],
        ["table.csv", "--prompts", "absent.txt"],
        ["table.csv", "--out", "table.csv"],
        ["table.csv", "--out", "full"],
        ["table.csv", "--out", "table.csv/scores.csv"],
        ["table.csv", "--out", "scores.xlsx"],
        ["table.csv", "--out", "scores.csv", "--shard", "0/2"],
        ["table.csv", "--out", "parts", "--format", "xml"],
        ["table.csv", "--out", "parts", "--workers", "2"],
    ],
)
def test_a_refusal_comes_before_torch_is_imported(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("image,prompt\na.png,a fox\n")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    code = (
        "import sys; from diffagiqa.cli.main import run\n"
        "code = run(['score', *sys.argv[1:]]); print(code, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True, text=True, cwd=tmp_path, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["2", "False"]
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_a_full_disk_is_said_first(
    tiny_model: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 0, 10**6))
    assert score(tiny_model, folder, "--out", tmp_path / "s.csv") == 2
    assert "has 1 MB left, and 20 MB are the least" in capsys.readouterr().err


@pytest.mark.parametrize("out", ["s.csv", "deep/s.jsonl", "parts", "deep/parts"])
def test_an_output_says_where_the_images_lie_from_its_folder(
    tiny_model: Path, folder: Path, tmp_path: Path, out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    shutil.copy(folder / "b.png", tmp_path / "in" / "b.png")
    (tmp_path / "table.csv").write_text("image\nb.png\n")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    assert score(tiny_model, "table.csv", "--root", "in", "--out", out, "--format", "jsonl") == 0
    place = Path(out) / "part-00000.jsonl" if "parts" in out else Path(out)
    text = place.read_text()
    row = json.loads(text) if place.suffix == ".jsonl" else next(csv.DictReader(text.splitlines()))
    assert row["image"] == "b.png"
    assert (place.parent / row["file"]).resolve() == tmp_path / "in" / "b.png"


def test_a_doubtful_score_is_said_in_the_row_and_the_summary(
    tiny_model: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = shutil.copytree(tiny_model, tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"doubtful": ["alignment"]}))
    assert score(model, folder / "b.png", folder / "c.png") == 0
    captured = capsys.readouterr()
    rows = list(csv.DictReader(captured.out.splitlines()))
    assert [row["doubtful"] for row in rows] == ["alignment", ""]  # c.png has no alignment
    assert "does not stand behind its alignment" in captured.err
    assert "alignment?" in captured.err


def test_a_prompt_that_is_not_read_to_its_end_says_how_far(
    tiny_model: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The text encoder reads 77 tokens, two of which are no words."""
    for prompt, read in (("a " * 75, ""), ("a " * 93, "75 of 93 words")):
        assert score(tiny_model, folder / "a.png", "--prompt", prompt) == 0
        captured = capsys.readouterr()
        (row,) = csv.DictReader(captured.out.splitlines())
        assert row["prompt_read"] == read
        assert ("1 with a prompt that is not read to its end" in captured.err) == bool(read)


@pytest.mark.parametrize("seed", ["-1", "9" * 20])
@pytest.mark.parametrize("command", [["score", "a.png"], ["serve"], ["evaluate", "--out", "o"]])
def test_seeds_that_no_generator_takes(
    command: list[str], seed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*command, "--seed", seed]) == 2
    assert "Invalid value for '--seed'" in capsys.readouterr().err


def on_a_terminal(arguments: list[str], stdout: IO[bytes] | None = None) -> tuple[int, str]:
    """The exit code and what a terminal shows of a command; ``stdout``: a file in its place."""
    main, other = pty.openpty()
    code = "from diffagiqa.cli.main import main; main()"
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=stdout or other, stderr=other, env=environment,
    )  # fmt: skip
    os.close(other)
    shown = b""
    while True:
        try:
            data = os.read(main, 4096)
        except OSError:
            break
        if not data:
            break
        shown += data
    os.close(main)
    return process.wait(), shown.decode()


def test_rows_go_into_a_file_beside_a_bar(tiny_model: Path, folder: Path, tmp_path: Path) -> None:
    arguments = ["score", str(folder), "--model", str(tiny_model), "--device", "cpu"]
    with open(tmp_path / "rows.csv", "wb") as file:
        code, shown = on_a_terminal(arguments, file)
    assert code == 1
    assert "scoring" in shown
    rows = list(csv.DictReader((tmp_path / "rows.csv").read_text().splitlines()))
    assert [Path(row["image"]).name for row in rows] == ["a.png", "b.png", "c.png", "d.png"]


def test_a_bar_on_a_terminal(tiny_model: Path, folder: Path, tmp_path: Path) -> None:
    arguments = ["score", str(folder), "--model", str(tiny_model), "--device", "cpu"]
    code, text = on_a_terminal(arguments)
    assert code == 1
    assert "scoring" in text
    assert "prompt from" in text
    assert "a.png" in text
    assert "3 of 4 rows scored" in text
    (line,) = [line for line in text.splitlines() if "a.png" in line]
    with_flags = ["score", str(folder / "a.png"), "--model", str(tiny_model), "--device", "cpu"]
    assert run([*with_flags, "--out", str(tmp_path / "a.csv"), "-q"]) == 0
    (row,) = csv.DictReader((tmp_path / "a.csv").read_text().splitlines())
    assert f"{float(row['perception']):.3f}" in line  # 0 to 1, as in every table


def test_rows_come_batch_by_batch(
    tiny_model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU the bar moves, and rows are shown, with every batch of 8."""
    from diffagiqa.cli import score_output

    heard: list[int] = []
    monkeypatch.setattr(score_output.Bar, "__call__", lambda self, done, _: heard.append(done))
    assert score(tiny_model, *[folder / "a.png"] * 20, "--quiet") == 0
    assert heard == [8, 8, 4]


def test_failed_rows_are_no_speed(
    tiny_model: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score(tiny_model, folder / "d.png", "--out", tmp_path / "a.csv") == 1
    shown = capsys.readouterr().out
    assert "0 of 1 row scored" in shown
    assert "per second" not in shown
