"""The feature cache: exact, resumable, checked, and refused where it does not fit."""

from __future__ import annotations

import copy
import re
import shutil
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up import made_up_rows, small_config
from PIL import Image

from diffagiqa.backbones.base import Backbone, Prompts
from diffagiqa.data.samples import Sample
from diffagiqa.errors import TrainingError
from diffagiqa.model.pyramid import pool_to
from diffagiqa.model.scoring import DiffAGIQA, scoring_noise
from diffagiqa.training import features as cache_module
from diffagiqa.training.data import TrainingData
from diffagiqa.training.determinism import Step
from diffagiqa.training.features import CacheOptions, cached_features, open_features
from diffagiqa.training.inputs import (
    SCORING_SEED,
    FeatureInputs,
    ImageInputs,
    only_features,
)
from diffagiqa.training.processes import Processes
from diffagiqa.training.train import make_model

QUIET = lambda text: None  # noqa: E731
NAME = "mid_block.attentions.0"
OPTIONS = CacheOptions(draws=2, mirrored=True, dtype="float32")


@pytest.fixture
def rows(tmp_path: Path) -> TrainingData:
    return made_up_rows(tmp_path / "pictures", 7)


@pytest.fixture
def model(rows: TrainingData, backbone: Backbone, request: pytest.FixtureRequest) -> DiffAGIQA:
    """With both branches, and prompters that do change the picture."""
    config = small_config(getattr(request, "param", {}))
    built = make_model(config, rows.tasks, backbone, QUIET).eval()
    generator = torch.Generator().manual_seed(0)
    for prompter in built.prompters.values():
        prompter.conv2.weight.data.normal_(0, 0.02, generator=generator)
    return built


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "SHARD_ROWS", 3)


@pytest.mark.parametrize("model", [{}, {"pooling": "plain"}, {"fit": "native"}], indirect=True)
def test_scores_from_the_cache_are_those_from_pictures(
    tmp_path: Path, rows: TrainingData, model: DiffAGIQA, backbone: Backbone
) -> None:
    said: list[str] = []
    cached_features(
        tmp_path / "cache", rows, model, backbone, OPTIONS, batch_size=2, log=said.append
    )
    sizes = re.search(r"7 images of ([\d.]+) MB .* make ([\d.]+) MB", said[0])
    assert sizes
    image, whole = map(float, sizes.groups())
    assert whole == pytest.approx(7 * image, abs=0.51)
    assert "GB are free" in said[0]
    pictures = ImageInputs(rows, model.config, backbone)
    wanted = pictures.scores(model, [5, 0, 6], None)
    for limit in (0, 1 << 30):  # mapped from disk, and in memory
        opened = open_features(tmp_path / "cache", in_memory=limit)
        assert isinstance(opened.maps[NAME], torch.Tensor) == bool(limit)
        source = opened.inputs(rows, model.config)
        found = source.scores(model, [5, 0, 6], None)
        for task in rows.task_names:
            torch.testing.assert_close(found[task], wanted[task], rtol=1e-5, atol=1e-6)


def test_mirrored_views_are_the_mirrored_picture(
    tmp_path: Path, rows: TrainingData, model: DiffAGIQA, backbone: Backbone
) -> None:
    maps = cached_features(tmp_path / "cache", rows, model, backbone, OPTIONS, log=QUIET).maps
    assert maps[NAME].shape[:3] == (7, 4, 2)  # 2 draws, each mirrored too; 2 passes
    pictures = ImageInputs(rows, model.config, backbone)
    images = torch.stack(pictures.images([4])).flip(3)
    prompts = Prompts.stack(pictures.prompts([4]))
    noises = scoring_noise(model.config, backbone, SCORING_SEED)
    with torch.no_grad():
        stages = model.stages(images, prompts, backbone, noises, features_only=True)
        (wanted,) = only_features(stages)
    assert list(maps) == list(wanted)
    for name, features in wanted.items():
        features = pool_to(features, 4) if features.shape[-1] > 4 else features
        assert (maps[name][4, 2] - features).norm() < 1e-3 * features.norm()
        assert (maps[name][4, 0] - features).norm() > 1e-2 * features.norm()


def test_fewer_draws_than_the_model_averages_are_refused(
    tmp_path: Path, rows: TrainingData, model: DiffAGIQA, backbone: Backbone
) -> None:
    """Else mirrored pictures would stand for draws."""
    found = cached_features(tmp_path / "cache", rows, model, backbone, OPTIONS, log=QUIET)
    found.inputs(rows, replace(model.config, noise_draws=2))
    with pytest.raises(TrainingError, match=r"holds 2 noise draws .* averages 3; cache them anew"):
        found.inputs(rows, replace(model.config, noise_draws=3))


def test_views_follow_the_step() -> None:
    """A step takes draws and mirrored twins by (seed, step), the latter only where allowed."""
    features = torch.arange(4.0).reshape(1, 4, 1, 1, 1, 1).expand(64, -1, -1, -1, -1, -1)

    class Reads:
        def score_stages(self, features: dict[str, torch.Tensor]) -> dict[str, Any]:
            return {"scores": {"view": features["a"].flatten()}, "fused": {}}

    may = torch.arange(64) % 2 == 0
    source = FeatureInputs({"a": features}, mirrored=may)
    step = Step(0, 3, 64, 0, 64)
    views = source.scores(Reads(), range(64), step)["view"]  # type: ignore[arg-type]
    assert set(views[may].tolist()) == {0, 1, 2, 3}
    assert set(views[~may].tolist()) == {0, 1}
    half = source.scores(Reads(), range(32, 64), replace(step, start=32))["view"]  # type: ignore[arg-type]
    assert torch.equal(half, views[32:])


