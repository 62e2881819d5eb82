"""With bfloat16 in training, scores that are compared are not rounded to its steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from made_up import made_up_rows, small_model

from diffagiqa.backbones.base import Backbone
from diffagiqa.model.scoring import build_model
from diffagiqa.training.determinism import Step
from diffagiqa.training.features import CacheOptions, cached_features
from diffagiqa.training.inputs import FeatureInputs, ImageInputs, Inputs

LOW = "bfloat16"
FULL = "float32"


def test_scores_of_validation_are_those_of_float32(tmp_path: Path, backbone: Backbone) -> None:
    rows = made_up_rows(tmp_path, 12)
    torch.manual_seed(0)
    model = build_model(replace(small_model(), tasks=rows.tasks)).eval()
    options = CacheOptions(1, False, "float32")
    kept = cached_features(
        tmp_path / "cache", rows, model, backbone, options, log=lambda text: None
    )
    every = list(range(12))

    def score(source: Inputs, step: Step | None) -> np.ndarray:
        with torch.no_grad():
            return source.scores(model, every, step)["perception"].double().numpy()

    pictures = {kind: ImageInputs(rows, model.config, backbone, kind) for kind in (LOW, FULL)}
    features = {kind: FeatureInputs(kept.maps, kind) for kind in (LOW, FULL)}
    step = Step(0, 3, 12, 0, 12)
    for sources in (pictures, features):
        np.testing.assert_array_equal(score(sources[LOW], None), score(sources[FULL], None))
        rounded, exact = score(sources[LOW], step), score(sources[FULL], step)
        assert not np.array_equal(rounded, exact)  # a step is in bfloat16
        assert len(np.unique(rounded)) == 12  # and still has no ties
