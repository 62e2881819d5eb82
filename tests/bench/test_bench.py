"""What is measured is what is scored; the released path gives the scorer's numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from conftest import small_config, spread_out

from diffagiqa import Scorer
from diffagiqa.bench.measure import bench
from diffagiqa.bench.memory import measure_process
from diffagiqa.bench.released import released_path
from diffagiqa.bench.show import comparison, tables
from diffagiqa.cli.main import run
from diffagiqa.pretrained import locate


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "model"
    config = small_config()
    untrained = Scorer.untrained(config.backbone, config, device="cpu", dtype="float32")
    spread_out(untrained).save_pretrained(folder)
    return folder


def test_the_released_path_gives_the_scorers_scores(model: Path) -> None:
    path = released_path(locate(model), torch.device("cpu"))
    assert path is not None
    image = torch.rand(3, 128, 128, generator=torch.Generator().manual_seed(0))
    scorer = Scorer.from_pretrained(model, device="cpu", dtype="float32")
    scores, dark = path(image, "a red fox"), path(image / 2, "a red fox")
    for task, value in scorer.score_tensor(image[None], "a red fox").items():
        assert float(value) == pytest.approx(float(scores[task]), abs=1e-4)
        assert abs(float(dark[task]) - float(value)) > 1e-2  # another image has another score


def test_bench_measures_and_shows(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = bench(
        str(model), device="cpu", dtype="float32", batch=2, repeats=1, training=True, accel=True,
        log=lambda _: None,
    )  # fmt: skip
    results = json.loads(json.dumps(results))
    assert all(stage["seconds"] > 0 for stage in results["stages"])
    assert all(stage["flop"] >= 0 for stage in results["stages"])
    assert {s["name"] for s in results["stages"] if s["flop"]} >= {
        "image encoder",
        "features",
        "pyramid",
    }
    text = tables(results)
    assert "times as fast" in text
    assert "images/s" in text
    assert "Without accelerators" in text
    assert "training step" in text
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(json.dumps(results), encoding="utf-8")
    assert run(["bench", "--compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 0
    shown = capsys.readouterr().out
    assert comparison(results, results) in shown
    assert "1.00" in shown


def test_memory_is_that_of_another_process(tiny_model: Path) -> None:
    assert 0.05 < measure_process(str(tiny_model), "cpu", "float32")["peak_gb"] < 4


@pytest.mark.skipif(torch.cuda.is_available(), reason="wants a machine without a GPU")
def test_a_device_that_is_not_there(tiny_model: Path) -> None:
    from diffagiqa.errors import ConfigError

    with pytest.raises(ConfigError, match="sees no GPU"):
        bench(str(tiny_model), device="cuda", log=lambda _: None)
