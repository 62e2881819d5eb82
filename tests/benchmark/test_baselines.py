"""Baselines learn what can be learnt, on the splits of the method, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diffagiqa.benchmark.classical import _aggd, luma, scene_statistics, simple_statistics
from diffagiqa.benchmark.contrastive import contrastive_loss, fit_contrastive
from diffagiqa.benchmark.fitting import (
    NETWORKS,
    Budget,
    _random_crops,
    fit_network,
    load_pictures,
    predict_network,
)
from diffagiqa.benchmark.frame import Trial
from diffagiqa.benchmark.networks import BagOfWords
from diffagiqa.benchmark.run import OWN_VALIDATION, run_baselines
from diffagiqa.benchmark.simple import (
    generator_mean,
    scene_statistics_regression,
    statistics_of,
)
from diffagiqa.data.samples import Sample
from diffagiqa.errors import ConfigError, TrainingError
from diffagiqa.evaluation.correlations import srcc
from diffagiqa.training.config import TrainingConfig
from diffagiqa.training.data import Rows, make_rows
from diffagiqa.training.open_data import make_split


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """Pictures whose quality falls with their noise; generators differ in the mean."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    samples = []
    for i in range(60):
        generator, level = f"g{i % 2}", random.uniform(0, 60) + 40 * (i % 2)
        smooth = np.kron(random.uniform(60, 200, (8, 8, 3)), np.ones((12, 12, 1)))
        image = np.clip(smooth + random.normal(0, level, smooth.shape), 0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / f"{i}.png")
        labels = {"perception": 5 * (1 - level / 100)}
        if i % 3:
            labels["alignment"] = 5.0 * (i % 2)
        path = str(folder / f"{i}.png")
        samples.append(Sample(path, f"thing {i // 2}", "table", i, labels, generator))
    return make_rows({"made": (samples, {"perception": (0, 5), "alignment": (0, 5)})})


@pytest.fixture(scope="module")
def trial(rows: Rows) -> Trial:
    return Trial(rows, range(36), range(36, 46), range(46, 60), seed=0)


def agreement(trial: Trial, predicted: np.ndarray) -> float:
    return srcc(predicted[:, 0], trial.labels[list(trial.test), 0])


def test_scene_statistics_see_noise() -> None:
    random = np.random.default_rng(0)
    smooth = np.kron(random.uniform(60, 200, (8, 8, 3)), np.ones((12, 12, 1)))
    noisy = np.clip(smooth + random.normal(0, 30, smooth.shape), 0, 255).astype(np.uint8)
    clean = smooth.astype(np.uint8)
    assert scene_statistics(clean).shape == (36,)
    assert np.isfinite(scene_statistics(np.zeros((64, 64, 3), np.uint8))).all()
    assert simple_statistics(noisy)["noise"] == pytest.approx(30 * 0.68, rel=0.25)  # of luminance
    assert simple_statistics(clean)["noise"] < 10
    grey = np.full((64, 64, 3), 128, np.uint8)
    assert simple_statistics(grey)["colourfulness"] == 0
    assert simple_statistics(grey)["entropy"] == 0


def test_statistics_of_gaussian_noise_are_those_of_a_gaussian() -> None:
    """White noise is already normalised: the generalised Gaussian's shape must come out near 2."""
    noise = np.random.default_rng(0).normal(128, 20, (256, 256, 1)).repeat(3, axis=2)
    shape, variance = scene_statistics(noise.clip(0, 255).astype(np.uint8))[:2]
    assert 1.7 < shape < 3.2
    assert 0.5 < variance < 1.5


def test_luminance_and_blocks_by_hand() -> None:
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    assert luma(colours)[0] == pytest.approx([76.245, 149.685, 29.07])
    blocks = np.kron(np.arange(8) % 2 * 100, np.ones(8)).astype(np.uint8)  # steps after 8 columns
    picture = np.broadcast_to(blocks[None, :, None], (64, 64, 3))
    assert simple_statistics(picture)["blockiness"] == pytest.approx(100 / (700 / 63))
    assert simple_statistics(np.roll(picture, 4, axis=1))["blockiness"] == 0


def test_mirroring_a_picture_swaps_the_statistics_of_its_diagonals() -> None:
    random = np.random.default_rng(0)
    waves = np.sin(np.add.outer(np.arange(64), np.arange(64)) / 2)  # along one of them
    grey = (128 + 60 * waves + random.normal(0, 5, (64, 64))).clip(0, 255).astype(np.uint8)
    picture = grey[..., None].repeat(3, axis=2)
    found, mirrored = (scene_statistics(one) for one in (picture, picture[:, ::-1]))
    assert mirrored[14:18] == pytest.approx(found[10:14], rel=1e-6)
    assert mirrored[10:14] == pytest.approx(found[14:18], rel=1e-6)
    assert abs(found[15] - found[11]) > 0.05  # their means differ


