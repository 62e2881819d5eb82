"""Heads trained on pairs against heads trained on ratings: AGIQA-3K's quality, by prompt.

    python research/pairs_against_ratings.py AGIQA3K CACHE [REPEATS]

``CACHE``: as default_features.py writes it. Both heads have the default's layout and begin at random.
Each prompt's ratings are turned into pairs of its images, twice: "order" keeps which of two is better,
"shares" how many people would say so, by the mean standard deviation of the opinions on an image. The
test part is a fifth of the prompts; its SRCC is over all of its images.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from default_features import STAGES, WIDTHS, Ratings

from diffagiqa.backbones.compact import SCALES
from diffagiqa.data.preferences import PreferenceGroup
from diffagiqa.evaluation.correlations import srcc
from diffagiqa.model.config import TaskConfig
from diffagiqa.pretrained import DEFAULT_MODEL, load_config
from diffagiqa.training.config import TrainingConfig
from diffagiqa.training.inputs import FeatureInputs
from diffagiqa.training.train import train_heads

KINDS = ("ratings", "order", "shares")
TASKS = (TaskConfig("perception", use_text=False),)


def cached(cache: Path, count: int, size: int) -> dict[str, torch.Tensor]:
    """Stages of the images themselves by name, (N, 1, 1, C, size, size), means of the cached cells."""
    grids = np.load(cache / "grids.npy", mmap_mode="r")[:count].astype(np.float32)
    ends = np.cumsum(WIDTHS)
    features = {}
    for scale, number in zip(SCALES, (0, 1), strict=True):
        for kind, end in enumerate(("", ".std")):
            for stage, last, width in zip(STAGES, ends, WIDTHS, strict=True):
                cells = torch.from_numpy(grids[:, number, kind, last - width : last])  # (N,C,16)
                maps = cells.unflatten(2, (4, 4))
                pooled = torch.nn.functional.adaptive_avg_pool2d(maps, size)
                features[f"{scale}.{stage}{end}"] = pooled[:, None, None]
    return features


def orders(
    ratings: np.ndarray, prompts: list[str], rows: list[int], spread: float
) -> tuple[PreferenceGroup, ...]:
    """Ratings (N,) of some rows as an order of the images of each prompt; equal ones are ties."""
    rows_of: dict[str, list[int]] = {}
    for row in rows:
        if np.isfinite(ratings[row]):
            rows_of.setdefault(prompts[row], []).append(row)
    return tuple(
        PreferenceGroup(
            tuple(part), tuple(-float(ratings[row]) for row in part), "perception", spread
        )
        for part in rows_of.values()
        if len(part) > 1
    )


def main() -> None:
    ratings = Ratings(Path(sys.argv[1]))
    repeats = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    torch.set_num_threads(1)
    model = load_config(DEFAULT_MODEL)
    features = cached(Path(sys.argv[2]), len(ratings.names), model.pyramid_size)
    model = replace(
        model, tasks=TASKS, prompting="none", features=tuple(features),
        feature_channels=tuple(maps.shape[3] for maps in features.values()),
        familiar_features=(), familiar_channels=(),
    )  # fmt: skip
    config = TrainingConfig(
        model=model, epochs=12, min_steps=0, batch_size=64, patience=0, ema=0.98, weight_decay=0.1
    )
    labels = torch.tensor(ratings.labels[:, :1], dtype=torch.float32)
    opinion = float(ratings.table["std_quality"].mean()) / 5
    names = [ratings.prompts[number] for number in ratings.prompt]
    results = []
    for repeat in range(repeats):
        prompts = np.random.default_rng(repeat).permutation(len(ratings.prompts))
        tested = np.isin(ratings.prompt, prompts[: len(prompts) // 5])
        train = np.flatnonzero(~tested & ratings.usable).tolist()
        test = np.flatnonzero(tested & ratings.usable).tolist()
        split = {"train": train, "validation": []}
        row = []
        for kind, spread in zip(KINDS, (0.0, 0.0, opinion), strict=True):
            given = labels if kind == "ratings" else torch.full_like(labels, float("nan"))
            groups = orders(ratings.labels[:, 0], names, train, spread)
            fitted = train_heads(
                features, given, split, replace(config, seed=repeat), tasks=TASKS,
                groups=() if kind == "ratings" else groups, log=lambda text: None,
            )  # fmt: skip
            with torch.no_grad():
                scores = FeatureInputs(features).scores(fitted.model, test, None)["perception"]
            row.append(srcc(scores.numpy(), ratings.labels[test, 0]))
        results.append(row)
        print(f"repeat {repeat}: {said(row)}", flush=True)
    print(f"mean SRCC of {repeats} repeats: {said(np.mean(results, 0))}")


def said(row: Sequence[float]) -> str:
    return ", ".join(f"{kind} {value:.4f}" for kind, value in zip(KINDS, row, strict=True))


if __name__ == "__main__":
    main()
