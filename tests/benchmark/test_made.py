"""Synthetic pictures as a benchmark: three held-out parts, one table, methods without a value."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diffagiqa.benchmark import made
from diffagiqa.benchmark.made import TESTS, MadeSizes, by_part, ceilings, open_made, write_made
from diffagiqa.benchmark.run import run_baselines
from diffagiqa.errors import DatabaseError
from diffagiqa.training.config import load_recipe


def test_its_report_is_called_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffagiqa.cli.main import run
    from diffagiqa.training import reproduce

    monkeypatch.setattr(reproduce, "reproduce", lambda *_, **__: [])  # the method takes minutes
    sizes = ["--made-train", "24", "--made-test", "6", "--made-size", "64", "--repeats", "1"]
    assert (
        run(
            ["benchmark", "synth", "--baseline", "scene statistics", "--out", str(tmp_path), *sizes]
        )
        == 0
    )
    text = (tmp_path / "benchmark.md").read_text()
    assert text.startswith("# Benchmark on synthetic pictures\n")


def test_goes_on_after_a_stop_and_refuses_other_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = MadeSizes(train=12, test=6, size=64)
    whole = write_made(tmp_path / "whole", sizes, log=lambda text: None)
    written = made.write_database

    def stops_half_way(root: Path, *others: Any, **more: Any) -> None:
        written(root, *others, **more)
        if "test-prompts" in root.name:
            (root / "data.csv").unlink()
            raise KeyboardInterrupt

    root = tmp_path / "broken"
    monkeypatch.setattr(made, "write_database", stops_half_way)
    with pytest.raises(KeyboardInterrupt):
        write_made(root, sizes, log=lambda text: None)
    monkeypatch.setattr(made, "write_database", written)
    said: list[str] = []
    assert write_made(root, sizes, log=said.append).read_bytes() == whole.read_bytes()
    assert [text.split(", ")[1] for text in said] == list(TESTS)  # the finished part was kept
    assert not list(root.glob(".*"))

    with pytest.raises(
        DatabaseError, match="made with another size, seed; give the same again, delete"
    ):
        write_made(root, replace(sizes, size=96, seed=1))
    (root / "sizes.json").unlink()  # as an older version left it
    with pytest.raises(
        DatabaseError, match=r"does not say how its pictures were made .* delete it, or"
    ):
        write_made(root, sizes)


def test_every_part_is_made_once_and_measured_apart(tmp_path: Path) -> None:
    said: list[str] = []
    sizes = MadeSizes(train=24, test=6, size=64)
    table = write_made(tmp_path / "made", sizes, log=said.append)
    assert len(said) == 4
    assert write_made(tmp_path / "made", sizes, log=said.append) == table
    assert len(said) == 4  # what is there is not made again
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["side"] for row in rows] == ["train"] * 24 + ["test"] * 18
    assert all((table.parent / row["image"]).is_file() for row in rows)

    opened = open_made(table)
    assert opened.official is not None
    config = replace(load_recipe("small"), split="official")
    names = ["generator mean", "scene statistics"]
    done = run_baselines(
        config, opened.rows, tmp_path / "runs", names=names, repeats=1, official=opened.official,
        log=said.append,
    )  # fmt: skip
    # No part's name is known from training, so that oracle guesses one value: it has no correlation.
    assert said[-2] == "generator mean, repeat 1 of 1: SRCC perception no value  alignment no value"
    for test in done[0].evaluations:
        assert test.tasks["perception"].rows == 18
    text = by_part(done, opened.rows.task_names)
    assert text.count("no value / no value / no value") == 2 * len(TESTS)
    assert text.count("| scene statistics |") == 2
    assert ceilings(table.parent).count("| test-") == 2 * len(TESTS)
