"""The scorer's promises: same score in any company, any input, and a gradient."""

from __future__ import annotations

import copy
import math
import pickle
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROUNDING, small_config, spread_out, unlike_pictures, unlike_prompts
from PIL import Image

from diffagiqa import Scorer
from diffagiqa.backbones import text
from diffagiqa.backbones.base import Prompts
from diffagiqa.batches import stack_on
from diffagiqa.errors import ConfigError, DeviceError, ImageError, PromptError, WeightsError
from diffagiqa.model.config import ModelConfig, TaskConfig
from diffagiqa.pretrained import check_feature_channels, load_config
from diffagiqa.prompt_encoding import PromptEncoder
from diffagiqa.scorer import Score


@pytest.fixture(scope="module")
def scorer(reference: Path) -> Scorer:
    untrained = Scorer.untrained(str(reference / "backbone"), small_config(), dtype="float32")
    return spread_out(untrained)


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return unlike_pictures(7)


PROMPTS = unlike_prompts(7)


def test_same_score_alone_in_a_batch_first_and_last(
    scorer: Scorer, pictures: list[np.ndarray]
) -> None:
    alone = [scorer(p, t)["perception"] for p, t in zip(pictures, PROMPTS, strict=True)]
    together = [score["perception"] for score in scorer(pictures, PROMPTS)]
    backwards = [score["perception"] for score in scorer(pictures[::-1], PROMPTS[::-1])][::-1]
    assert np.ptp(alone) > 1e-2  # the pictures do differ
    np.testing.assert_allclose(together, alone, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(backwards, alone, rtol=0, atol=ROUNDING)
    torch.manual_seed(99)
    assert scorer(pictures[3], PROMPTS[3])["perception"] == alone[3]


def test_seed_changes_the_score(reference: Path, pictures: list[np.ndarray]) -> None:
    seeds = [
        Scorer.untrained(str(reference / "backbone"), small_config(), dtype="float32", seed=seed)
        for seed in (0, 1)
    ]
    first, second = (scorer(pictures[0], "a fox")["perception"] for scorer in seeds)
    assert first != second


def test_a_loaded_model_draws_the_noise_of_its_seed(tiny_model: Path) -> None:
    first, again, other = (
        Scorer.from_pretrained(tiny_model, device="cpu", dtype="float32", seed=seed)
        for seed in (3, 3, 4)
    )
    assert (first.seed, other.seed) == (3, 4)
    assert torch.equal(
        first.runner.noises(64, 64)[0].diffusion, again.runner.noises(64, 64)[0].diffusion
    )
    assert not torch.equal(
        first.runner.noises(64, 64)[0].diffusion, other.runner.noises(64, 64)[0].diffusion
    )


def test_a_stream_is_scored_in_full_batches_whatever_fails_between(
    tiny_scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_scorer, "batch_size", 2)
    sizes: list[int] = []
    forward = tiny_scorer.runner._forward
    monkeypatch.setattr(
        tiny_scorer.runner,
        "_forward",
        lambda images, prompts: sizes.append(len(images)) or forward(images, prompts),
    )
    good, bad = np.zeros((64, 64, 3), np.uint8), b"no picture"
    found = tiny_scorer.score_many((one, "a fox") for one in (good, bad, good, bad, good))
    assert [isinstance(one, Score) for one in found] == [True, False, True, False, True]
    assert sizes == [2, 1]


def test_a_stream_of_faults_is_not_held_back_for_a_full_batch(
    tiny_scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_scorer, "batch_size", 2)
    taken: list[int] = []
    faults = ((b"no picture", "a fox") for _ in range(20) if taken.append(1) is None)  # type: ignore[func-returns-value]
    assert isinstance(next(tiny_scorer.score_many(faults)), ImageError)
    assert len(taken) == 8


def test_the_prompts_used_last_are_kept() -> None:
    asked: list[list[str]] = []

    def encoded(texts: Sequence[str], _: str) -> list[Prompts]:
        asked.append(list(texts))
        return [Prompts(torch.tensor([len(text)]), torch.tensor([True])) for text in texts]

    backbone: Any = SimpleNamespace(encode_prompts=encoded, device=torch.device("cpu"))
    model: Any = SimpleNamespace(config=ModelConfig())
    cache = PromptEncoder(backbone, model.config, size=2 * torch.tensor([1]).nbytes)

    def kept(texts: list[str]) -> list[int]:
        return [int(prompt.text) for prompt in cache(texts)]

    assert kept(["a", "bb", "a"]) == [1, 2, 1]
    assert kept(["a"]) == [1]
    assert kept(["ccc", "a"]) == [3, 1]  # "bb" was used least recently
    assert kept(["a", "bb"]) == [1, 2]
    assert [texts for texts in asked if texts] == [["a", "bb"], ["ccc"], ["bb"]]


def test_every_kind_of_input_gives_the_same_score(
    scorer: Scorer, pictures: list[np.ndarray], tmp_path: Path
) -> None:
    array = pictures[0]
    file = tmp_path / "fox.png"
    Image.fromarray(array).save(file)
    tensor = torch.from_numpy(array).permute(2, 0, 1) / 255.0
    wanted = scorer(array, "a fox")["alignment"]
    for same in (file, str(file), file.as_uri(), file.read_bytes(), Image.open(file), tensor):
        assert scorer(same, "a fox")["alignment"] == pytest.approx(wanted, abs=ROUNDING)
    batch = scorer(torch.stack([tensor, tensor]), "a fox")
    assert [s["alignment"] for s in batch] == pytest.approx([wanted] * 2, abs=ROUNDING)


def test_mos_scale(reference: Path, pictures: list[np.ndarray]) -> None:
    config = small_config(tasks=(TaskConfig("perception", 0, 100),))
    score = Scorer.untrained(str(reference / "backbone"), config)(pictures[0], "a fox")
    assert score.mos["perception"] == pytest.approx(100 * score["perception"])


def test_a_bad_image_takes_only_its_own_row(
    scorer: Scorer, pictures: list[np.ndarray], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    rows = list(
        scorer.score_many(
            [(pictures[0], "a"), (broken, "b"), (tmp_path / "no", "c"), (pictures[1], "d")]
        )
    )
    assert isinstance(rows[1], ImageError)
    assert isinstance(rows[2], ImageError)
    assert rows[0]["perception"] == pytest.approx(
        scorer(pictures[0], "a")["perception"], abs=ROUNDING
    )
    assert rows[3]["perception"] == pytest.approx(
        scorer(pictures[1], "d")["perception"], abs=ROUNDING
    )
    with pytest.raises(ImageError, match=r"broken\.png"):
        scorer([pictures[0], broken], "a")


def test_save_and_load_give_the_same_score(
    scorer: Scorer, pictures: list[np.ndarray], tmp_path: Path
) -> None:
    scorer.save_pretrained(tmp_path / "model")
    again = Scorer.from_pretrained(tmp_path / "model", device="cpu", dtype="float32")
    wanted = scorer(pictures, PROMPTS)
    for found, score in zip(again(pictures, PROMPTS), wanted, strict=True):
        assert found.scores == pytest.approx(score.scores, abs=ROUNDING)  # by folded norms
    again.save_pretrained(tmp_path / "copy")
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "copy" / name).read_bytes() == (tmp_path / "model" / name).read_bytes()
    assert len(again.fingerprint) == 16


def test_a_copy_of_a_model_has_its_own_backbone_and_notice(
    tiny_model: Path, reference: Path, tmp_path: Path
) -> None:
    model = shutil.copytree(tiny_model, tmp_path / "model")
    shutil.copytree(reference / "backbone", model / "backbone")
    config = replace(load_config(model), backbone="./backbone", notice="for tests")
    (model / "config.json").write_text(config.to_json())
    scorer = Scorer.from_pretrained(model, device="cpu", dtype="float32")
    for folder in (tmp_path / "copy", model):  # over itself, too
        scorer.save_pretrained(folder)
        again = Scorer.from_pretrained(folder, device="cpu", dtype="float32")
        assert again.fingerprint == scorer.fingerprint
        assert again.notice == "for tests"
    shutil.rmtree(model / "backbone")
    other = str(reference / "backbone")
    Scorer.from_pretrained(model, backbone=other, device="cpu").save_pretrained(tmp_path / "bare")
    assert not (tmp_path / "bare" / "backbone").exists()


def test_a_backbone_named_from_the_current_folder_is_found_again(
    reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(reference)
    Scorer.untrained("./backbone", small_config(), device="cpu").save_pretrained(tmp_path)
    assert Scorer.from_pretrained(tmp_path, device="cpu").config.backbone == "backbone"


def test_low_precision_stays_near(
    reference: Path, scorer: Scorer, pictures: list[np.ndarray]
) -> None:
    low = Scorer.untrained(str(reference / "backbone"), small_config(), dtype="bfloat16")
    low.model.load_state_dict(scorer.model.state_dict())
    for found, wanted in zip(low(pictures, PROMPTS), scorer(pictures, PROMPTS), strict=True):
        # Of random weights; those of a trained model: tests/test_embedded_model.py
        assert found["perception"] == pytest.approx(wanted["perception"], abs=0.02)


def test_loss_has_a_gradient_to_the_images(scorer: Scorer, pictures: list[np.ndarray]) -> None:
    images = torch.from_numpy(np.stack(pictures[:2])).permute(0, 3, 1, 2) / 255.0
    images.requires_grad_(True)
    loss = scorer.loss(images, ["a fox", "a cat"])
    loss.backward()
    assert images.grad is not None
    gradient = images.grad
    assert float(gradient.abs().max()) > 0
    step = 1e-2 * gradient / gradient.abs().max()
    with torch.no_grad():
        before = scorer.loss(images, ["a fox", "a cat"])
        lower = scorer.loss((images - step).clamp(0, 1), ["a fox", "a cat"])
    assert float(lower) < float(before)
    scores = scorer.score_tensor(images, ["a fox", "a cat"])
    only = scorer.loss(images, ["a fox", "a cat"], weights={"alignment": 2.0})
    wanted = 1 - scores["alignment"].mean()
    assert only.item() == pytest.approx(wanted.item(), abs=1e-6)
    mixed = scorer.loss(images, ["a fox", "a cat"], weights={"perception": 3, "alignment": 1})
    mean = {task: value.detach().numpy().mean() for task, value in scores.items()}
    assert mixed.item() == pytest.approx(
        1 - 0.75 * mean["perception"] - 0.25 * mean["alignment"], abs=1e-6
    )


def test_without_a_prompt_there_is_no_alignment(scorer: Scorer, pictures: list[np.ndarray]) -> None:
    bare, (whole, other) = scorer(pictures[0], " "), scorer(pictures[:2], ["a fox", ""])
    assert all(math.isnan(score["alignment"] + score.mos["alignment"]) for score in (bare, other))
    assert not math.isnan(whole["alignment"])
    assert bare["perception"] == pytest.approx(scorer(pictures[0], "")["perception"])
    images = torch.from_numpy(np.stack(pictures[:2])).permute(0, 3, 1, 2) / 255.0
    images.requires_grad_(True)
    scores = scorer.score_tensor(images, ["a fox", ""])
    assert scores["alignment"].isnan().tolist() == [False, True]
    loss = scorer.loss(images, ["a fox", ""])  # the second image's perception is all of its mean
    means = (scores["perception"][0] + scores["alignment"][0]) / 2, scores["perception"][1]
    assert loss.item() == pytest.approx(1 - (sum(means) / 2).item(), abs=1e-6)
    loss.backward()
    assert images.grad is not None
    assert images.grad.isfinite().all()
    assert (images.grad.flatten(1).abs().amax(1) > 0).all()


def test_a_callers_autocast_changes_nothing(scorer: Scorer, pictures: list[np.ndarray]) -> None:
    prompt = "a prompt that no other test encodes"
    with torch.autocast("cpu", dtype=torch.bfloat16):  # as trainers call their rewards
        within = scorer(pictures[0], prompt)
        images = scorer.prepare(pictures[0])[None].requires_grad_(True)
        loss = scorer.loss(images, prompt)
    (gradient,) = torch.autograd.grad(loss, images)  # outside, as PyTorch asks
    assert scorer(pictures[0], prompt) == within  # by the prompt that was encoded within it
    scorer.prompts([f"another {number}" for number in range(1025)])  # which is forgotten now
    assert scorer(pictures[0], prompt) == within
    (expected,) = torch.autograd.grad(scorer.loss(images, prompt), images)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=0)


def test_images_of_another_size_are_resized(scorer: Scorer) -> None:
    tall = np.zeros((640, 64, 3), np.uint8)
    assert scorer.prepare(tall).shape == (3, 128, 128)
    assert 0 < scorer(np.zeros((1, 1, 3), np.uint8), "a dot")["perception"] < 1


def test_no_text_ablation_ignores_the_prompt(reference: Path, pictures: list[np.ndarray]) -> None:
    blind = Scorer.untrained(str(reference / "backbone"), small_config(use_text=False))
    assert blind(pictures[0], "a fox").scores == blind(pictures[0], "two cats").scores


def test_prompts_of_unlike_length_score_in_one_call(
    reference: Path, pictures: list[np.ndarray]
) -> None:
    scorer = Scorer.untrained(
        str(reference / "backbone"), small_config(long_prompts="chunk"), dtype="float32"
    )
    prompts = ["short", "long " * 200, "short again"]
    together = scorer(pictures[:3], prompts)
    for picture, prompt, score in zip(pictures, prompts, together, strict=False):
        assert scorer(picture, prompt)["alignment"] == pytest.approx(
            score["alignment"], abs=ROUNDING
        )


def test_wrong_use_is_one_sentence(
    scorer: Scorer, pictures: list[np.ndarray], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="2 prompts were given for 3 images"):
        scorer(pictures[:3], ["a", "b"])
    with pytest.raises(ImageError, match=r"expected \(B, 3, H, W\)"):
        scorer.score_tensor(torch.zeros(3, 64, 64), "a")
    with pytest.raises(
        ConfigError, match="expected numbers of 0 or more, not all 0, for perception"
    ):
        scorer.loss(torch.zeros(1, 3, 64, 64), "a", weights={"beauty": 1.0})
    with pytest.raises(ConfigError, match="device 'gpu' is unknown"):
        Scorer.untrained("anywhere", small_config(), device="gpu")
    with pytest.raises(ConfigError, match="dtype 'int8' is unknown"):
        Scorer.untrained("anywhere", small_config(), dtype="int8")
    scorer.save_pretrained(tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    text = config.read_text().replace("128", "64")
    config.write_text(text)
    with pytest.raises(WeightsError, match="has shape"):
        Scorer.from_pretrained(tmp_path / "model")


def test_a_model_wants_a_backbone_of_its_own_size(scorer: Scorer) -> None:
    config = scorer.config
    check_feature_channels(config, scorer.backbone)
    with pytest.raises(WeightsError, match=r"the model was trained on \(4, 128"):
        check_feature_channels(
            replace(config, feature_channels=(4, *config.feature_channels[1:])), scorer.backbone
        )


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_a_batch_that_does_not_fit_is_halved_and_loses_no_row(
    scorer: Scorer,
    pictures: list[np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    error: RuntimeError,
) -> None:
    wanted = [score["perception"] for score in scorer(pictures, PROMPTS)]
    sizes: list[int] = []
    forward = scorer.model.forward

    def small_memory(images: torch.Tensor, *rest: object) -> object:
        sizes.append(len(images))
        if len(images) > 2:
            raise error
        return forward(images, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(scorer.model, "forward", small_memory)
    monkeypatch.setattr(scorer.runner, "max_batch", 8)
    found = [score["perception"] for score in scorer(pictures, PROMPTS)]
    assert sizes == [7, 3, 1, 1, 1, 1, 1, 1, 1]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=ROUNDING)


def test_pictures_that_do_not_fit_on_their_way_to_the_device_are_halved_too(
    scorer: Scorer, pictures: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def small_memory(images: Sequence[torch.Tensor], device: torch.device) -> torch.Tensor:
        sizes.append(len(images))
        if len(images) > 4:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return stack_on(images, device)

    monkeypatch.setattr("diffagiqa.batches.stack_on", small_memory)
    monkeypatch.setattr(scorer.runner, "max_batch", 8)
    assert len(scorer(pictures, PROMPTS)) == 7
    assert sizes == [7, 3, 3, 1]


def test_one_picture_that_does_not_fit_is_said_in_a_sentence(
    scorer: Scorer, pictures: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*given: object) -> object:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(scorer.model, "forward", no_memory)
    monkeypatch.setattr(scorer.runner, "max_batch", 8)
    with pytest.raises(DeviceError, match="one image of 128 x 128 pixels does not fit"):
        scorer(pictures[0], "a fox")


def test_prompts_that_do_not_fit_together_are_encoded_alone(
    scorer: Scorer, pictures: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [score["alignment"] for score in scorer(pictures, PROMPTS)]
    encode, tried = text.encode, []

    def small_memory(*given: Any, alone: bool = False) -> object:
        tried.append(alone)
        if not alone:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return encode(*given, alone=True)

    monkeypatch.setattr(text, "encode", small_memory)
    monkeypatch.setattr(scorer, "prompts", PromptEncoder(scorer.backbone, scorer.config, size=8))
    assert [score["alignment"] for score in scorer(pictures, PROMPTS)] == wanted
    assert tried == [False, True]


def test_a_prompt_that_does_not_fit_is_said_in_a_sentence(
    scorer: Scorer, pictures: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*given: object, alone: bool = False) -> object:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(scorer.backbone, "encode_prompts", no_memory)
    with pytest.raises(DeviceError, match="a prompt does not fit the free memory of cpu"):
        scorer(pictures[0], "a prompt that nobody has encoded")


def test_other_faults_are_not_taken_for_lack_of_memory(
    scorer: Scorer, pictures: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*given: object) -> object:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(scorer.model, "forward", fault)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        scorer(pictures, PROMPTS)


def test_a_limit_that_another_thread_has_found_meanwhile_is_not_raised(
    scorer: Scorer, pictures: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    original = scorer.runner._try

    def fails_at_first(images: Sequence[torch.Tensor], prompts: Any) -> object:
        sizes.append(len(images))
        if len(sizes) > 1:
            return original(images, prompts)
        scorer.runner.max_batch = 2
        return None

    monkeypatch.setattr(scorer.runner, "max_batch", 8)
    monkeypatch.setattr(scorer.runner, "_try", fails_at_first)
    assert len(scorer(pictures, PROMPTS)) == 7
    assert sizes == [7, 2, 2, 2, 1]


def test_a_size_that_fitted_for_long_is_doubled(
    scorer: Scorer, pictures: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scorer.runner, "max_batch", 2)
    monkeypatch.setattr("diffagiqa.batches.GROW_AFTER", 3)
    assert len(scorer(pictures, PROMPTS)) == 7  # 2, 2, 2, and then more would be tried
    assert scorer.runner.max_batch == 4


@pytest.mark.parametrize("prompt", [None, float("nan"), 7])
def test_a_prompt_that_is_no_text_is_an_error_of_its_row(
    scorer: Scorer, pictures: list[np.ndarray], prompt: Any
) -> None:
    pairs = [(pictures[0], "a"), (pictures[1], prompt), (pictures[2], "c")]
    first, fault, last = scorer.score_many(pairs)
    assert isinstance(first, Score)
    assert isinstance(last, Score)
    assert isinstance(fault, PromptError)
    assert "give a text" in str(fault)


def test_what_came_before_a_fault_of_the_source_is_scored(
    scorer: Scorer, pictures: list[np.ndarray]
) -> None:
    def source() -> Iterator[tuple[np.ndarray, str]]:
        yield from zip(pictures[:3], PROMPTS, strict=False)
        raise OSError("the share is gone")

    scores = scorer.score_many(source())
    assert all(isinstance(next(scores), Score) for _ in range(3))
    with pytest.raises(OSError, match="the share is gone"):
        next(scores)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda images: images * 255, "from 0 to 255; expected float in"),
        (lambda images: images * 2 - 1, "from -1 to 1; expected float in"),
        (lambda images: images / 0 - images / 0, "nan"),
        (lambda images: images > 0.5, "type torch.bool; expected uint8"),
        (lambda images: images[:0], "B of 1 or more"),
    ],
)
def test_tensors_that_are_no_pictures_are_refused(
    scorer: Scorer, spoil: Callable[[torch.Tensor], torch.Tensor], said: str
) -> None:
    pixels = (torch.arange(3 * 64 * 64) % 256).reshape(1, 3, 64, 64).to(torch.uint8)
    images = pixels / 255
    with pytest.raises(ImageError, match=said):
        scorer.score_tensor(spoil(images), "a fox")
    exact = scorer.score_tensor(images, "a fox")["perception"]
    assert torch.equal(scorer.score_tensor(pixels, "a fox")["perception"], exact)


def test_weights_below_zero_are_refused(scorer: Scorer) -> None:
    with pytest.raises(ConfigError, match="0 or more"):
        scorer.loss(torch.rand(1, 3, 64, 64), "a", {"perception": 2, "alignment": -1})


def test_a_scorer_made_without_gradients_can_give_them_later(tiny_model: Path) -> None:
    with torch.inference_mode():
        scorer = Scorer.from_pretrained(tiny_model, device="cpu", dtype="float32")
        scorer(unlike_pictures(1)[0], "a fox")
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    scorer.loss(image, "a fox").backward()
    assert image.grad is not None
    assert float(image.grad.abs().sum()) > 0


def test_another_process_loads_it_and_a_copy_is_itself(tiny_scorer: Scorer) -> None:
    picture = unlike_pictures(1)[0]
    again = pickle.loads(pickle.dumps(tiny_scorer))
    assert again is not tiny_scorer
    assert again(picture, "a fox").scores == tiny_scorer(picture, "a fox").scores
    assert copy.deepcopy(tiny_scorer) is tiny_scorer
    assert copy.copy(tiny_scorer) is tiny_scorer
    built = Scorer(tiny_scorer.model, tiny_scorer.backbone)
    with pytest.raises(TypeError, match="save_pretrained it"):
        pickle.dumps(built)


def test_the_seed_stays(scorer: Scorer) -> None:
    with pytest.raises(AttributeError):
        scorer.seed = 5  # type: ignore[misc]