def test_two_half_gaussians_have_a_left_and_a_right_variance() -> None:
    """Side by side as wide as they are likely, 1 and 3: shape 2, and the mean of the values."""
    random = np.random.default_rng(0)
    sides = random.random(200_000) < 0.25
    values = np.abs(random.normal(size=200_000)) * np.where(sides, -1, 3)
    shape, mean, left, right = _aggd(values)
    assert shape == pytest.approx(2, abs=0.05)
    assert mean == pytest.approx(values.mean(), abs=0.02)
    assert (left, right) == pytest.approx((1, 9), rel=0.02)


@pytest.mark.parametrize("name", ["generator mean", "scene statistics", "cnn"])
def test_no_baseline_sees_the_labels_of_the_test_part(name: str, trial: Trial, rows: Rows) -> None:
    blind = replace(trial, rows=rows.without_labels(trial.test))
    budget = Budget(epochs=1, batch_size=12, image_size=96, crop=64)
    predict: dict[str, Callable[[Trial], np.ndarray]] = {
        "generator mean": generator_mean,
        "scene statistics": scene_statistics_regression(statistics_of(rows)),
        "cnn": lambda trial: fit_network("cnn", trial, load_pictures(rows, 96), budget),
    }
    np.testing.assert_array_equal(predict[name](blind), predict[name](trial))


