"""What only a GPU can show: the CPU's scores, a queue that keeps its order, real lack of memory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import REFERENCE, small_config
from PIL import Image

from diffagiqa import Scorer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="wants a GPU")
PROMPTS = [f"a red fox, number {i}" for i in range(11)]


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 255, (128, 128, 3), np.uint8) for _ in PROMPTS]


def make(device: str, dtype: str = "float32") -> Scorer:
    config = small_config()
    return Scorer.untrained(config.backbone, config, device=device, dtype=dtype)


def scores(scorer: Scorer, pictures: list[np.ndarray]) -> np.ndarray:
    found = scorer(pictures, PROMPTS[: len(pictures)])
    return np.array([[one[task] for task in scorer.tasks] for one in found])


def test_float32_is_that_of_the_cpu(pictures: list[np.ndarray]) -> None:
    wanted = scores(make("cpu"), pictures)
    np.testing.assert_allclose(scores(make("cuda"), pictures), wanted, rtol=0, atol=2e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_low_precision_is_near(pictures: list[np.ndarray], dtype: str) -> None:
    wanted = scores(make("cpu"), pictures)
    np.testing.assert_allclose(scores(make("cuda", dtype), pictures), wanted, rtol=0, atol=0.02)


def test_batches_keep_their_order_and_errors(pictures: list[np.ndarray]) -> None:
    scorer = make("cuda")
    wanted = scores(scorer, pictures)
    scorer.batch_size = 3
    pairs = [*zip(pictures, PROMPTS, strict=True)]
    pairs.insert(4, (b"no picture", "a fox"))  # type: ignore[arg-type]
    found = list(scorer.score_many(pairs))
    assert "not a picture" in str(found.pop(4))
    table = [[one[task] for task in scorer.tasks] for one in found]  # type: ignore[index]
    np.testing.assert_allclose(table, wanted, rtol=0, atol=1e-5)


def test_the_same_picture_has_the_same_score_twice(pictures: list[np.ndarray]) -> None:
    scorer = make("cuda", "bfloat16")
    np.testing.assert_array_equal(scores(scorer, pictures), scores(scorer, pictures))


def test_one_picture_is_recorded_and_replayed(pictures: list[np.ndarray]) -> None:
    scorer = make("cuda")
    wanted = scores(scorer, pictures)
    found = []
    for picture, prompt in zip(pictures, PROMPTS, strict=True):
        one = scorer(picture, prompt)
        found.append([one[task] for task in scorer.tasks])
    assert [known is not None for known in scorer._alone._recorded.values()] == [True]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
    again = [
        [scorer(p, t)[task] for task in scorer.tasks]
        for p, t in zip(pictures, PROMPTS, strict=True)
    ]
    np.testing.assert_array_equal(again[1:], found[1:])


def test_the_embedded_model_is_the_same_on_the_gpu() -> None:
    picture = Image.open(REFERENCE / "image0.png")
    found = {}
    for device in ("cpu", "cuda"):
        scorer = Scorer.from_pretrained(device=device)
        results = [scorer(picture, "a red fox") for _ in range(3)]
        results += scorer([picture] * 3, "a red fox")
        found[device] = [[one[task] for task in scorer.tasks] for one in results]
    np.testing.assert_allclose(found["cuda"], found["cpu"], rtol=0, atol=2e-3)


def test_a_prompt_does_not_depend_on_its_neighbours() -> None:
    backbone = make("cuda", "bfloat16").backbone
    alone = [backbone.encode_each([prompt])[0].text for prompt in PROMPTS]
    for one, other in zip(backbone.encode_each(PROMPTS * 3), alone * 3, strict=True):
        assert torch.equal(one.text, other)


def test_memory_that_runs_out_halves_the_batch(pictures: list[np.ndarray]) -> None:
    scorer = make("cuda")
    wanted = scores(scorer, pictures)
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
    assert scorer._fits < len(pictures)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


def test_gradients_reach_the_picture() -> None:
    scorer = make("cuda")
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
