"""Named metric, reward, frames and ComfyUI nodes give the scorer's own numbers."""

from __future__ import annotations

import gc
import importlib.util
import json
import math
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import unlike_pictures
from PIL import Image

from diffagiqa import Scorer
from diffagiqa.checks import MAX_SEED
from diffagiqa.errors import ConfigError, ImageError, TableError
from diffagiqa.integrations import Reward, add_scores, create_metric

PROMPTS = ["a red fox", "a blue cup", "a pond", "two dogs"]


@pytest.fixture(scope="session")
def scorer(tiny_scorer: Scorer) -> Scorer:
    return tiny_scorer


@pytest.fixture(scope="session")
def pictures() -> torch.Tensor:
    """(4, 3, 64, 64) in [0, 1]."""
    return torch.from_numpy(np.stack(unlike_pictures(4, 64))).permute(0, 3, 1, 2) / 255


@pytest.fixture(scope="session")
def plain(scorer: Scorer, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        found = scorer.score_tensor(pictures, PROMPTS)
    assert all(float(scores.max() - scores.min()) > 0.05 for scores in found.values())
    return found


def test_named_metric(scorer: Scorer, pictures: torch.Tensor, plain: dict) -> None:
    metric = create_metric("diffagiqa-alignment", model=scorer)
    torch.testing.assert_close(metric(pictures, PROMPTS), plain["alignment"])
    both = create_metric(model=scorer)(pictures, PROMPTS)
    torch.testing.assert_close(both, (plain["alignment"] + plain["perception"]) / 2)
    assert not metric.lower_better
    array = (pictures[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    assert metric(Image.fromarray(array), "a fox").shape == (1,)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_named_metric_as_loss_falls_along_its_gradient(
    scorer: Scorer, pictures: torch.Tensor, reduction: str
) -> None:
    loss = create_metric(as_loss=True, model=scorer, loss_reduction=reduction)  # type: ignore[arg-type]
    images = pictures[:2].clone().requires_grad_(True)
    before = loss(images, "a fox").sum()
    (gradient,) = torch.autograd.grad(before, images)
    with torch.no_grad():
        after = loss(images - 1e-3 * gradient.sign(), "a fox").sum()
    assert after < before


def test_wrong_use_of_named_metric_is_one_sentence(scorer: Scorer) -> None:
    with pytest.raises(ConfigError, match="no metric 'x'; this model offers diffagiqa, "):
        create_metric("x", model=scorer)
    with pytest.raises(ConfigError, match="a Scorer has its own seed, device; give them where"):
        create_metric(model=scorer, seed=5, device="cpu")
    with pytest.raises(ConfigError, match="expected one of mean, sum, none"):
        create_metric(model=scorer, loss_reduction="max")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="a loss of str was asked"):
        create_metric(model=scorer, as_loss=True)("fox.png")


def test_reward_is_the_weighted_score(scorer: Scorer, pictures: torch.Tensor, plain: dict) -> None:
    reward = Reward(scorer, {"alignment": 3, "perception": 1}, batch_size=3)
    rewards, info = reward(pictures, PROMPTS, [{}] * 4)
    wanted = 0.75 * plain["alignment"] + 0.25 * plain["perception"]
    torch.testing.assert_close(rewards, wanted, rtol=0, atol=1e-3)
    assert not rewards.requires_grad
    assert set(info) == {"perception", "alignment"}
    images = [
        Image.fromarray((p.permute(1, 2, 0).numpy() * 255).astype(np.uint8)) for p in pictures
    ]
    from_files, _ = reward(images, PROMPTS, None)
    torch.testing.assert_close(from_files, rewards, atol=2e-2, rtol=0)


def test_differentiable_reward_reaches_a_generator(scorer: Scorer, pictures: torch.Tensor) -> None:
    generator = torch.nn.Conv2d(3, 3, 1)
    rewards, info = Reward(scorer, differentiable=True)(generator(pictures).sigmoid(), PROMPTS)
    rewards.mean().backward()
    assert generator.weight.grad is not None
    assert generator.weight.grad.abs().sum() > 0
    assert not info["alignment"].requires_grad


def test_wrong_use_of_reward(scorer: Scorer, pictures: torch.Tensor) -> None:
    with pytest.raises(ConfigError, match="not all 0"):
        Reward(scorer, {"beauty": 1})
    with pytest.raises(ConfigError, match="not all 0"):
        Reward(scorer, {"alignment": 0})
    with pytest.raises(ImageError, match="give a tensor"):
        Reward(scorer, differentiable=True)(["fox.png"], ["a fox"])
    with pytest.raises(ConfigError, match="1 prompt was given for 4 images"):
        Reward(scorer)(pictures, ["a fox"])
    with pytest.raises(ConfigError, match="one text was given for 4 images; expected a list"):
        Reward(scorer)(pictures, "a fox")
    with pytest.raises(ImageError, match="from 10 to 254; expected float"):
        Reward(scorer)(pictures * 255, PROMPTS)
    eight = (pictures * 255).round().to(torch.uint8)
    torch.testing.assert_close(
        Reward(scorer)(eight, PROMPTS)[0], Reward(scorer)(eight / 255, PROMPTS)[0]
    )


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames(library: str, scorer: Scorer, pictures: torch.Tensor, tmp_path: Path) -> None:
    frames = pytest.importorskip(library)
    file = tmp_path / "a.png"
    Image.fromarray((pictures[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)).save(file)
    rows = {"image": [str(file), "missing.png"], "prompt": ["a fox", None]}
    frame = frames.DataFrame(rows)
    found = add_scores(frame, scorer)
    assert type(found) is type(frame)
    assert "alignment" not in frame.columns
    assert found["alignment"].to_list()[0] == scorer(str(file), "a fox")["alignment"]
    assert "missing.png" in found["error"].to_list()[1]
    with pytest.raises(TableError, match="no column 'picture'; it has image, prompt"):
        add_scores(frame, scorer, image="picture")
    numbers = add_scores(frames.DataFrame({"image": [str(file)], "prompt": [1984]}), scorer)
    assert "the prompt is 1984 of type int" in numbers["error"].to_list()[0]


def test_a_frame_with_a_column_twice(scorer: Scorer) -> None:
    frame = pd.DataFrame([["a.png", "a fox", "a cat"]], columns=["image", "prompt", "prompt"])
    with pytest.raises(TableError, match="the frame has 2 columns 'prompt'"):
        add_scores(frame, scorer)


def test_frame_keeps_its_index(scorer: Scorer, pictures: torch.Tensor) -> None:
    arrays = [(p.permute(1, 2, 0).numpy() * 255).astype(np.uint8) for p in pictures[:2]]
    found = add_scores(pd.DataFrame({"image": arrays}, index=[7, 3]), scorer, prompt=None)
    assert list(found.index) == [7, 3]
    assert found["perception"].between(0, 1).all()


def test_without_a_prompt_only_what_is_not_about_it_counts(
    scorer: Scorer, pictures: torch.Tensor
) -> None:
    prompts = ["", *PROMPTS[1:]]
    whole = create_metric(model=scorer)(pictures, PROMPTS)
    bare = scorer.score_tensor(pictures, prompts)["perception"][
        0
    ]  # of this model by the prompt, too
    for mean in (
        create_metric(model=scorer)(pictures, prompts),
        Reward(scorer)(pictures, prompts)[0],
    ):
        torch.testing.assert_close(mean, torch.cat([bare[None], whole[1:]]))
    assert create_metric("diffagiqa-alignment", model=scorer)(pictures, "").isnan().all()
    array = (pictures[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    assert create_metric(model=scorer)(array).item() == pytest.approx(bare.item(), abs=0.01)


def test_comfyui_nodes(pictures: torch.Tensor, tiny_model: Path) -> None:
    from diffagiqa.integrations import comfyui

    # ComfyUI loads a folder by its path, not by its import name.
    spec = importlib.util.spec_from_file_location("custom_node", comfyui.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    nodes = module.NODE_CLASS_MAPPINGS
    assert set(nodes) == set(module.NODE_DISPLAY_NAME_MAPPINGS)
    for node in nodes.values():
        assert "required" in node.INPUT_TYPES()
        assert callable(getattr(node(), node.FUNCTION))
        assert len(node.RETURN_TYPES) == len(node.RETURN_NAMES)
    images = pictures.permute(0, 2, 3, 1)
    (model,) = nodes["DiffAGIQALoadModel"]().load(str(tiny_model))
    shown = nodes["DiffAGIQAScore"]().score(model, images, "a fox")
    assert shown["ui"]["text"][0].count("\n") == 3
    rewards, _ = Reward(model)(pictures, ["a fox"] * 4)
    best, value = nodes["DiffAGIQAKeepBest"]().keep(model, images, "a fox", keep=2)
    torch.testing.assert_close(best[0], images[int(rewards.argmax())])
    assert value == pytest.approx(float(rewards.max()))
    *means, table = nodes["DiffAGIQAScore"]().score(model, images, " ")["result"]
    assert math.isnan(means[1])
    assert "alignment" not in table
    with pytest.raises(ConfigError, match="expected ComfyUI's"):
        nodes["DiffAGIQAScore"]().score(model, pictures[0], "a fox")


def test_comfyui_loads_a_model_once_and_lets_it_go_with_the_outputs(tiny_model: Path) -> None:
    from diffagiqa.integrations.comfyui import nodes

    inputs = nodes.LoadModel.INPUT_TYPES()
    names = {name for part in inputs.values() for name in part}
    assert not names & {"seed", "noise_seed"}  # to these ComfyUI gives another value on each run
    assert inputs["optional"]["scoring_seed"][1]["max"] == MAX_SEED
    (first,), (again,) = (nodes.LoadModel().load(str(tiny_model)) for _ in range(2))
    assert first is again
    assert nodes.LoadModel().load(str(tiny_model), scoring_seed=1)[0] is not first
    kept = weakref.ref(first)
    del first, again
    gc.collect()
    assert kept() is None


def test_a_doubtful_score_is_no_part_of_a_reward_unless_it_is_named(
    scorer: Scorer, pictures: torch.Tensor, plain: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffagiqa.integrations.comfyui.nodes import RANK_BY, KeepBest, ScoreImages

    doubting = replace(scorer.config, doubtful=("alignment",))
    monkeypatch.setattr(Scorer, "config", property(lambda self: doubting))
    torch.testing.assert_close(Reward(scorer)(pictures, PROMPTS)[0], plain["perception"])
    metric = create_metric(model=scorer)
    torch.testing.assert_close(metric(pictures, PROMPTS), plain["perception"])
    images = pictures.permute(0, 2, 3, 1)
    best = {by: KeepBest().keep(scorer, images, "a fox", 1, by)[1] for by in RANK_BY}
    assert best["trusted scores"] == best["perception"] != best["alignment"] != best["all scores"]
    table = ScoreImages().score(scorer, images, "a fox")["result"][2]
    assert "alignment? 0." in table
    assert "does not stand behind its alignment" in table


def test_comfyui_workflow_fits_the_nodes() -> None:
    """Every input that the workflow sets exists, none that is required is left out, links fit in type."""
    from diffagiqa.integrations.comfyui import NODE_CLASS_MAPPINGS

    file = Path(__file__).parents[2] / "examples" / "comfyui_workflow.json"
    graph = json.loads(file.read_text(encoding="utf-8"))
    ours = {number: one for number, one in graph.items() if "DiffAGIQA" in one["class_type"]}
    assert {one["class_type"] for one in ours.values()} == set(NODE_CLASS_MAPPINGS)
    gives = {"LoadImage": ("IMAGE", "MASK")}  # ComfyUI's own
    gives |= {name: node.RETURN_TYPES for name, node in NODE_CLASS_MAPPINGS.items()}
    for one in ours.values():
        takes = NODE_CLASS_MAPPINGS[one["class_type"]].INPUT_TYPES()
        kinds = {name: kind[0] for part in takes.values() for name, kind in part.items()}
        assert set(takes["required"]) <= set(one["inputs"]) <= set(kinds)
        for name, value in one["inputs"].items():
            if isinstance(value, list):
                number, output = value
                assert gives[graph[number]["class_type"]][output] == kinds[name]