@pytest.mark.parametrize(
    ("values", "chosen"),
    [((0.2, 0.9, 0.1), 1), ((np.nan, np.nan, np.nan), 2), ((np.nan, 0.5, 0.1), 1)],
)
def test_the_network_of_the_best_validation_is_the_one_that_is_tested(
    values: tuple[float, ...],
    chosen: int,
    trial: Trial,
    rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where validation tells nothing, the last one, and never the untrained one."""
    asked: list[list[int]] = []
    weights: list[torch.Tensor] = []

    def record(network: torch.nn.Module, _: object, __: object, part: Any, ___: int) -> np.ndarray:
        asked.append(list(part))
        weights.append(next(network.parameters()).detach().clone())
        return np.zeros((len(part), 2))

    found = iter(values)
    monkeypatch.setattr("diffagiqa.benchmark.fitting.predict_network", record)
    monkeypatch.setattr("diffagiqa.benchmark.fitting._mean_srcc", lambda *_: next(found))
    budget = Budget(epochs=3, batch_size=12, image_size=96, crop=64)
    fit_network("cnn", trial, load_pictures(rows, 96), budget)
    assert asked == [list(trial.validation)] * 3 + [list(trial.test)]
    assert torch.equal(weights[3], weights[chosen])
    assert not torch.equal(weights[3], weights[chosen - 1])


def test_the_crops_of_a_test_picture_cover_it() -> None:
    class Brightness(torch.nn.Module):
        def forward(self, images: torch.Tensor, prompts: list[str]) -> torch.Tensor:
            return images[:, :1].mean((2, 3))

    pictures = torch.zeros(1, 4, 96, 96, dtype=torch.uint8)
    pictures[:, :, 64:, 64:] = 255  # a quarter of the last one of four crops
    found = predict_network(Brightness(), pictures, ["a fox"], [0], 64)  # type: ignore[arg-type]
    assert found == pytest.approx(np.array([[0.25 / 4]]))


def test_crops_are_mirrored_sideways_but_where_the_prompt_names_a_side() -> None:
    ramp = torch.arange(64, dtype=torch.uint8)
    pictures = (ramp[:, None] + 2 * ramp).expand(1, 4, 64, 64)
    plain = pictures[0].float() / 255
    for prompt, kinds in (("a fox", {False, True}), ("a fox on the left", {False})):
        crops = _random_crops(pictures, [0] * 20, [prompt], 64, np.random.default_rng(0))
        mirrored = [not torch.equal(crop, plain) for crop in crops]
        assert set(mirrored) == kinds
        for crop, turned in zip(crops, mirrored, strict=True):
            assert torch.equal(crop, plain.flip(2) if turned else plain)


def test_regression_on_statistics_beats_knowing_the_generator(trial: Trial, rows: Rows) -> None:
    oracle = agreement(trial, generator_mean(trial))
    predicted = scene_statistics_regression(statistics_of(rows))(trial)
    found = agreement(trial, predicted)
    assert 0.5 < oracle < found
    assert found > 0.9
    wanted = trial.labels[list(trial.test), 0]
    assert np.abs(predicted[:, 0] - wanted).mean() < 0.1  # in the labels' own unit


@pytest.mark.parametrize("name", list(NETWORKS))
def test_networks_train_and_predict_in_order(name: str, trial: Trial, rows: Rows) -> None:
    budget = Budget(epochs=3, batch_size=12, image_size=96, crop=64, lr=2e-3)
    pictures = load_pictures(rows, 96)
    before = torch.get_rng_state()
    predicted = fit_network(name, trial, pictures, budget)
    assert torch.equal(torch.get_rng_state(), before)  # the caller's stream is left alone
    assert predicted.shape == (14, 2)
    assert np.isfinite(predicted).all()
    again = fit_network(name, trial, pictures, budget)
    np.testing.assert_allclose(again, predicted, atol=1e-6)  # a function of the seed


def test_the_cnn_learns(trial: Trial, rows: Rows) -> None:
    budget = Budget(epochs=8, batch_size=12, image_size=96, crop=64, lr=2e-3, patience=8)
    assert agreement(trial, fit_network("cnn", trial, load_pictures(rows, 96), budget)) > 0.6


def test_contrastive_loss_counts_every_picture_of_a_prompt_as_right() -> None:
    matched = torch.tensor([[9.0, 9.0, 0.0], [9.0, 9.0, 0.0], [0.0, 0.0, 9.0]])
    assert float(contrastive_loss(matched, ["a", "a", "b"])) < 0.8
    assert float(contrastive_loss(matched, ["a", "b", "a"])) > 3


def test_contrastive_scores_are_clipscores(trial: Trial, rows: Rows) -> None:
    budget = Budget(epochs=1, batch_size=12, image_size=96, crop=64)
    before = torch.get_rng_state()
    scores = fit_contrastive(trial, load_pictures(rows, 96), budget)
    assert scores.shape == (14, 2)
    assert torch.equal(torch.get_rng_state(), before)
    assert (scores >= 0).all()
    assert (scores <= 1).all()


def test_words_are_hashed_alike_in_every_process() -> None:
    torch.manual_seed(0)
    words = BagOfWords().eval()
    both = words(["a red fox", ""])
    torch.testing.assert_close(both[0], words(["A red, fox"])[0])
    assert bool(torch.isfinite(both).all())


def test_finished_repeats_are_read_back(rows: Rows, tmp_path: Path) -> None:
    config = TrainingConfig(test_fraction=0.3)
    first = run_baselines(config, rows, tmp_path, names=["generator mean"], repeats=2)
    stamp = (tmp_path / "generator-mean" / "00" / "result.json").stat().st_mtime_ns
    again = run_baselines(config, rows, tmp_path, names=["generator mean"], repeats=2)
    assert (tmp_path / "generator-mean" / "00" / "result.json").stat().st_mtime_ns == stamp
    assert again == first
    assert first[0].values("perception", "srcc")
    with pytest.raises(ConfigError, match="no baseline 'magic'"):
        run_baselines(config, rows, tmp_path, names=["magic"])


def test_of_several_databases_the_first_one_s_test_part_counts(rows: Rows, tmp_path: Path) -> None:
    """As the method's own figures do, beside which a baseline's stand."""
    sources = (torch.arange(60) >= 40).long()
    two = replace(rows, sources=sources, names=("first", "second"))
    (done,) = run_baselines(
        TrainingConfig(), two, tmp_path, names=["generator mean"], repeats=1, log=lambda _: None
    )
    test = make_split(TrainingConfig(), two)["test"]
    assert max(test) >= 40
    (result,) = done.results
    assert result["test"]["rows"] == [row for row in test if row < 40]
    assert done.evaluations[0].tasks["perception"].rows == len(result["test"]["rows"])


def test_repeats_of_something_else_are_refused(rows: Rows, tmp_path: Path) -> None:
    config = TrainingConfig(test_fraction=0.3)

    def again(config: TrainingConfig, rows: Rows, **more: Any) -> None:
        run_baselines(config, rows, tmp_path, repeats=1, **more)

    again(config, rows, names=["generator mean"])
    again(replace(config, epochs=3), rows, names=["generator mean"])  # of the method alone
    with pytest.raises(TrainingError, match="made with another parts; give the same again, delete"):
        again(replace(config, test_fraction=0.2), rows, names=["generator mean"])
    with pytest.raises(TrainingError, match="made with another rows"):
        again(config, rows.without_labels([0]), names=["generator mean"])
    budget = Budget(epochs=1, batch_size=12, image_size=96, crop=64)
    again(config, rows, names=["contrastive"], budget=budget)
    with pytest.raises(TrainingError, match="made with another budget"):
        again(config, rows, names=["contrastive"], budget=replace(budget, epochs=2))


def test_a_recipe_without_validation_gives_baselines_a_part_of_training(
    rows: Rows, tmp_path: Path
) -> None:
    config = TrainingConfig(test_fraction=0.3, validation_fraction=0.0)
    (found,) = run_baselines(config, rows, tmp_path, names=["scene statistics"], repeats=1)
    assert np.isfinite(found.values("perception", "srcc")).all()
    own = make_split(replace(config, validation_fraction=OWN_VALIDATION), rows)
    assert own["validation"]
    assert own["test"] == make_split(config, rows)["test"]
