"""Misalignments violate the words they should; observers are screened; databases read back."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import spearmanr
from typer import Typer
from typer.testing import CliRunner

from diffagiqa.cli.synth import synth
from diffagiqa.errors import ConfigError, DatabaseError
from diffagiqa.synth.captions import describe, violated
from diffagiqa.synth.database import COLUMNS, made_image, write_database
from diffagiqa.synth.defects import HELD_OUT_DEFECTS
from diffagiqa.synth.misalign import MISALIGNMENTS, applicable, misalign, severity
from diffagiqa.synth.observers import (
    Panel,
    noise_ceiling,
    opinion,
    psychometric,
    rate,
    screen,
    true_quality,
)
from diffagiqa.synth.scene import Scene, has_held_out_combination, sample_scene


@pytest.mark.parametrize("kind", MISALIGNMENTS)
def test_misalignment_violates_exactly_its_words(kind: str) -> None:
    seen = 0
    for i in range(250):
        rng = np.random.default_rng(i)
        scene = sample_scene(rng)
        if kind not in applicable(scene):
            continue
        caption = describe(scene, rng, complete=True)
        assert severity(caption, scene) == 0
        changed = misalign(scene, kind, rng)
        broken = violated(caption, changed.scene)
        named = {(a.aspect, a.entity) for a in changed.violated}
        spoken = {(c.aspect, c.entity) for c in caption.claims}
        found = {(c.aspect, c.entity) for c in broken}
        if kind == "wrong relation":
            assert {c.aspect for c in broken} == {"relation"}
        elif kind == "missing object":
            (gone,) = changed.violated
            assert {c for c in spoken if c[1] == gone.entity and c[0] != "relation"} <= found
        else:
            assert found == named & spoken
        assert not broken or severity(caption, changed.scene) > 0
        seen += bool(broken)
    assert seen > 5


def test_misalignment_keeps_held_out_combinations_out_of_training() -> None:
    for i in range(200):
        rng = np.random.default_rng(i)
        scene = sample_scene(rng, "train")
        kinds = applicable(scene)
        changed = misalign(scene, kinds[int(rng.integers(len(kinds)))], rng, "train")
        assert not has_held_out_combination(changed.scene)


def test_misalignment_that_cannot_apply_is_refused() -> None:
    scene = Scene(sample_scene(np.random.default_rng(0)).entities[:1], (), "meadow", "photo")
    with pytest.raises(ConfigError, match="swapped attributes"):
        misalign(scene, "swapped attributes", np.random.default_rng(0))
    with pytest.raises(ConfigError, match="'wrong size'"):
        misalign(scene, "wrong size", np.random.default_rng(0))


def test_screening_removes_a_planted_observer_and_no_other() -> None:
    truth = np.random.default_rng(0).uniform(1, 5, 200)
    ratings = rate(truth, Panel(size=20))
    assert screen(ratings) == ()
    ratings[7] = np.random.default_rng(1).integers(1, 6, 200)
    assert screen(ratings) == (7,)
    assert opinion(ratings).rejected == (7,)


def test_screening_counts_as_the_recommendation_says() -> None:
    """A plain loop over the formulas of BT.500 gives the same observers."""
    rng = np.random.default_rng(5)
    ratings = rate(rng.uniform(1, 5, 120), Panel(size=15, seed=5))
    ratings[3], ratings[9] = rng.integers(1, 6, 120), 6 - ratings[9]
    p, q = [0] * 15, [0] * 15
    for column in ratings.T.astype(float):
        mean = sum(column) / 15
        m2, m4 = (sum((x - mean) ** k for x in column) / 15 for k in (2, 4))
        s = (sum((x - mean) ** 2 for x in column) / 14) ** 0.5
        if s == 0:
            continue
        limit = 2 * s if 2 <= m4 / m2**2 <= 4 else 20**0.5 * s
        for i, x in enumerate(column):
            p[i] += x >= mean + limit
            q[i] += x <= mean - limit
    expected = tuple(
        i
        for i in range(15)
        if (p[i] + q[i]) / 120 > 0.05 and abs(p[i] - q[i]) / (p[i] + q[i]) < 0.3
    )
    assert screen(ratings) == expected
    assert expected


def test_mos_falls_with_severity_in_the_mean() -> None:
    levels = np.linspace(0, 1, 6)
    truth = np.repeat([true_quality({"blur": float(s)}) for s in levels], 40)
    mos = opinion(rate(truth, Panel(seed=2))).mos.reshape(6, 40).mean(1)
    assert (np.diff(mos) < 0).all()
    assert 0 <= mos.min() < mos.max() <= 5
    assert (np.diff(psychometric(np.linspace(0, 1, 50))) > 0).all()


def test_ratings_do_not_depend_on_the_images_beside() -> None:
    truth = np.linspace(1, 5, 30)
    np.testing.assert_array_equal(rate(truth, Panel())[:, :10], rate(truth[:10], Panel()))


def test_noise_ceiling_orders_as_it_must() -> None:
    truth = np.random.default_rng(3).uniform(1, 5, 150)
    quiet = noise_ceiling(rate(truth, Panel(noise=0.3)), truth)
    loud = noise_ceiling(rate(truth, Panel(noise=1.2)), truth)
    for ceiling in (quiet, loud):
        assert ceiling.between_halves < ceiling.half_to_truth < ceiling.all_to_truth <= 1
    assert loud.between_halves < quiet.between_halves


def test_quality_and_alignment_are_independent() -> None:
    truths = [made_image(i, 64, 11, per_prompt=1).truth() for i in range(160)]
    result = spearmanr([t["quality"] for t in truths], [t["alignment"] for t in truths])
    assert abs(result.statistic) < 0.2
    assert np.std([t["alignment"] for t in truths]) > 0.5


def test_database_has_the_layout_and_its_truth_agrees(tmp_path: Path) -> None:
    root = tmp_path / "made"
    ceilings = write_database(root, 14, size=64, seed=1, per_prompt=6)
    assert set(ceilings) == {"quality", "alignment"}
    rows = list(csv.DictReader((root / "data.csv").open(encoding="utf-8")))
    truths = [json.loads(line) for line in (root / "truth.jsonl").open(encoding="utf-8")]
    assert tuple(rows[0]) == COLUMNS
    assert len({row["name"] for row in rows}) == 14
    assert len({row["prompt"] for row in rows}) == 3
    for row, truth in zip(rows, truths, strict=True):
        assert row["name"] == truth["name"]
        generator, setting, number = row["name"].removesuffix(".jpg").split("_")
        assert generator.replace("-", " ") in {*truth["severities"], "clean"}
        assert setting in ("normal", "mixed")
        assert number.isdigit()
        assert Image.open(root / "images" / row["name"]).size == (64, 64)
        assert 0 <= float(row["mos_quality"]) <= 5
        assert 0 <= float(row["mos_align"]) <= 5
        asked, shown = Scene.from_dict(truth["asked"]), Scene.from_dict(truth["shown"])
        assert (asked == shown) or truth["misalignments"]
    assert json.loads((root / "observers.json").read_text())["labels"] == "simulated"


def test_database_bytes_do_not_depend_on_order_or_number(tmp_path: Path) -> None:
    write_database(tmp_path / "six", 6, size=64, seed=4, per_prompt=2)
    write_database(tmp_path / "four", 4, size=64, seed=4, per_prompt=2, image_format="jpg")
    for path in (tmp_path / "four" / "images").iterdir():
        assert path.read_bytes() == (tmp_path / "six" / "images" / path.name).read_bytes()
    late, early = made_image(5, 64, 4, per_prompt=2), made_image(5, 64, 4, per_prompt=2)
    np.testing.assert_array_equal(late.image, early.image)


def test_held_out_defects_make_their_own_split() -> None:
    for i in range(12):
        made = made_image(i, 64, 0, "test-defects", per_prompt=3)
        assert set(made.severities) <= set(HELD_OUT_DEFECTS)


def test_database_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    (tmp_path / "note").write_text("mine")
    with pytest.raises(DatabaseError, match="not an empty folder"):
        write_database(tmp_path, 2, size=64)
    with pytest.raises(ConfigError, match="'validation'"):
        write_database(tmp_path / "a", 2, split="validation")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="1 to 3"):
        write_database(tmp_path / "a", 2, split="test-defects", per_prompt=6)


def test_command_writes_database_and_sheet(tmp_path: Path) -> None:
    app = Typer()
    app.command()(synth)
    sheet = tmp_path / "sheet.png"
    result = CliRunner().invoke(
        app,
        [str(tmp_path / "made"), "--images", "5", "--size", "64", "--sheet", str(sheet), "--png"],
    )
    assert result.exit_code == 0, result.output
    assert "simulated" in result.output
    assert len(list((tmp_path / "made" / "images").glob("*.png"))) == 5
    assert Image.open(sheet).width > 100


def test_every_split_has_a_default_number_of_images_per_prompt(tmp_path: Path) -> None:
    """Of a prompt, each image has its own family of defects, and this split has three."""
    write_database(tmp_path, 4, size=64, split="test-defects")
    prompts = [json.loads(line)["prompt"] for line in (tmp_path / "truth.jsonl").open()]
    assert prompts[0] == prompts[2] != prompts[3]
