"""What only a GPU can show: the CPU's scores, a queue that keeps its order, real lack of memory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import REFERENCE, small_config, spread_out, unlike_pictures, unlike_prompts
from PIL import Image

from diffagiqa import Scorer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="wants a GPU")
COUNT = 11
PROMPTS = unlike_prompts(COUNT)


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return unlike_pictures(COUNT)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spread") / "model"
    config = small_config()
    untrained = Scorer.untrained(config.backbone, config, device="cpu", dtype="float32")
    spread_out(untrained).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def wanted(model: Path, pictures: list[np.ndarray]) -> np.ndarray:
    """(pictures, tasks) scores of the CPU in float32; they differ by far more than is allowed below."""
    found = scores(make(model, "cpu"), pictures)
    assert np.ptp(found, axis=0).min() > 0.05
    return found


def make(model: Path, device: str, dtype: str = "float32") -> Scorer:
    return Scorer.from_pretrained(model, device=device, dtype=dtype)


def scores(scorer: Scorer, pictures: list[np.ndarray]) -> np.ndarray:
    found = scorer(pictures, PROMPTS[: len(pictures)])
    return np.array([[one[task] for task in scorer.tasks] for one in found])


def test_float32_is_that_of_the_cpu(
    model: Path, pictures: list[np.ndarray], wanted: np.ndarray
) -> None:
    np.testing.assert_allclose(scores(make(model, "cuda"), pictures), wanted, rtol=0, atol=2e-4)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_low_precision_is_near(
    model: Path, pictures: list[np.ndarray], wanted: np.ndarray, dtype: str
) -> None:
    found = scores(make(model, "cuda", dtype), pictures)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=0.02)


def test_batches_keep_their_order_and_errors(
    model: Path, pictures: list[np.ndarray], wanted: np.ndarray
) -> None:
    scorer = make(model, "cuda")
    scorer.batch_size = 3
    pairs = [*zip(pictures, PROMPTS, strict=True)]
    pairs.insert(4, (b"no picture", "a fox"))  # type: ignore[arg-type]
    found = list(scorer.score_many(pairs))
    assert "not an image" in str(found.pop(4))
    table = [[one[task] for task in scorer.tasks] for one in found]  # type: ignore[index]
    np.testing.assert_allclose(table, wanted, rtol=0, atol=2e-4)


def test_the_same_picture_has_the_same_score_twice(model: Path, pictures: list[np.ndarray]) -> None:
    scorer = make(model, "cuda", "bfloat16")
    np.testing.assert_array_equal(scores(scorer, pictures), scores(scorer, pictures))


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_one_picture_is_captured_and_replayed(
    model: Path, pictures: list[np.ndarray], wanted: np.ndarray, device: str
) -> None:
    if device == "cuda:1" and torch.cuda.device_count() < 2:
        pytest.skip("wants a second GPU")
    scorer = make(model, device)

    def alone() -> list[list[float]]:
        found = [scorer(p, t) for p, t in zip(pictures, PROMPTS, strict=True)]
        return [[one[task] for task in scorer.tasks] for one in found]

    found = alone()
    assert [known is not None for known in scorer.runner._graphs._captured.values()] == [True]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-4)
    np.testing.assert_array_equal(alone()[2:], found[2:])
    with torch.no_grad():  # a caller with tensors of its own takes the same graph
        image = scorer.prepare(pictures[5])[None]
        own = scorer.score_tensor(image, PROMPTS[5])
    np.testing.assert_array_equal([float(own[task]) for task in scorer.tasks], found[5])


def test_a_prompt_does_not_depend_on_its_neighbours(model: Path) -> None:
    backbone = make(model, "cuda", "bfloat16").backbone
    alone = [backbone.encode_each([prompt])[0].text for prompt in PROMPTS]
    for one, other in zip(backbone.encode_each(PROMPTS * 3), alone * 3, strict=True):
        assert torch.equal(one.text, other)


def test_memory_that_runs_out_halves_the_batch(
    model: Path, pictures: list[np.ndarray], wanted: np.ndarray
) -> None:
    scorer = make(model, "cuda")
    scores(scorer, pictures)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    scores(scorer, pictures)
    peak, total = torch.cuda.max_memory_reserved(), torch.cuda.mem_get_info()[1]
    torch.cuda.empty_cache()
    try:
        torch.cuda.set_per_process_memory_fraction(0.7 * peak / total)
        found = scores(scorer, pictures)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert scorer.runner.max_batch < len(pictures)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-4)


def test_gradients_reach_the_picture(model: Path) -> None:
    scorer = make(model, "cuda")
    image = torch.rand(1, 3, 128, 128, device="cuda", requires_grad=True)
    scorer.loss(image, "a red fox").backward()
    assert image.grad is not None
    assert float(image.grad.abs().max()) > 0


def test_the_command_scores_on_the_gpu(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from diffagiqa.cli.main import app

    for i in range(9):
        Image.open(REFERENCE / "image0.png").rotate(i).save(tmp_path / f"{i}.jpg")
    arguments = ["score", str(tmp_path), "--prompt", "a fox", "--device", "cuda", "--batch-size", "2",
                 "--out", str(tmp_path / "scores.jsonl")]  # fmt: skip
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    lines = (tmp_path / "scores.jsonl").read_text().splitlines()
    assert [json.loads(line)["row"] for line in lines] == list(range(9))