def test_goes_on_after_a_stop(
    tmp_path: Path,
    rows: TrainingData,
    model: DiffAGIQA,
    backbone: Backbone,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only the missing shards are computed; the result is the same bytes."""
    whole = tmp_path / "whole"
    cached_features(whole, rows, model, backbone, OPTIONS, log=QUIET)
    written = cache_module._write_shard

    def stops_at_the_second(folder, own, *others):  # type: ignore[no-untyped-def]
        if own.start == 3:
            raise KeyboardInterrupt
        written(folder, own, *others)

    monkeypatch.setattr(cache_module, "_write_shard", stops_at_the_second)
    broken = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        cached_features(broken, rows, model, backbone, OPTIONS, log=QUIET)
    with pytest.raises(TrainingError, match="run the same command again to go on"):
        open_features(broken)
    monkeypatch.setattr(cache_module, "_write_shard", written)
    said: list[str] = []
    cached_features(broken, rows, model, backbone, OPTIONS, log=said.append)
    assert said[-1].startswith("features: shard 2 of 2 written")
    for file in sorted(whole.iterdir()):
        assert file.read_bytes() == (broken / file.name).read_bytes(), file.name


def test_processes_share_the_shards_that_all_of_them_miss(
    tmp_path: Path, rows: TrainingData, model: DiffAGIQA, backbone: Backbone
) -> None:
    """One that comes late lists what the others do, though they could have written some by then."""
    both = threading.Barrier(2, timeout=250)

    class One(Processes):
        def __init__(self, rank: int) -> None:
            self.rank, self.count, self.device = rank, 2, torch.device("cpu")

        def barrier(self) -> None:
            both.wait()

    def cached(rank: int) -> int:
        while rank and not both.n_waiting:
            time.sleep(0.01)  # until the other waits for this one
        place, own = tmp_path / "cache", copy.deepcopy(model)
        found = cached_features(place, rows, own, backbone, OPTIONS, processes=One(rank), log=QUIET)
        return len(found.maps[NAME])

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(cached, (0, 1))) == [7, 7]


@pytest.mark.parametrize("damage", ["changed", "cut", "gone"])
def test_damage_is_found(
    tmp_path: Path, rows: TrainingData, model: DiffAGIQA, backbone: Backbone, damage: str
) -> None:
    cached_features(tmp_path / "cache", rows, model, backbone, OPTIONS, log=QUIET)
    shard = tmp_path / "cache" / "shard-00001.safetensors"
    data = bytearray(shard.read_bytes())
    if damage == "changed":
        data[-100] ^= 1
        shard.write_bytes(data)
    elif damage == "cut":
        shard.write_bytes(data[:-100])
    else:
        shard.unlink()
    with pytest.raises(TrainingError, match=r"shard-00001.safetensors does not match its checksum"):
        cached_features(tmp_path / "cache", rows, model, backbone, OPTIONS, log=QUIET)
    shard.with_suffix(".json").unlink()  # as the message says
    cached_features(tmp_path / "cache", rows, model, backbone, OPTIONS, log=QUIET)


def test_another_model_or_other_pictures_are_refused(
    tmp_path: Path, rows: TrainingData, model: DiffAGIQA, backbone: Backbone
) -> None:
    def again(rows: TrainingData = rows, options: CacheOptions = OPTIONS) -> None:
        cached_features(tmp_path / "cache", rows, model, backbone, options, log=QUIET)

    again()
    with pytest.raises(TrainingError, match="differ from this run's in options"):
        again(options=replace(OPTIONS, draws=1))
    with pytest.raises(TrainingError, match="differ from this run's in images"):
        again(rows=replace(rows, samples=rows.samples[::-1]))
    model.config = replace(model.config, timestep=200)
    with pytest.raises(TrainingError, match="differ from this run's in model"):
        again()
    model.config = replace(model.config, timestep=51)
    model.prompters["alignment"].conv1.bias.data += 1
    with pytest.raises(TrainingError, match="differ from this run's in prompters"):
        again()


def test_pictures_count_by_their_contents(
    tmp_path: Path, rows: TrainingData, model: DiffAGIQA, backbone: Backbone
) -> None:
    """A picture of the same name and size is another; the same picture elsewhere is not."""

    def again(samples: Sequence[Sample]) -> None:
        renewed = replace(rows, samples=tuple(samples))
        cached_features(tmp_path / "cache", renewed, model, backbone, OPTIONS, log=QUIET)

    def kept_in(name: str, shade: int) -> list[Sample]:
        file = tmp_path / name / "first.bmp"
        file.parent.mkdir()
        Image.new("RGB", (64, 64), (shade, 0, 0)).save(file)
        return [replace(rows.samples[0], image=str(file)), *rows.samples[1:]]

    again(kept_in("one", 10))
    again(kept_in("moved", 10))
    with pytest.raises(
        TrainingError, match="differ from this run's in images; give another --cache"
    ):
        again(kept_in("other", 200))
    shutil.rmtree(tmp_path / "one")
    with pytest.raises(TrainingError, match="differ from this run's in images"):
        again([replace(rows.samples[0], image=str(tmp_path / "one/first.bmp")), *rows.samples[1:]])


def test_no_room(
    tmp_path: Path,
    rows: TrainingData,
    model: DiffAGIQA,
    backbone: Backbone,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Said before anything is computed."""
    import collections

    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda folder: usage(9, 9, 1000))
    with pytest.raises(
        TrainingError, match=r"needs 0.00 GB and 0.00 GB are free; give another --cache"
    ):
        cached_features(tmp_path / "cache", rows, model, backbone, OPTIONS, log=QUIET)
    assert list((tmp_path / "cache").iterdir()) == []
