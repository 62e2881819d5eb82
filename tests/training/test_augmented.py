"""Augmented rows: whose they are, that they stay in the training part, and what is measured."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_up import SCALES, made_up_rows, make_pictures, small_config

from diffagiqa.backbones.base import Backbone
from diffagiqa.data.images import decode_image, fit_image
from diffagiqa.model.config import TaskConfig
from diffagiqa.model.scoring import DiffAGIQA, build_model
from diffagiqa.training import measures
from diffagiqa.training.augmented import KEPT, with_augmentations, with_damages, with_mismatches
from diffagiqa.training.cache_spec import cache_spec
from diffagiqa.training.config import TrainingConfig
from diffagiqa.training.damage_ranking import MARGIN, DamageRanking
from diffagiqa.training.damages import HELD_OUT_DEFECTS
from diffagiqa.training.data import TrainingData, make_data
from diffagiqa.training.features import open_features
from diffagiqa.training.inputs import FeatureInputs, ImageInputs
from diffagiqa.training.open_data import Opened, make_split
from diffagiqa.training.processes import Processes
from diffagiqa.training.report import differences, render
from diffagiqa.training.reproduce import reproduce
from diffagiqa.training.run_folder import RunFolder
from diffagiqa.training.train import open_backbone, train


def test_a_picture_with_another_ones_prompt(tmp_path: Path) -> None:
    rows = made_up_rows(tmp_path, 24)
    more = with_mismatches(rows, 0.5, seed=0)
    assert 6 <= len(more.augmentations) <= 12  # a draw of the same prompt adds nothing
    assert len(more.originals) == len(rows)
    for extra, made in enumerate(more.augmentations, len(rows)):
        image, other = made.image, made.prompt
        assert more.samples[extra].image == rows.samples[image].image
        assert more.prompts[extra] == rows.prompts[other] != rows.prompts[image]
        torch.testing.assert_close(
            more.labels[extra], rows.labels[image] * torch.tensor([1.0, KEPT])
        )
    assert with_mismatches(rows, 0.5, seed=0).augmentations == more.augmentations
    assert with_mismatches(rows, 0.0, seed=0) is rows


def test_they_train_only_where_both_origins_do(tmp_path: Path) -> None:
    rows = with_mismatches(made_up_rows(tmp_path, 40), 1.0, seed=1)
    config = TrainingConfig(test_fraction=0.3, validation_fraction=0.2)
    parts, plain = make_split(config, rows), make_split(config, rows.originals)
    assert parts["test"] == plain["test"]
    assert parts["validation"] == plain["validation"]
    extra = parts["train"][len(plain["train"]) :]
    assert extra
    for row in extra:
        made = rows.augmentations[row - len(rows.originals)]
        assert {made.image, made.prompt} <= set(plain["train"])


def test_prompts_are_exchanged_within_a_database(tmp_path: Path) -> None:
    pictures = [(make_pictures(tmp_path / name, 12), SCALES) for name in "ab"]
    rows = make_data(dict(zip(("first", "second"), pictures, strict=True)))
    more = with_mismatches(rows, 1.0, seed=0)
    assert {int(rows.sources[copy.image]) for copy in more.augmentations} == {0, 1}
    assert all(rows.sources[o.image] == rows.sources[o.prompt] for o in more.augmentations)


def test_each_database_is_measured_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measures, "RESAMPLES", 20)
    rows = make_data(
        {
            "first": (make_pictures(tmp_path / "a", 24), SCALES),
            "second": (make_pictures(tmp_path / "b", 16), SCALES),
        }
    )
    silent = TaskConfig("perception", use_text=False)
    config = small_config(
        {"tasks": (silent, TaskConfig("alignment"))},
        epochs=1, batch_size=8, flip=False, freeze_prompters=True, mismatched=0.5, damaged=0.5,
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
    report = render(config, rows, [done], [], "command")
    assert "# Results on first" in report
    share = f"{config.test_fraction:.0%}"
    assert f"prompts, split by prompt: {share} test, 10% of the rest validation; the" in report
    published = render(replace(config, split="official"), rows, [done], [], "command")
    assert "split as published, 10% of the rest validation where none was published;" in published
    notes = differences(config, Opened(rows, None, ()))
    assert any("50% of the training images have two damaged copies" in note for note in notes)
    assert "## The same repeats on the test set of second" in report

    untested = copy.deepcopy(done)  # as where the prompts to test are all of the first database
    for result in untested.results:
        for task in result["others"]["second"]["evaluation"]["tasks"].values():
            task["rows"] = 0
    assert "The same repeats" not in render(config, rows, [untested], [], "command")


def test_two_damaged_copies(tmp_path: Path) -> None:
    rows = made_up_rows(tmp_path, 24)
    more = with_damages(rows, 0.5, seed=0)
    assert len(more.damages) == len(more) - len(rows) == 24
    assert more.labels[len(rows) :].isnan().all()
    for first in range(len(rows), len(more), 2):
        mild, strong = more.damages[first], more.damages[first + 1]
        assert mild.defect == strong.defect
        assert 0 < mild.severity < strong.severity <= 1
        augmentations = more.augmentations[first - len(rows) : first + 2 - len(rows)]
        assert {o.image for o in augmentations} == {o.prompt for o in augmentations} == {mild.seed}
        assert more.prompts[first] == rows.prompts[mild.seed]
    assert len({damage.seed for damage in more.damages.values()}) == 12
    assert {damage.defect for damage in more.damages.values()}.isdisjoint(HELD_OUT_DEFECTS)
    assert with_damages(rows, 0.5, seed=0).augmentations == more.augmentations
    assert with_damages(rows, 0.5, seed=1).augmentations != more.augmentations
    config = TrainingConfig(test_fraction=0.3)
    assert make_split(config, more) == make_split(config, rows)


def test_a_picture_without_a_rating_of_perception_has_copies_too(tmp_path: Path) -> None:
    rows = made_up_rows(tmp_path, 8)
    labels = rows.labels.clone()
    labels[:4, rows.task_names.index("perception")] = float("nan")
    more = with_damages(replace(rows, labels=labels), 1.0, seed=0)
    assert {made.image for made in more.augmentations} == set(range(8))


def _backbone() -> Backbone:
    return open_backbone(small_config(), torch.device("cpu"))


def test_damage_reaches_the_picture_and_its_features(tmp_path: Path) -> None:
    rows = with_damages(made_up_rows(tmp_path, 8), 1.0, seed=0)
    row, damage = next(iter(rows.damages.items()))
    config = small_config().model
    source = ImageInputs(rows, config, _backbone())
    plain = decode_image(rows.samples[row].source)
    wanted = fit_image(damage(plain), config.image_size)
    torch.testing.assert_close(source.image(row), wanted, rtol=0, atol=0)
    assert not torch.equal(source.image(row), source.image(rows.augmentations[row - 8].image))


def test_features_of_damaged_copies_are_not_taken_for_others(tmp_path: Path) -> None:
    rows = made_up_rows(tmp_path, 8)
    model, backbone = build_model(small_config().model), _backbone()

    def pictures(of: TrainingData) -> str:
        return str(cache_spec(of, model, backbone, {}, "")["images"])

    specs = [pictures(with_damages(rows, 1.0, seed)) for seed in (0, 0, 1)]
    assert specs[0] == specs[1]
    assert len({pictures(rows), *specs}) == 3


def test_both_kinds_together(tmp_path: Path) -> None:
    rows = made_up_rows(tmp_path, 40)
    more = with_augmentations(rows, TrainingConfig(mismatched=0.5, damaged=0.5))
    mismatched = sum(made.damage is None for made in more.augmentations)
    assert len(more.damages) == 40
    assert mismatched > 0
    assert more.originals.augmentations == ()
    # Only rated pictures are damaged, those with a wrong prompt are not.
    assert all(made.image < len(rows) for made in more.augmentations)
    train = make_split(TrainingConfig(test_fraction=0.3), more)["train"]
    assert 0 < sum(row >= len(rows) for row in train) < mismatched
    assert not set(train) & set(more.damages)


def test_the_saved_split_is_that_of_the_rated_pictures(tmp_path: Path) -> None:
    rows = made_up_rows(tmp_path, 40)
    config = small_config(mismatched=0.5, damaged=0.5, test_fraction=0.3)
    more = with_augmentations(rows, config)
    RunFolder(tmp_path / "run", config).describe(more, make_split(config, more))
    table = rows.table()
    saved = json.loads((tmp_path / "run/split.json").read_text())
    parts = make_split(config, rows)
    assert {part: sorted(table["image"][found]) for part, found in parts.items()} == {
        part: saved[part] for part in parts
    }


def _ranked(rows: TrainingData) -> tuple[DiffAGIQA, FeatureInputs]:
    """A random model on one level of four channels, and random features of every row."""
    config = small_config({"feature_channels": (4,), "features": ("latents",), "prompting": "none"})
    model = build_model(config.model)
    return model, FeatureInputs({"latents": torch.randn(len(rows), 1, 1, 4, 4, 4)})


def test_the_loss_is_that_of_pairs_as_the_scorer_sees_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = with_damages(made_up_rows(tmp_path, 12), 0.5, seed=0)
    torch.manual_seed(0)
    model, source = _ranked(rows)
    ranking, chosen = DamageRanking(rows), list(range(12))
    seen: list[int] = []
    scored = source.scores
    monkeypatch.setattr(source, "scores", lambda m, r, s: seen.extend(r) or scored(m, r, s))
    model.train()
    before = copy.deepcopy(model.state_dict())
    loss = ranking.loss(model, source, chosen, slice(0, 12), Processes("cpu"))
    assert sorted(seen) == list(range(len(rows)))  # each once
    assert model.training
    for name, tensor in model.state_dict().items():  # running statistics did not move
        assert torch.equal(tensor, before[name]), name
    scores = source.scores(model.eval(), range(len(rows)), None)["perception"]
    pairs = []
    for image, (mild, strong) in ranking.copies.items():
        for better, worse in ((image, mild), (mild, strong), (image, strong)):
            pairs.append(max(0.0, MARGIN - (scores[better] - scores[worse]).item()))
    assert loss.item() == pytest.approx(sum(pairs) / len(pairs), abs=1e-7)
    loss.backward()
    assert any(p.grad is not None and p.grad.any() for p in model.heads["perception"].parameters())
    alone = [row for row in chosen if row not in ranking.copies]
    assert float(ranking.loss(model, source, alone, slice(0, 12), Processes("cpu"))) == 0


def test_training_learns_the_order(tmp_path: Path) -> None:
    rows = with_damages(made_up_rows(tmp_path, 32), 1.0, seed=0)
    config = small_config(
        {"features": ("latents",), "feature_channels": (4,), "pyramid_size": 8, "pyramid_channels": 16},
        epochs=40, batch_size=8, freeze_prompters=True, flip=False, relation="none", lr_heads=1e-2,
    )  # fmt: skip

    def in_order(weight: float) -> float:
        own = replace(config, damaged_weight=weight)
        split = {"train": list(range(32)), "validation": []}
        model = train(
            own, rows, split, cache=tmp_path / "features", device="cpu", log=lambda _: None
        ).model
        scores = open_features(tmp_path / "features").inputs(rows, model.config)
        found = scores.scores(model.eval(), range(len(rows)), None)["perception"]
        copies = DamageRanking(rows).copies
        return sum(float(found[p] > found[c[1]]) for p, c in copies.items()) / len(copies)

    assert in_order(0.0) < 0.7
    assert in_order(3.0) > 0.8
