"""Rows that nobody rated: whose they are, that they stay in the training part, and what is measured."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from made_up import SCALES, made_up_rows, make_pictures, small_config

from diffagiqa.errors import TrainingError
from diffagiqa.model.config import TaskConfig
from diffagiqa.training import measures
from diffagiqa.training.config import TrainingConfig
from diffagiqa.training.data import make_rows
from diffagiqa.training.mismatch import KEPT, with_mismatches
from diffagiqa.training.open_data import make_split
from diffagiqa.training.report import render
from diffagiqa.training.reproduce import reproduce


def test_a_picture_with_another_ones_prompt(tmp_path: Path) -> None:
    rows = made_up_rows(tmp_path, 24)
    more = with_mismatches(rows, 0.5, seed=0)
    assert 6 <= len(more.made_of) <= 12  # a draw of the same prompt adds nothing
    assert len(more.rated) == len(rows)
    for extra, (picture, other) in enumerate(more.made_of, len(rows)):
        assert more.samples[extra].image == rows.samples[picture].image
        assert more.prompts[extra] == rows.prompts[other] != rows.prompts[picture]
        torch.testing.assert_close(
            more.labels[extra], rows.labels[picture] * torch.tensor([1.0, KEPT])
        )
    assert with_mismatches(rows, 0.5, seed=0).made_of == more.made_of
    assert with_mismatches(rows, 0.0, seed=0) is rows


def test_they_train_only_where_both_origins_do(tmp_path: Path) -> None:
    rows = with_mismatches(made_up_rows(tmp_path, 40), 1.0, seed=1)
    config = TrainingConfig(test_fraction=0.3, validation_fraction=0.2)
    parts, plain = make_split(config, rows), make_split(config, rows.rated)
    assert parts["test"] == plain["test"]
    assert parts["validation"] == plain["validation"]
    extra = parts["train"][len(plain["train"]) :]
    assert extra
    for row in extra:
        assert set(rows.made_of[row - len(rows.rated)]) <= set(plain["train"])


def test_one_database_alone_can_get_them(tmp_path: Path) -> None:
    pictures = [(make_pictures(tmp_path / name, 12), SCALES) for name in "ab"]
    rows = make_rows(dict(zip(("first", "second"), pictures, strict=True)))
    more = with_mismatches(rows, 1.0, seed=0, among=["second"])
    assert len(more) > len(rows)
    assert all(rows.sources[picture] == rows.sources[other] == 1 for picture, other in more.made_of)
    with pytest.raises(TrainingError, match="names third, and the databases are first, second"):
        with_mismatches(rows, 1.0, seed=0, among=["third"])


def test_each_database_is_measured_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measures, "RESAMPLES", 20)
    rows = make_rows(
        {
            "first": (make_pictures(tmp_path / "a", 24), SCALES),
            "second": (make_pictures(tmp_path / "b", 16), SCALES),
        }
    )
    silent = TaskConfig("perception", use_text=False)
    config = small_config(
        {"pooling": "statistics", "tasks": (silent, TaskConfig("alignment"))},
        epochs=1, batch_size=8, flip=False, freeze_prompters=True, mismatched=0.5, members=2,
        test_fraction=0.4,
    )  # fmt: skip
    (done,) = reproduce(config, rows, tmp_path / "run", repeats=1, device="cpu", log=lambda _: None)
    counts = [
        repeats.evaluations[0].tasks["alignment"].rows for repeats in (done, done.on("second"))
    ]
    split = make_split(config, rows)
    wanted = [sum(int(rows.sources[row]) == i for row in split["test"]) for i in (0, 1)]
    assert counts == wanted
    saved = json.loads((tmp_path / "run/head-only/00/best/config.json").read_text())
    assert [task["use_text"] for task in saved["tasks"]] == [False, True]
    assert saved["pyramid_channels"] == 2 * config.model.pyramid_channels
    report = render(config, rows, [done], [], "command")
    assert "# Results on first" in report
    assert "## The same repeats on the test part of second" in report

    untested = copy.deepcopy(done)  # as where the prompts to test are all of the first database
    for result in untested.results:
        for task in result["others"]["second"]["evaluation"]["tasks"].values():
            task["rows"] = 0
    assert "The same repeats" not in render(config, rows, [untested], [], "command")
