"""A careless caller is told in one sentence: the argument, what was found, what is expected."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import small_config, unlike_pictures

from diffagiqa import DiffAGIQAError, ModelConfig, Scorer, TaskConfig
from diffagiqa.checks import flag, location, number, one_of, several, text, whole
from diffagiqa.data.images import ImageLimits
from diffagiqa.errors import ConfigError
from diffagiqa.evaluation import correlations
from diffagiqa.evaluation.protocol import evaluate_predictions
from diffagiqa.explain import explain
from diffagiqa.integrations import NamedMetric, Reward, ScoreSteps, add_scores
from diffagiqa.integrations import create_metric as metric
from diffagiqa.report.compare import compare
from diffagiqa.report.page import write_report
from diffagiqa.report.rank import rank
from diffagiqa.report.runs import read_run

PICTURE = unlike_pictures(1, 64)[0]
BATCH = torch.full((2, 3, 64, 64), 0.5)
FRAME = pd.DataFrame({"image": [PICTURE], "prompt": ["a fox"]})
UNIT = list(range(20))
ODD: Any = None  # what no annotation allows, so that mypy has nothing to say


def said_by(call: Callable[[], object]) -> str:
    with pytest.raises(DiffAGIQAError) as fault:
        call()
    message = str(fault.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("check", "value", "expected"),
    [
        (whole, "4", "n is '4'; expected a whole number of 0 or more"),
        (whole, 2.5, "n is 2.5; "),
        (whole, True, "n is True; "),
        (whole, -1, "n is -1; "),
        (whole, None, "n is None; "),
        (number, "2", "n is '2'; expected a finite number"),
        (number, float("nan"), "n is nan; "),
        (number, float("inf"), "n is inf; expected a finite number"),
        (flag, "no", "n is 'no'; expected True or False"),
        (text, b"fox", "n is b'fox'; expected a text"),
        (text, "", "n is ''; expected a text"),
        (location, 5, "n is 5; expected a path"),
        (location, "", "n is ''; expected a path"),
    ],
)
def test_each_check_says_what_it_found(
    check: Callable[[str, Any], object], value: object, expected: str
) -> None:
    assert said_by(lambda: check("n", value)).startswith(expected)


def test_what_fits_comes_back() -> None:
    assert (whole("n", np.int64(3)), number("n", np.float32(0.5)), flag("n", False)) == (3, 0.5, 0)
    assert location("n", Path("a") / "b") == str(Path("a") / "b")
    assert one_of("n", "b", ["a", "b"]) == "b"
    for ordered in ([1], (1,), np.ones(1), pd.Series([1])):
        assert list(several("n", ordered, "a list")) == [1]
    for unordered in ("ab", b"ab", {"a": 1}, {"a"}, 5, None):
        with pytest.raises(ConfigError, match=r"n is .*; expected a list"):
            several("n", unordered, "a list")
    with pytest.raises(ConfigError, match=r"n is of type list; expected one of a, b"):
        one_of("n", ["a"], ["a", "b"])


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (lambda s: s(PICTURE, ODD), "prompts is None; expected a text, or a list of one text per"),
        (lambda s: s(PICTURE, 5), "prompts is 5; "),
        (lambda s: s([PICTURE], {"a fox": 1}), "prompts is of type dict; "),
        (lambda s: s([PICTURE] * 2, {"a", "b"}), "prompts is of type set; "),
        (lambda s: s([PICTURE] * 2, ["a"]), "1 prompt was given for 2 images"),
        (lambda s: s(torch.ones(3, 64, 64, device="meta"), "a"), "on meta; expected a dense one"),
        (lambda s: s(torch.ones(3, 64, 64).to_sparse(), "a"), "is of layout torch.sparse_coo"),
        (lambda s: list(s.score_many(["a.png"])), "one of pairs is 'a.png'; expected an image and"),
        (lambda s: list(s.score_many([(PICTURE, "a", "b")])), "one of pairs has 3 parts; "),
        (lambda s: list(s.score_many(ODD)), "pairs is None; expected pairs of an image and its"),
        (lambda s: s.score_tensor(BATCH.numpy(), "a"), "images are of type ndarray; expected a te"),
        (lambda s: s.score_tensor("a.png", "a"), "images are 'a.png'; expected a tensor"),
        (lambda s: s.score_tensor(BATCH, ODD), "prompts is None; "),
        (lambda s: s.score_tensor(BATCH.to("meta"), "a"), "on meta; expected a dense one"),
        (lambda s: s.score_tensor(BATCH.to_sparse(), "a"), "is of layout torch.sparse_coo"),
        (lambda s: s.score_tensor(BATCH.to(torch.float8_e4m3fn), "a"), "type torch.float8_e4m3fn"),
        (lambda s: s.loss(BATCH, "a", [1, 2]), "weights is of type list; expected a dictionary: "),
        (lambda s: s.loss(BATCH, "a", "perception"), "weights is 'perception'; "),
        (lambda s: s.loss(BATCH, "a", {"perception": "x"}), "weights are {'perception': 'x'}; "),
        (lambda s: s.save_pretrained(ODD), "folder is None; expected the path of a folder"),
        (lambda s: s.push_to_hub(ODD), "repo_id is None; expected a text"),
        (lambda s: explain(s, PICTURE, words="no"), "words is 'no'; expected True or False"),
        (lambda s: explain(ODD, PICTURE), "scorer is None; expected a Scorer, as "),
    ],
)
def test_a_scorers_methods(
    tiny_scorer: Scorer, use: Callable[[Any], object], expected: str
) -> None:
    assert expected in said_by(lambda: use(tiny_scorer))


def test_what_came_before_an_item_that_is_no_pair_is_scored(tiny_scorer: Scorer) -> None:
    scores = tiny_scorer.score_many([(PICTURE, "a fox"), "b.png"])  # type: ignore[list-item]
    assert 0 <= next(scores)["perception"] <= 1  # type: ignore[index]
    with pytest.raises(ConfigError, match=r"one of pairs is 'b\.png'"):
        next(scores)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"name_or_path": 5}, "model is 5; expected a folder or hub id"),
        ({"name_or_path": ""}, "model is ''; expected a folder or hub id"),
        ({"backbone": 5}, "backbone is 5; expected a folder or hub id"),
        ({"revision": 5}, "revision is 5; expected a text"),
        ({"device": 0.5}, "device 0.5 is unknown; expected cpu"),
        ({"device": "meta"}, "device 'meta' is unknown; expected cpu"),
        ({"device": "xla"}, "device xla was asked for and this PyTorch cannot use it ("),
        ({"dtype": torch.int8}, "dtype torch.int8 is unknown; expected auto, float32"),
        ({"dtype": ["float32"]}, "dtype ['float32'] is unknown; "),
        ({"seed": -1}, "seed is -1; expected a whole number of 0 or more"),
        ({"seed": "1"}, "seed is '1'; "),
        ({"seed": None}, "seed is None; "),
        ({"batch_size": "4"}, "batch_size is '4'; expected a whole number of 1 or more"),
        ({"batch_size": 0}, "batch_size is 0; "),
        ({"batch_size": -1}, "batch_size is -1; "),
        ({"batch_size": 2.5}, "batch_size is 2.5; "),
        ({"limits": None}, "limits is None; expected an ImageLimits"),
    ],
)
def test_loading(tiny_model: Path, options: dict[str, Any], expected: str) -> None:
    given = {"name_or_path": tiny_model, "device": "cpu", "dtype": "float32", **options}
    assert expected in said_by(lambda: Scorer.from_pretrained(**given))


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    from diffagiqa.device import choose_device

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ConfigError, match="there are 2 GPUs, numbered from 0; expected cuda:1 at"):
        choose_device("cuda:2")


def test_a_numbered_cpu_is_the_cpu(tiny_model: Path) -> None:
    scorer = Scorer.from_pretrained(tiny_model, device="cpu:0", dtype="float32")
    assert scorer.device == torch.device("cpu")


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Scorer(ODD, ODD), "model is None; expected a DiffAGIQA"),
        (lambda: Scorer.untrained(ODD), "backbone is None; expected a folder or hub id"),
        (
            lambda: Scorer.untrained("x", {"image_size": 64}),
            "config is of type dict; expected a Mo",
        ),  # type: ignore[arg-type]
        (lambda: Scorer.untrained("x", small_config(), init_seed="a"), "init_seed is 'a'; "),  # type: ignore[arg-type]
        (lambda: ImageLimits(max_bytes="5"), "max_bytes is '5'; expected a whole number of 1"),  # type: ignore[arg-type]
        (lambda: ImageLimits(max_pixels=2.5), "max_pixels is 2.5; "),  # type: ignore[arg-type]
        (
            lambda: small_config(noise_draws=0),
            "noise_draws is 0; expected greater than or equal to 1",
        ),
        (lambda: small_config(noise_draws=2.5), "noise_draws is 2.5; expected a valid integer"),
        (lambda: small_config(image_size="512"), "image_size is '512'; expected a valid"),
        (lambda: small_config(use_text="no"), "use_text is 'no'; expected a valid boolean"),
        (
            lambda: small_config(tasks=("perception",)),
            "tasks.0 is 'perception'; expected an instance of",
        ),
        (lambda: small_config(features=(1,) * 5), "features.0 is 1; expected a valid string"),
        (lambda: small_config(backbone=None), "backbone is None; expected a valid string"),
        (lambda: ModelConfig.from_json(ODD), "config.json is None; expected a text"),
        (lambda: TaskConfig(ODD), "name is None; expected a valid string"),
        (lambda: TaskConfig("a", "0", 5), "mos_min is '0'; expected a valid number"),  # type: ignore[arg-type]
    ],
)
def test_making(make: Callable[[], object], expected: str) -> None:
    assert expected in said_by(make)


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (lambda s: metric(["diffagiqa"], model=s), "there is no metric ['diffagiqa']; this model"),
        (lambda s: metric(model=5), "model is 5; expected a folder or hub id"),
        (
            lambda s: metric(model=s, loss_weight="2"),
            "loss_weight is '2'; expected a finite number",
        ),
        (lambda s: metric(model=s, loss_reduction=["mean"]), "loss_reduction is of type list; "),
        (lambda s: metric(model=s)(BATCH, 5), "prompts is 5; expected a text, or a list"),
        (lambda s: NamedMetric(s, ["beauty"]), "one of tasks is 'beauty'; expected one of perce"),
        (lambda s: NamedMetric(s, "perception"), "tasks is 'perception'; expected a list of names"),
        (lambda s: NamedMetric(s, []), "tasks are empty; expected some of perception, alignment"),
        (lambda s: NamedMetric(ODD, ["perception"]), "scorer is None; expected a Scorer"),
        (lambda s: Reward("models/x"), "scorer is 'models/x'; expected a Scorer, as "),
        (lambda s: Reward(s, [1, 2]), "weights is of type list; expected a dictionary: "),
        (lambda s: Reward(s, batch_size=-1), "batch_size is -1; expected a whole number of 1"),
        (lambda s: Reward(s, differentiable="no"), "differentiable is 'no'; expected True or"),
        (lambda s: Reward(s)(ODD, ["a"]), "images is None; expected a tensor (B, 3, H, W) or a l"),
        (lambda s: Reward(s)(BATCH, ODD), "prompts is None; expected a text, or a list"),
        (lambda s: Reward(s)(BATCH[0], ["a"] * 3), "images have shape (3, 64, 64); expected (B,"),
        (lambda s: add_scores(FRAME, "models/x"), "scorer is 'models/x'; expected a Scorer"),
        (lambda s: add_scores({"image": []}, s), "frame is of type dict; expected a DataFrame"),
        (lambda s: add_scores(FRAME, s, image=ODD), "the frame has no column None; it has image,"),
        (lambda s: ScoreSteps(ODD, "a"), "scorer is None; expected a Scorer"),
        (lambda s: ScoreSteps(s, ODD), "prompts is None; expected a text, or a list"),
        (lambda s: ScoreSteps(s, "a", every="2"), "every is '2'; expected a whole number of 1"),
    ],
)
def test_integrations(tiny_scorer: Scorer, use: Callable[[Any], object], expected: str) -> None:
    assert expected in said_by(lambda: use(tiny_scorer))


def test_the_torchmetrics_metric() -> None:
    pytest.importorskip("torchmetrics")
    from diffagiqa.integrations.torchmetrics_metric import DiffAGIQAMetric

    assert "scorer is 'models/x'; expected a Scorer" in said_by(lambda: DiffAGIQAMetric("models/x"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (lambda m: m.srcc(["a", "b"], [1, 2]), "are no arrays of numbers (could not convert str"),
        (lambda m: m.bootstrap_interval("srcc", UNIT, UNIT), "measure is 'srcc'; expected a funct"),
        (lambda m: m.bootstrap_interval(m.mae, UNIT, UNIT, resamples=0), "resamples is 0; "),
        (lambda m: m.bootstrap_interval(m.mae, UNIT, UNIT, level=95), "level is 95; expected a sh"),
        (lambda m: m.bootstrap_interval(m.mae, UNIT, UNIT, seed=-1), "seed is -1; "),
        (
            lambda m: evaluate_predictions(FRAME, "perception"),
            "tasks is 'perception'; expected a li",
        ),
        (
            lambda m: evaluate_predictions(FRAME, [], resamples=-1),
            "resamples is -1; expected a who",
        ),
        (lambda m: m.bootstrap_interval(m.mae, UNIT, UNIT, groups=["a"]), "1 groups and 20 predic"),
    ],
)
def test_figures(use: Callable[[Any], object], expected: str) -> None:
    assert expected in said_by(lambda: use(correlations))


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (lambda run, file: read_run(ODD), "path is None; expected a path"),
        (lambda run, file: read_run(run.rows), "path is of type DataFrame; expected a path"),
        (lambda run, file: rank(str(file)), ".csv'; expected a Run, as read_run reads it"),
        (lambda run, file: rank(run, top=0), "top is 0; expected a whole number of 1 or more"),
        (lambda run, file: compare(run), "runs is of type Run; expected a list of runs"),
        (lambda run, file: compare([file, file]), "expected a Run, as read_run reads it"),
        (lambda run, file: compare([run] * 2, seed=-1), "seed is -1; "),
        (lambda run, file: write_report(run, ODD), "out is None; expected a path"),
        (lambda run, file: write_report(run, file, root=5), "root is 5; expected a path"),
        (lambda run, file: write_report(ODD, file), "run is None; expected a Run"),
    ],
)
def test_tables(tmp_path: Path, use: Callable[[Any, Any], object], expected: str) -> None:
    file = tmp_path / "run.csv"
    file.write_text("image,prompt,perception,alignment\na.png,a fox,0.1,0.2\n")
    run = read_run(file)
    assert expected in said_by(lambda: use(run, file))
