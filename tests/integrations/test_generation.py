"""With a diffusers pipeline: scores along the steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from diffagiqa import Scorer
from diffagiqa.errors import ConfigError
from diffagiqa.integrations import ScoreSteps

SETTINGS = {"height": 64, "width": 64, "num_inference_steps": 4}


@pytest.fixture(scope="session")
def scorer(tiny_scorer: Scorer) -> Scorer:
    return tiny_scorer


@pytest.fixture(scope="module")
def pipeline(reference: Path) -> Any:
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(reference / "backbone")
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)  # one call per step
    return pipeline


def test_scores_along_the_steps(pipeline: Any, scorer: Scorer) -> None:
    prompts = ["a red cat", "a blue cup"]
    watch = ScoreSteps(scorer, prompts, every=2)
    images = pipeline(
        prompts, generator=torch.Generator().manual_seed(0), output_type="pt",
        callback_on_step_end=watch, **SETTINGS,
    ).images  # fmt: skip
    assert [found.step for found in watch.history] == [1, 3]
    with torch.no_grad():
        last = scorer.score_tensor(images, prompts)
    torch.testing.assert_close(watch.history[-1].scores["alignment"], last["alignment"])


def test_wrong_use(scorer: Scorer) -> None:
    with pytest.raises(ConfigError, match="every is 0; expected a whole number of 1 or more"):
        ScoreSteps(scorer, "a cat", every=0)
