"""What sixty ratings teach: recipe ``few`` on prompts that neither the start nor the ratings have seen.

    python research/few_ratings.py AGIQA3K CACHE [RATINGS] [SPLIT ...]

``CACHE``: as default_features.py writes it. For each SPLIT (default 5 and 6) the default's heads are
trained on 80 % of the prompts. Of the others, RATINGS (60) images are drawn, 3 of a prompt, and rated:
by AGIQA-3K's quality; by its alignment, learnt as a new score; by how colourful they are (Hasler and
Suesstrunk's measure as ranks, with a rater's noise of 0.12), of which the start knows nothing. SRCC and
RMSE, on a scale of 0 to 1, are of the images of all other prompts, means over ten draws of each split,
beside the mean rating and beside the start's score mapped by a line.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from default_features import Ratings
from default_folding import folded
from default_heads import (
    FIT_NAMES,
    FIT_WIDTHS,
    LEVELS,
    NAMES,
    OFFSETS,
    Cache,
    Recipe,
    train_branches,
)
from default_measures import split
from numpy.typing import NDArray

from diffagiqa.data.samples import Sample
from diffagiqa.evaluation.correlations import srcc
from diffagiqa.model.scoring import build_model
from diffagiqa.training.data import TrainingData
from diffagiqa.training.few import solve
from diffagiqa.training.inputs import FeatureInputs

Array = NDArray[np.float64]
DRAWS = 10


def colourful(pixels: NDArray[np.uint8]) -> float:
    red, green, blue = (pixels[..., i].astype(float) for i in range(3))
    first, second = red - green, (red + green) / 2 - blue
    spread, shift = np.hypot(first.std(), second.std()), np.hypot(first.mean(), second.mean())
    return float(spread + 0.3 * shift)


def main() -> None:
    ratings, recipe = Ratings(Path(sys.argv[1])), Recipe()
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 60
    torch.set_num_threads(1)
    cache = Cache(ratings, Path(sys.argv[2]), recipe.size)
    results: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for name in sys.argv[4:] or ["5", "6"]:
        train, test = split(ratings, name)
        net = train_branches(cache, train, recipe)
        whole = folded(net)
        config = replace(whole.config, tasks=whole.config.tasks[:1])
        model = build_model(config).eval()
        model.load_state_dict({key: whole.state_dict()[key] for key in model.state_dict()})
        inputs = FeatureInputs(features(net, test))
        with torch.no_grad():
            start = inputs.scores(model, range(len(test)), None)["perception"].numpy()
        order = np.argsort(np.argsort([colourful(ratings.pixels(image)) for image in test]))
        prompts = ratings.prompt[test]
        for seed in range(DRAWS):
            numbers = np.random.default_rng(seed)
            chosen = numbers.permutation(np.unique(prompts))[: -(-count // 3)]
            known = np.concatenate(
                [numbers.choice(np.flatnonzero(prompts == p), 3, replace=False) for p in chosen]
            )
            others = np.flatnonzero(~np.isin(prompts, chosen))
            noise = numbers.normal(0, 0.12, len(test))
            labels = {
                "quality": ratings.labels[test, 0],
                "alignment": ratings.labels[test, 1],
                "colour": (0.1 + 0.8 * order / len(order) + noise).clip(0, 1),
            }
            for kind, label in labels.items():
                data = TrainingData(
                    tuple(Sample(f"{i}", "", "none", i) for i in range(len(test))),
                    torch.from_numpy(label).float()[:, None], config.tasks,
                    torch.zeros(len(test)).long(), ("ratings",),
                )  # fmt: skip
                solved = solve(model, inputs, data, {"train": known.tolist()}).model
                with torch.no_grad():
                    scores = inputs.scores(solved, others.tolist(), None)["perception"].numpy()
                line = np.polyval(np.polyfit(start[known], label[known], 1), start[others])
                constant = np.full(len(others), label[known].mean())
                for what, found in (("mean", constant), ("line", line), ("few", scores)):
                    error = float(np.sqrt(np.mean((found - label[others]) ** 2)))
                    rank = 0.0 if what == "mean" else srcc(found, label[others])
                    results.setdefault((kind, what), []).append((rank, error))
    for (kind, what), figures in results.items():
        rank, error = np.mean(figures, 0)
        print(f"{kind:9}  {what:4}  SRCC {rank:.3f}  RMSE {error:.3f}")


def features(net: object, images: Array) -> dict[str, torch.Tensor]:
    """Of clean images with the empty prompt, as quality sees them: (N, 1, 1, C, size, size) by name."""
    cache = net.cache  # type: ignore[attr-defined]
    side = net.recipe.size  # type: ignore[attr-defined]
    grids = cache.grids[torch.from_numpy(images)].float().unflatten(4, (side, side))
    maps = {
        name: grids[:, scale, kind, OFFSETS[stage] : OFFSETS[stage + 1]]
        for name, (scale, kind, stage) in zip(NAMES, LEVELS, strict=True)
    }
    for name, width in zip(FIT_NAMES, FIT_WIDTHS, strict=True):
        maps[name] = torch.zeros(len(images), width, 1, 1)
    return {name: levels[:, None, None] for name, levels in maps.items()}


if __name__ == "__main__":
    main()
