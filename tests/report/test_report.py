"""Best of N, paired comparisons against an outside oracle, and a page that hostile text cannot break."""

from __future__ import annotations

import errno
import html.parser
import json
import re
import time
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats

from diffagiqa.cli.main import run as command
from diffagiqa.data.results import RowWriter
from diffagiqa.errors import ConfigError, TableError
from diffagiqa.evaluation.correlations import bootstrap_interval
from diffagiqa.report import compare, rank, read_run, write_report
from diffagiqa.report.compare import MIN_GROUPS, Comparison
from diffagiqa.report.page import render_report
from diffagiqa.report.runs import group_column, split_run

HOSTILE = (
    "<script>alert(1)</script>\"'><img src=x onerror=alert(1)> {{ 7*7 }} $\\frac{1}{2}$ \u202e"
)


def table(
    path: Path, *, count: int = 40, shift: float = 0.0, seed: int = 0, per_prompt: int = 2
) -> Path:
    """A table as diffagiqa score writes it; scores rise by ``shift``."""
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame(
        {
            "row": range(count),
            "image": [f"gen{i % 3}/{i}.png" for i in range(count)],
            "prompt": [f"prompt {i // per_prompt}" for i in range(count)],
            "prompt_source": "table",
            "perception": np.clip(rng.normal(0.5, 0.1, count) + shift, 0, 1),
            "alignment": np.clip(rng.normal(0.5, 0.1, count) + shift, 0, 1),
            "kind": [("animals", "things")[i // per_prompt % 2] for i in range(count)],
            "error": None,
        }
    )
    for task in ("perception", "alignment"):
        rows[f"{task}_mos"] = 5 * rows[task]
    if path.suffix == ".parquet":
        rows.to_parquet(path)
    elif path.suffix == ".jsonl":
        rows.to_json(path, orient="records", lines=True)
    else:
        rows.to_csv(path, index=False)
    return path


TOP = "(top folder)"


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_every_format_reads_alike(suffix: str, tmp_path: Path) -> None:
    run = read_run(table(tmp_path / f"a{suffix}"))
    assert run.tasks == ("perception", "alignment")
    assert len(run.scored) == 40
    assert (run.rows["error"] == "").all()


def test_folder_of_parts(tmp_path: Path) -> None:
    order = [5, 2, 7, 0, 3, 6, 1, 4]
    for part in order:
        rows = pd.read_csv(table(tmp_path / "one.csv", count=2)).assign(row=part)
        rows.to_parquet(tmp_path / f"part-{part}.parquet")
    (tmp_path / "one.csv").unlink()
    (tmp_path / "job.json").write_text("{}")
    assert list(read_run(tmp_path).rows["row"]) == [part for part in range(8) for _ in "ab"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.txt", "hello", "has suffix .txt; expected a table in one of .csv"),
        ("a.csv", "x,y\n1,2\n", "has the columns x, y; expected image and scores"),
        ("a.parquet", "no parquet", "cannot be read"),
        ("a.jsonl", "{", "row 1: it is not JSON"),
        ("a.csv", "", "has no rows"),
    ],
)
def test_what_is_no_table_of_scores(name: str, text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(TableError, match=said):
        read_run(tmp_path / name)
    with pytest.raises(TableError, match="does not exist"):
        read_run(tmp_path / "absent.csv")


def test_rank_keeps_the_best(tmp_path: Path) -> None:
    run = read_run(table(tmp_path / "a.csv", per_prompt=4))
    best = rank(run, weights={"alignment": 1})
    for row in best.itertuples():
        same = run.rows[run.rows["prompt"] == row.prompt]
        assert row.alignment == same["alignment"].max()
        assert row.of == 4
    assert list(best["prompt"]) == list(dict.fromkeys(run.rows["prompt"]))
    every = rank(run, top=None)
    assert len(every) == 40
    with pytest.raises(ConfigError, match="not all 0, for perception, alignment"):
        rank(run, weights={"beauty": 1})


def test_rank_keeps_the_order_of_the_table(tmp_path: Path) -> None:
    """Prompts as they first appear, and images of one score as they stand."""
    rows = pd.read_csv(table(tmp_path / "a.csv", count=6)).iloc[::-1]
    rows.assign(perception=0.5, alignment=0.5).to_csv(tmp_path / "a.csv", index=False)
    found = rank(read_run(tmp_path / "a.csv"), top=None)
    assert list(found["prompt"]) == [f"prompt {number}" for number in (2, 2, 1, 1, 0, 0)]
    assert list(found["image"]) == [
        f"gen{number % 3}/{number}.png" for number in (5, 4, 3, 2, 1, 0)
    ]
    assert list(found["rank"]) == [1, 2] * 3


def test_words_that_pandas_takes_for_nothing_are_prompts_and_blanks_are_none(
    tmp_path: Path,
) -> None:
    rows = pd.read_csv(table(tmp_path / "a.csv", count=6))
    rows["prompt"] = ["None", "NA", "null", "nan", "  ", ""]
    rows.to_csv(tmp_path / "a.csv", index=False)
    assert list(read_run(tmp_path / "a.csv").prompted["prompt"]) == ["None", "NA", "null", "nan"]


@pytest.mark.parametrize("task", ["perception", "alignment"])
def test_difference_interval_and_wins(task: str, tmp_path: Path) -> None:
    base = read_run(table(tmp_path / "a.csv", count=120))
    other = read_run(table(tmp_path / "b.csv", count=120, shift=0.05, seed=1))
    found = {row.task: row for row in compare([base, other])}[task]
    theirs, ours = (run.rows.groupby("prompt")[task].mean() for run in (base, other))
    gap = (ours - theirs).to_numpy()
    assert (found.mean, found.base_mean) == pytest.approx((ours.mean(), theirs.mean()))
    assert found.difference == pytest.approx(gap.mean())
    oracle = stats.bootstrap((gap,), np.mean, method="percentile", random_state=0, n_resamples=4000)
    assert found.low == pytest.approx(oracle.confidence_interval.low, abs=0.004)
    assert found.high == pytest.approx(oracle.confidence_interval.high, abs=0.004)
    assert found.win_rate == pytest.approx((gap > 0).mean())


def test_the_interval_follows_the_seed(tmp_path: Path) -> None:
    runs = [read_run(table(tmp_path / f"{seed}.csv", seed=seed)) for seed in (0, 1)]
    first, same, other = ([row.low for row in compare(runs, seed=seed)] for seed in (0, 0, 1))
    assert first == same != other


def test_a_handful_of_prompts_has_no_interval_and_no_prompt_is_none(tmp_path: Path) -> None:
    base = read_run(table(tmp_path / "a.csv"))
    other = read_run(table(tmp_path / "b.csv", shift=0.3, seed=1))
    prompts = list(dict.fromkeys(base.rows["prompt"]))
    enough, few = prompts[:MIN_GROUPS], prompts[: MIN_GROUPS - 1]
    for run in (base, other):
        run.rows.loc[~run.rows["prompt"].isin(enough), "prompt"] = ""
    for row in compare([base, other]):
        assert row.prompts == MIN_GROUPS
        assert row.low is not None
    for run in (base, other):
        run.rows.loc[~run.rows["prompt"].isin(few), "prompt"] = ""
    for row in compare([base, other]):
        assert row.prompts == MIN_GROUPS - 1
        assert (row.low, row.high, row.clear) == (None, None, False)
    for run in (base, other):
        run.rows["prompt"] = ""
    with pytest.raises(TableError, match="share no scored prompt"):
        compare([base, other])


def test_equal_runs_tie(tmp_path: Path) -> None:
    run = read_run(table(tmp_path / "a.csv"))
    for row in compare([run, run]):
        assert (row.difference, row.win_rate, row.clear) == (0, 0.5, False)


def test_the_mark_goes_with_the_printed_interval() -> None:
    for low, high, clear in ((0.0004, 0.1, False), (0.0006, 0.1, True), (-0.1, -0.0004, False)):
        row = Comparison("b", "a", "perception", 9, 0.5, 0.4, 0.05, low, high, 1.0)
        assert row.clear is clear


def test_one_group_cannot_be_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = pd.read_csv(table(tmp_path / "a.csv", count=4)).assign(image="one/a.png")
    rows.to_csv(tmp_path / "a.csv", index=False)
    assert command(["compare", str(tmp_path / "a.csv"), "--by", "folder"]) == 2
    assert "--by folder finds one group" in capsys.readouterr().err
    assert command(["compare", str(tmp_path / "a.csv")]) == 2
    assert "--by" in capsys.readouterr().err


def test_a_group_with_prompts_of_its_own_stops_no_comparison(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = pd.read_csv(table(tmp_path / "a.csv", per_prompt=4))
    stray = rows[:1].assign(image="stray.png", prompt="of its own")
    pd.concat([stray, rows]).to_csv(tmp_path / "a.csv", index=False)
    with pytest.warns(UserWarning, match=r"gen0 and \(top folder\) share no scored prompt, so"):
        assert command(["compare", str(tmp_path / "a.csv"), "--by", "folder", "--json"]) == 0
    found = {(row["base"], row["run"]) for row in json.loads(capsys.readouterr().out)}
    assert found == {("gen0", "gen1"), ("gen0", "gen2")}


def test_rank_knows_no_empty_prompt_and_keeps_the_flag(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = pd.read_csv(table(tmp_path / "a.csv", count=6))
    rows.loc[[0, 1], "prompt"] = ""
    rows["unfamiliar"] = [None, None, "image", "image", None, None]
    rows.to_csv(tmp_path / "a.csv", index=False)
    kept = rank(read_run(tmp_path / "a.csv"))
    assert list(kept["prompt"]) == ["prompt 1", "prompt 2"]
    assert list(kept["unfamiliar"]) == ["image", ""]
    assert command(["rank", str(tmp_path / "a.csv"), "--out", str(tmp_path / "b.csv")]) == 0
    assert "2 without a prompt left out" in capsys.readouterr().err
    assert pd.read_csv(tmp_path / "b.csv")["unfamiliar"][0] == "image"
    rows.assign(prompt="").to_csv(tmp_path / "a.csv", index=False)
    assert len(rank(read_run(tmp_path / "a.csv"), top=None)) == 6


def test_rank_prints_a_json_object_per_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = pd.read_csv(table(tmp_path / "a.csv", count=6))
    assert command(["rank", str(tmp_path / "a.csv"), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["prompt"] for line in lines] == ["prompt 0", "prompt 1", "prompt 2"]
    rows.assign(perception=None).to_csv(tmp_path / "a.csv", index=False)  # nothing was scored
    assert command(["rank", str(tmp_path / "a.csv"), "--json"]) == 0
    assert capsys.readouterr().out == ""


def test_a_seed_in_a_column_with_gaps_is_whole(tmp_path: Path) -> None:
    rows = pd.read_csv(table(tmp_path / "a.csv", count=6))
    rows.assign(seed=[123456789, *[None] * 5]).to_csv(tmp_path / "a.csv", index=False)
    assert ">123456789<" in render_report(read_run(tmp_path / "a.csv"), root=tmp_path)


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for i in range(100):
        low, high = bootstrap_interval(np.mean, rng.normal(0.1, 1, 60), seed=i)
        inside += low <= 0.1 <= high
    assert 88 <= inside <= 99


def test_runs_that_share_nothing(tmp_path: Path) -> None:
    base = read_run(table(tmp_path / "a.csv"))
    other = read_run(table(tmp_path / "b.csv"))
    other.rows["prompt"] += " other"
    with pytest.raises(TableError, match="share no scored prompt"):
        compare([base, other])
    with pytest.raises(ConfigError, match="give two or more, or --by COLUMN"):
        compare([base])


def test_a_full_disk_leaves_no_half_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    run = read_run(table(tmp_path / "a.csv"))
    monkeypatch.setattr("os.fsync", full)
    (tmp_path / "out").mkdir()
    with pytest.raises(TableError, match="No space left"):
        write_report(run, tmp_path / "out" / "r.html")
    assert not list((tmp_path / "out").iterdir())


def test_groups(tmp_path: Path) -> None:
    run = read_run(table(tmp_path / "a.csv"))
    assert set(group_column(run, None)) == {"gen0", "gen1", "gen2"}
    assert set(group_column(run, "kind")) == {"animals", "things"}
    with pytest.raises(TableError, match="has no column 'maker'"):
        group_column(run, "maker")


@pytest.mark.parametrize(
    ("images", "groups"),
    [
        (["lay/A/000/1.png", "lay/A/001/2.png", "lay/B/000/1.png"], ["A", "A", "B"]),
        (["/data/out/A/1.png", "/data/out/2.png", "t.csv:3"], ["A", TOP, TOP]),
        (["/data/out/1.png", "/data/out/2.png", "/data/3.png"], ["out", "out", TOP]),
        (["1.png", "./2.png", "in/3.png"], [TOP, TOP, "in"]),
    ],
)
def test_groups_by_folder_begin_where_paths_part(
    tmp_path: Path, images: list[str], groups: list[str]
) -> None:
    """The last row failed: it has no say in where the others part."""
    rows = pd.read_csv(table(tmp_path / "a.csv", count=3)).assign(image=images)
    if "lay" not in images[0]:
        rows.loc[2, "perception"] = np.nan
    rows.to_csv(tmp_path / "a.csv", index=False)
    assert list(group_column(read_run(tmp_path / "a.csv"), "folder")) == groups


def test_csv_and_parquet_of_one_job_are_one_run(tmp_path: Path) -> None:
    """What guards a spreadsheet is no part of a name or a prompt."""
    images, prompts = ["-a.jpg", "=c.jpg", "'=d.jpg", "'tis.jpg"], ["+cat", "@home", "-", "a cat"]
    columns = {"row": int, "image": str, "prompt": str, "perception": float, "model": str}
    for name in ("a.csv", "a.parquet"):
        with RowWriter(tmp_path / name, columns) as rows:
            for i, (image, prompt) in enumerate(zip(images, prompts, strict=True)):
                row = {"row": i, "image": image, "prompt": prompt, "perception": 0.5}
                rows.write(row | {"model": "1234567890123e45"})
    ours, theirs = (read_run(tmp_path / name).rows for name in ("a.csv", "a.parquet"))
    pd.testing.assert_frame_equal(ours, theirs, check_dtype=False)
    assert list(ours["image"]) == images


def test_rank_copies_a_picture_whose_name_looks_like_a_formula(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("-a.jpg").write_bytes(b"P")
    with RowWriter("s.csv", {"image": str, "prompt": str, "perception": float}) as rows:
        rows.write({"image": "-a.jpg", "prompt": "=a cat", "perception": 0.5})
    assert command(["rank", "s.csv", "--copy-to", "best", "-q"]) == 0
    assert [file.name for file in Path("best").iterdir()] == ["00000_-a.jpg"]


def test_a_run_is_split_by_a_column(tmp_path: Path) -> None:
    rows = pd.read_csv(table(tmp_path / "a.csv", count=4)).assign(generator=["zero", "one", "", ""])
    rows.to_csv(tmp_path / "a.csv", index=False)
    run = read_run(tmp_path / "a.csv")
    assert list(group_column(run, None)) == ["zero", "one", "", ""]
    assert [len(part.rows) for part in split_run(run, "generator")] == [1, 1, 2]


def test_pictures_lie_beside_the_table_of_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report is made from any folder; what leads out of the table's folder is not followed."""
    (tmp_path / "run" / "gen0").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    scores = table(tmp_path / "run" / "a.csv", count=1)
    Image.new("RGB", (50, 50)).save(tmp_path / "run" / "gen0" / "0.png")
    assert command(["report", str(scores), "--out", "r.html", "-q"]) == 0
    assert "data:image/jpeg" in Path("r.html").read_text()
    Image.new("RGB", (50, 50)).save(tmp_path / "secret.png")
    rows = pd.read_csv(scores).assign(image="../secret.png")
    rows.to_csv(scores, index=False)
    Path(tmp_path / "far" / "away").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "far" / "away")
    assert command(["report", str(scores), "--out", "r.html", "-q"]) == 0
    assert "data:image/jpeg" not in Path("r.html").read_text()


class Page(html.parser.HTMLParser):
    """Tags, addresses and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    monkeypatch.chdir(tmp_path)
    rows = pd.read_csv(table(tmp_path / "a.csv"))
    rows["generator"] = [HOSTILE if i % 2 else "fine" for i in range(len(rows))]
    rows["prompt"] = HOSTILE
    rows["error"] = rows["error"].astype(object)
    rows.loc[0, ["perception", "alignment"]] = np.nan
    rows.loc[0, "error"] = HOSTILE
    rows.loc[1, "image"] = HOSTILE
    rows.loc[2, ["perception", "alignment"]] = 0.99
    rows["unfamiliar"] = ""
    rows.loc[2, "unfamiliar"] = "image <b>"
    rows.loc[[2, 3], "prompt_source"] = "png comfyui ambiguous"
    Path("gen2").mkdir()
    Image.new("RGB", (500, 300), "navy").save("gen2/2.png")
    rows.to_csv("a.csv", index=False)
    out = write_report(read_run("a.csv"), "deep/report.html", title=HOSTILE)
    return Page(out.read_text(encoding="utf-8"))


def test_page_holds_no_script_and_asks_for_nothing(page: Page) -> None:
    assert "script" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    for name, value in page.attributes:
        if name in ("src", "href"):
            assert value.startswith(("data:image/", "#"))
    assert "49" not in "".join(page.words).split()


def test_page_shows_hostile_text_as_text(page: Page) -> None:
    said = "".join(page.words)
    assert "<script>alert(1)</script>" in said
    assert "\u202e" not in said
    assert any(value.startswith("data:image/jpeg") for _, value in page.attributes)
    assert "image not found" in said
    assert "unfamiliar: image <b>" in said
    assert "with an ambiguous prompt2" in "".join(said.split("\n"))


def test_every_picture_has_a_text(page: Page) -> None:
    assert page.tags.count("img") == sum(name == "alt" and bool(v) for name, v in page.attributes)


def test_texts_of_pictures_say_what_is_shown(page: Page) -> None:
    """A card's image is named by its file, the prompt need not be what it shows; charts tell theirs."""
    texts = [value for name, value in page.attributes if name == "alt"]
    assert "image gen2/2.png" in texts
    assert any(text.startswith("Histograms: perception from 0.") for text in texts)
    assert any("have more perception than alignment" in text for text in texts)


def report_of(rows: pd.DataFrame, folder: Path) -> str:
    rows.to_csv(folder / "scores.csv", index=False)
    return write_report(read_run(folder / "scores.csv"), folder / "r.html").read_text("utf-8")


def galleries(html: str) -> dict[str, list[str]]:
    """Title -> the images under it."""
    found = {}
    for part in html.split('<section id="gallery-')[1:]:
        title = re.search("<h2[^>]*>(.*?)</h2>", part)
        assert title
        found[title[1]] = re.findall('class="file" title="(.*?)"', part.split("</section>")[0])
    return found


@pytest.mark.parametrize(
    ("count", "best", "worst"), [(1, 1, 0), (2, 1, 1), (9, 5, 4), (60, 12, 12)]
)
def test_no_picture_is_shown_twice(count: int, best: int, worst: int, tmp_path: Path) -> None:
    rows = pd.read_csv(table(tmp_path / "a.csv", count=count))
    rows["perception"] = rows["alignment"] = 0.5  # equal scores, too
    shown = galleries(report_of(rows, tmp_path))
    assert (len(shown["Best"]), len(shown.get("Worst", []))) == (best, worst)
    every = [image for images in shown.values() for image in images]
    assert len(every) == len(set(every))


def test_only_fine_pictures_are_fine_pictures_of_something_else(tmp_path: Path) -> None:
    rows = pd.read_csv(table(tmp_path / "a.csv", count=60))
    rows["perception"], rows["alignment"] = np.linspace(0.1, 0.9, 60), np.linspace(0.1, 0.9, 60)
    title = "Fine images of something else"
    assert title not in galleries(report_of(rows, tmp_path))
    rows.loc[20, "alignment"] = 0.0  # perception 0.37, no fine image
    rows.loc[40, "alignment"] = 0.55  # perception 0.64, and met well enough
    assert title not in galleries(report_of(rows, tmp_path))
    rows.loc[41, "alignment"] = 0.40  # perception 0.66
    assert galleries(report_of(rows, tmp_path))[title] == ["gen2/41.png"]


def test_counts_are_those_of_score(tmp_path: Path) -> None:
    """The empty prompt is none, and a row that failed is not one without a prompt."""
    rows = pd.read_csv(table(tmp_path / "a.csv", count=6))
    rows["error"] = rows["error"].astype(object)
    rows.loc[[0, 5], ["prompt", "prompt_source"]] = ["", "none"]
    rows.loc[5, ["perception", "alignment"]] = np.nan
    rows.loc[5, "error"] = "no image"
    html = report_of(rows, tmp_path)
    for name, count in (("prompts", 3), ("without a prompt", 1), ("failed", 1)):
        assert f"<dt>{name}</dt><dd>{count}</dd>" in html


def test_long_texts_are_shortened_with_a_sign_and_kept(tmp_path: Path) -> None:
    rows = pd.read_csv(table(tmp_path / "a.csv", count=2))
    rows["prompt"], rows["image"] = "a fox, " * 50, "folder/" * 20 + "a.png"
    html = report_of(rows, tmp_path)
    assert f"<p>{'a fox, ' * 50}".strip() in html
    assert '<span class="short">a fox' in html
    assert ">…" in html
    assert f'title="{"folder/" * 20}a.png"' in html


def test_names_and_reasons_of_a_megabyte_make_no_page_of_gigabytes(tmp_path: Path) -> None:
    file = table(tmp_path / "a.parquet", count=30)
    rows = pd.read_parquet(file)
    rows["image"] = ["n" * 1_000_000 + name for name in rows["image"]]
    rows["generator"] = [("g" * 1_000_000) + str(row % 3) for row in rows["row"]]
    rows.loc[5:9, ["perception", "alignment"]] = None
    rows.loc[5:9, "error"] = "e" * 1_000_000
    rows.to_parquet(file)
    page = write_report(read_run(file), tmp_path / "a.html").read_text()
    assert len(page) < 1_000_000
    assert "gen1/7.png" in page  # the end of a name is kept, here among the errors


def test_a_task_may_be_called_by_any_name(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    name = "$\\frac{x}$"  # to matplotlib a formula, and a broken one
    rows = {"image": ["a.png", "b.png"], "prompt": ["a", "b"]}
    for task in (name, "other"):
        rows |= {task: [0.2, 0.4], f"{task}_mos": [1.0, 2.0]}
    pd.DataFrame(rows).to_csv(file, index=False)
    assert "frac{x}" in write_report(read_run(file), tmp_path / "a.html").read_text()


def test_a_group_for_every_picture_is_no_hang(tmp_path: Path) -> None:
    file = table(tmp_path / "a.parquet", count=20_000)
    rows = pd.read_parquet(file)
    rows["generator"] = [f"g{row}" for row in rows["row"]]
    rows.to_parquet(file)
    run = read_run(file)
    began = time.process_time()
    parts = split_run(run, "generator")
    assert time.process_time() - began < 5  # every name against every row, it took half a minute
    assert [part.name for part in parts] == list(rows["generator"])
    assert [len(part.rows) for part in parts] == [1] * len(rows)


def test_scores_outside_their_range_are_not_scores(tmp_path: Path) -> None:
    file = table(tmp_path / "a.csv", count=4)
    rows = pd.read_csv(file)
    rows["perception"] = [0.5, float("inf"), -0.0, 1.0]
    rows.to_csv(file, index=False)
    assert read_run(file).scored["perception"].tolist() == [0.5, 0.0, 1.0]
    rows["perception"] = [0.5, 0.5, -3.0, 71.5]
    rows.to_csv(file, index=False)
    with pytest.raises(
        TableError, match=r"has perception from -3 to 71\.5; expected scores from 0"
    ):
        read_run(file)


def test_a_doubtful_score_decides_nothing_unless_it_is_asked_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = pd.read_csv(table(tmp_path / "a.csv", per_prompt=4)).assign(doubtful="alignment")
    rows["alignment"] = 1 - rows["perception"]  # the mean of both says nothing
    rows.to_csv(tmp_path / "a.csv", index=False)
    run = read_run(tmp_path / "a.csv")
    assert (run.doubtful, run.ranking) == (("alignment",), ("perception",))
    for row in rank(run).itertuples():
        assert row.perception == run.rows["perception"][run.rows["prompt"] == row.prompt].max()
        assert row.score == row.perception
    for row in rank(run, weights={"alignment": 1}).itertuples():
        assert row.score == row.alignment

    page = render_report(run, root=tmp_path)
    said = "the model that made these scores does not stand behind its alignment."
    assert f'<p class="caveat">{said}</p>' in page
    assert "alignment (doubtful)" in page
    assert "Highest perception." in page
    assert "Scatter plot" not in page

    assert {row.task for row in compare([run, run])} == {"perception"}
    assert {row.task for row in compare([run, run], doubtful=True)} == {"perception", "alignment"}
    rows.drop(columns=["perception", "perception_mos"]).to_csv(tmp_path / "b.csv", index=False)
    only = read_run(tmp_path / "b.csv")
    with pytest.raises(TableError, match=r"does? not stand behind \(alignment\); .*--doubtful"):
        compare([only, only])
    assert command(["compare", str(tmp_path / "a.csv"), str(tmp_path / "a.csv")]) == 0
    assert "its alignment: not compared, unless with --doubtful" in capsys.readouterr().out
    assert command(["rank", str(tmp_path / "a.csv")]) == 0
    assert "its alignment, so it has no part in this" in capsys.readouterr().err


def test_images_without_a_prompt_are_scored_without_alignment(tmp_path: Path) -> None:
    rows = pd.read_csv(table(tmp_path / "a.csv", count=8))
    rows.loc[:3, ["prompt", "prompt_source", "alignment", "alignment_mos"]] = [
        "",
        "none",
        None,
        None,
    ]
    page = report_of(rows, tmp_path)
    assert sorted(chain(*galleries(page).values())) == sorted(rows["image"])
    assert "Highest perception." in page  # what all of them have
    assert len(rank(read_run(tmp_path / "scores.csv"), top=None)) == 4
    rows[["prompt", "alignment", "alignment_mos"]] = ["", None, None]
    page = report_of(rows, tmp_path)
    assert "nan" not in page
    assert "mean alignment" not in page
    assert list(rank(read_run(tmp_path / "scores.csv"))["score"]) == [rows["perception"].max()]


def test_images_are_found_after_the_folder_of_scores_and_images_has_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "before" / "renders" / "a").mkdir(parents=True)
    (tmp_path / "before" / "scores").mkdir()
    Image.new("RGB", (50, 50)).save(tmp_path / "before" / "renders" / "a" / "fox.png")
    columns = {"image": str, "file": str, "prompt": str, "perception": float, "prompt_source": str}
    with RowWriter(tmp_path / "before" / "scores" / "s.csv", columns) as rows:
        row = {"image": "a/fox.png", "file": "../renders/a/fox.png", "prompt": "a fox"}
        rows.write(row | {"perception": 0.5, "prompt_source": "table"})
    (tmp_path / "before").rename(tmp_path / "after")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    scores = "../after/scores/s.csv"
    assert command(["report", scores, "--out", "r.html", "-q"]) == 0
    assert "data:image/jpeg" in Path("r.html").read_text()
    assert command(["rank", scores, "--copy-to", "best", "--out", "deep/best.csv", "-q"]) == 2
    Path("deep").mkdir()
    assert command(["rank", scores, "--copy-to", "kept", "--out", "deep/best.csv", "-q"]) == 0
    assert [file.name for file in Path("kept").iterdir()] == ["00000_fox.png"]
    assert not Path("best").exists()
    assert command(["rank", "deep/best.csv", "--copy-to", "again", "-q"]) == 0
    found = pd.read_csv("deep/best.csv")["file"][0]
    assert (Path("deep") / found).resolve() == tmp_path / "after" / "renders" / "a" / "fox.png"

    (tmp_path / "after" / "renders").rename(tmp_path / "away")
    capsys.readouterr()
    assert command(["rank", scores, "--copy-to", "none", "-q"]) == 2
    assert "1 image was not found, such as a/fox.png; give their folder by --root" in (
        capsys.readouterr().err
    )
    assert not Path("none").exists()
    assert command(["rank", scores, "--copy-to", "rooted", "--root", "../away", "-q"]) == 0
    assert command(["report", scores, "--out", "r.html", "--root", "../away", "-q"]) == 0
    assert "data:image/jpeg" in Path("r.html").read_text()
    assert command(["rank", scores, "--root", "..", "--copy-to", "no", "-q"]) == 2


def test_same_scores_give_the_same_bytes(tmp_path: Path) -> None:
    run = read_run(table(tmp_path / "a.csv"))
    both = [write_report(run, tmp_path / f"{i}.html").read_bytes() for i in range(2)]
    assert both[0] == both[1]


def test_pictures_outside_the_root_are_not_shown(tmp_path: Path) -> None:
    rows = pd.read_csv(table(tmp_path / "a.csv", count=4))
    Image.new("RGB", (50, 50)).save(tmp_path / "secret.png")
    (tmp_path / "root").mkdir()
    rows["image"] = "../secret.png"
    rows.to_csv(tmp_path / "a.csv", index=False)
    out = write_report(read_run(tmp_path / "a.csv"), tmp_path / "r.html", root=tmp_path / "root")
    assert "data:image/jpeg" not in out.read_text()


def test_pictures_that_are_not_found_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.chdir(tmp_path)
    scores = str(table(tmp_path / "a.csv", count=3))
    for number in range(3):
        place = tmp_path / "demo" / f"gen{number}" / f"{number}.png"
        place.parent.mkdir(parents=True)
        Image.new("RGB", (50, 50)).save(place)
    assert command(["report", scores, "--root", "demo"]) == 0
    assert not recwarn.list
    assert command(["report", scores]) == 0
    said = "3 images were not found, of 3 to show; give their folder as root (--root)"
    assert said in [str(warning.message) for warning in recwarn.list]


def test_nothing_scored(tmp_path: Path) -> None:
    rows = pd.read_csv(table(tmp_path / "a.csv", count=4))
    rows["perception"] = np.nan
    rows.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(TableError, match="no row with scores"):
        write_report(read_run(tmp_path / "a.csv"), tmp_path / "r.html")


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = str(table(tmp_path / "a.csv"))
    b = str(table(tmp_path / "b.csv", shift=0.1, seed=1))
    assert command(["rank", a, "--top", "1", "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 20
    assert json.loads(lines[0])["rank"] == 1
    assert command(["rank", a, "--out", str(tmp_path / "best.csv"), "-q"]) == 0
    assert len(pd.read_csv(tmp_path / "best.csv")) == 20
    capsys.readouterr()
    assert command(["compare", a, b, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["task"] for row in found] == ["perception", "alignment"]
    assert command(["compare", a, "--by", "folder", "--json"]) == 0
    parts = json.loads(capsys.readouterr().out)
    assert {(row["base"], row["run"]) for row in parts} == {("gen0", "gen1"), ("gen0", "gen2")}
    assert command(["compare", a, b, "--by", "folder"]) == 2
    assert "--by splits one run" in capsys.readouterr().err
    assert command(["compare", a, b]) == 0
    said = capsys.readouterr().out
    assert "against a" in said
    one = found[0]
    assert f"{one['low']:+.3f}..{one['high']:+.3f}" in said
    assert command(["report", a, "--out", str(tmp_path / "r.html")]) == 0
    assert (tmp_path / "r.html").is_file()
    assert command(["rank", a, "--weight", "alignment"]) == 2
    assert "write TASK=NUMBER" in capsys.readouterr().err
