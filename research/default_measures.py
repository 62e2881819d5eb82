"""How the default's recipe does on prompts and generators it has not seen.

    python research/default_measures.py AGIQA3K CACHE RESULTS [SPLIT ...]

Trains heads for each SPLIT ("0" to "9": 80 % of the prompts; "glide@0": the same prompts without a
family of generators, tested on that family's images of the others) that RESULTS does not hold yet, and
prints the table of all it holds; about 2 minutes a split on one core. Splits 0 to 4 chose the recipe
(0 and 1, to be exact), 5 to 9 did not.
The projection of the prompts' fit is learnt anew on the training prompts of each split.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from default_features import Ratings
from default_heads import Cache, Rows, train_branches
from default_networks import Recipe
from numpy.typing import NDArray
from scene_statistics import scene_statistics

from diffagiqa.evaluation.correlations import srcc
from diffagiqa.training.damages import HELD_OUT_DEFECTS

Result = dict[str, NDArray[np.float64]]
TASKS = ("quality", "alignment")
SHARE_MET = 0.75
"""A prompt counts as met above this quantile of the rated alignments."""
WRONG = 6
"""Wrong prompts per image, of other test prompts."""
ALTERED = ("16 tiles", "upside down", "face swirl", "384 pixels", "256 pixels")
RESAMPLES = 500
BASELINES = {
    "kernel": "kernel regression on the same features",
    "scene": "kernel regression on scene statistics (BRISQUE's)",
}
"""Key in the results and title."""


def split(ratings: Ratings, name: str) -> tuple[Rows, Rows]:
    """Numbers of the training and the test images."""
    family, _, repeat = name.rpartition("@")
    order = np.random.default_rng(int(repeat)).permutation(len(ratings.prompts))
    test = np.isin(ratings.prompt, order[: len(order) // 5])
    left_out = ratings.families == family if family else np.ones(len(test), bool)
    train = ~test if not family else ~test & ~left_out
    return np.flatnonzero(train & ratings.usable), np.flatnonzero(test & left_out & ratings.usable)


def tested(cache: Cache, name: str, recipe: Recipe) -> Result:
    """Train on a split and score all that the measures need."""
    ratings = cache.ratings
    train, test = split(ratings, name)
    net = train_branches(cache, train, recipe)
    prompt = ratings.prompt

    def scores(rows: Rows, prompts: Rows, empty: bool = False) -> NDArray[np.float64]:
        return 1 / (1 + np.exp(-net.logits(rows, prompts, empty).astype(np.float64)))

    out: Result = {"test": test, "scores": scores(test, prompt[test])}
    means = {g: ratings.labels[train][ratings.generators[train] == g].mean(0)
             for g in np.unique(ratings.generators[train])}  # fmt: skip
    overall = ratings.labels[train].mean(0)
    out["generator"] = np.array([means.get(g, overall) for g in ratings.generators[test]]).T
    if "@" in name:
        return out
    out["empty"] = scores(test, prompt[test], empty=True)
    met = test[ratings.labels[test, 1] > np.quantile(ratings.labels[:, 1], SHARE_MET)]
    known = np.unique(prompt[test])
    place = np.searchsorted(known, prompt[met])
    wrong = [known[(place + 7 * number) % len(known)] for number in range(1, WRONG + 1)]
    out["met"] = met
    out["right"], out["wrong"] = (
        scores(met, prompt[met])[1],
        np.stack([scores(met, prompts)[1] for prompts in wrong]),
    )
    first = cache.rows["test", ALTERED[0], 1.0]
    images = np.array([image for image in test if image in first])
    out["images"], out["clean"] = images, scores(images, prompt[images])[0]
    cases = [(kind, severity) for kind in HELD_OUT_DEFECTS for severity in (0.4, 0.9)]
    for kind, severity in [*cases, *((kind, 1.0) for kind in ALTERED)]:
        rows = np.array([cache.rows["test", kind, severity][image] for image in images])
        out[f"{kind} {severity}"] = scores(rows, prompt[images])[0]
    return out


def means_of_features(ratings: Ratings, folder: Path) -> NDArray[np.float32]:
    """Of every rated image, the cached features' means over its cells, (n, 3136)."""
    grids = np.load(folder / "grids.npy", mmap_mode="r")
    count = len(ratings.names)
    pieces = [grids[i : i + 500].astype(np.float32).mean(4) for i in range(0, count, 500)]
    return np.concatenate(pieces)[:count].reshape(count, -1)


def scene_features(ratings: Ratings, folder: Path) -> NDArray[np.float64]:
    """Of every rated image, BRISQUE's statistics, (n, 36); kept in the folder."""
    file = folder / "scene.npy"
    if not file.exists():
        images = range(len(ratings.names))
        np.save(file, [scene_statistics(ratings.pixels(image)) for image in images])
    return np.load(file)


def kernel_regression(
    features: NDArray[np.floating], labels: NDArray[np.float64], train: Rows, test: Rows
) -> NDArray[np.float64]:
    """Kernel ridge regression (RBF) of labels (n, 2) on features (n, width): of the test rows, (2, m)."""
    standard = (features - features[train].mean(0)) / (features[train].std(0) + 1e-6)

    def kernel(rows: Rows) -> NDArray[np.float64]:
        a, b = standard[rows], standard[train]
        squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
        return np.exp(-squares.clip(min=0) / standard.shape[1])

    mean = labels[train].mean(0)
    ridge = kernel(train) + 0.1 * np.eye(len(train))
    return (kernel(test) @ np.linalg.solve(ridge, labels[train] - mean) + mean).T


def interval(
    measure: Callable[[Rows], float], units: NDArray[np.int64], seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval of ``measure(indices)``, prompts resampled."""
    numbers = np.random.default_rng(seed)
    members = [np.flatnonzero(units == unit) for unit in np.unique(units)]
    values = [
        measure(
            np.concatenate([members[i] for i in numbers.integers(len(members), size=len(members))])
        )
        for _ in range(RESAMPLES)
    ]
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)


def lines(results: dict[str, Result], ratings: Ratings, repeats: Sequence[str]) -> Iterable[str]:
    """The table's rows for some repeats."""
    chosen = [results[name] for name in repeats if name in results]
    if not chosen:
        return

    def row(title: str, measure: Callable[[Result, Rows], float], units: str = "test") -> str:
        values, bounds = [], []
        for result in chosen:
            prompts = ratings.prompt[result[units].astype(int)]
            values.append(measure(result, np.arange(len(prompts))))
            bounds.append(interval(lambda rows, r=result: measure(r, rows), prompts))
        low, high = np.mean(bounds, axis=0)
        return f"| {title} | {np.median(values):.3f} | {low:.3f} to {high:.3f} |"

    def order(task: int, key: str = "scores") -> Callable[[Result, Rows], float]:
        def measure(result: Result, rows: Rows) -> float:
            return srcc(
                result[key][task][rows], ratings.labels[result["test"].astype(int)[rows], task]
            )

        return measure

    def within(task: int, key: str = "scores") -> Callable[[Result, Rows], float]:
        def measure(result: Result, rows: Rows) -> float:
            images = result["test"].astype(int)[rows]
            made_by, scores = ratings.generators[images], result[key][task][rows]
            labels = ratings.labels[images, task]
            each = [srcc(scores[made_by == g], labels[made_by == g]) for g in np.unique(made_by)]
            return float(np.mean(each))

        return measure

    def below(*keys: str) -> Callable[[Result, Rows], float]:
        return lambda result, rows: float(
            np.mean([(result[key] < result["clean"])[rows] for key in keys])
        )

    def change(result: Result, rows: Rows) -> float:
        sizes = ("clean", "384 pixels 1.0", "256 pixels 1.0")
        means = [result[key][rows].mean() for key in sizes]
        return float(max(means) - min(means))

    for task, title in enumerate(TASKS):
        yield row(f"{title}, SRCC by prompt", order(task))
        yield row(f"{title}, the generator's mean (baseline)", order(task, "generator"))
        for key, name in BASELINES.items():
            yield row(f"{title}, {name}", order(task, key))
        yield row(f"{title}, SRCC within generators (mean of ten)", within(task))
        for key, name in BASELINES.items():
            yield row(f"{title}, {name}, within generators", within(task, key))
    yield row(
        "alignment, SRCC with the right prompt less with the empty one",
        lambda result, rows: order(1)(result, rows) - order(1, "empty")(result, rows),
    )
    yield row(
        "a wrong prompt scores lower (share)",
        lambda result, rows: float((result["wrong"] < result["right"])[:, rows].mean()),
        "met",
    )
    for title, severity in (("mild", 0.4), ("strong", 0.9)):
        keys = [f"{kind} {severity}" for kind in HELD_OUT_DEFECTS]
        yield row(f"held-out damages, {title}, score lower (share)", below(*keys), "images")
    for kind in ALTERED[:3]:
        yield row(f"{kind} scores lower (share)", below(f"{kind} 1.0"), "images")
    yield row("largest change of the mean over 512, 384, 256 pixels", change, "images")


def left_out(results: dict[str, Result], ratings: Ratings) -> Iterable[str]:
    """One row per family of generators and task, and the mean."""
    families = sorted({name.split("@")[0] for name in results if "@" in name})
    for task, key in ((task, key) for task in range(2) for key in ("scores", *BASELINES)):
        title = TASKS[task] + (f", {BASELINES[key]}" if key in BASELINES else "")
        each = []
        for family in families:
            values = []
            for result in (results[name] for name in results if name.startswith(family + "@")):
                labels = ratings.labels[result["test"].astype(int), task]
                values.append(srcc(result[key][task], labels))
            each.append(float(np.mean(values)))
        listed = ", ".join(f"{f} {value:.2f}" for f, value in zip(families, each, strict=True))
        if each:
            yield f"| {title}, unseen family (mean of {len(each)}) | {np.mean(each):.3f} | {listed} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("agiqa3k", "cache", "results"):
        parser.add_argument(name, type=Path)
    parser.add_argument("splits", nargs="*")
    args = parser.parse_args()
    torch.set_num_threads(1)
    ratings, recipe = Ratings(args.agiqa3k), Recipe()
    args.results.mkdir(parents=True, exist_ok=True)
    missing = [name for name in args.splits if not (args.results / f"{name}.npz").exists()]
    cache = Cache(ratings, args.cache, recipe.size) if missing else None
    for name in missing:
        assert cache is not None
        np.savez(args.results / f"{name}.npz", **tested(cache, name, recipe))
        print(f"{name} done", flush=True)
    files = sorted(args.results.glob("*.npz"))
    results = {file.stem: dict(np.load(file)) for file in files}
    features = {
        "kernel": means_of_features(ratings, args.cache),
        "scene": scene_features(ratings, args.cache),
    }
    for name, result in results.items():
        for key, feature in features.items():
            result[key] = kernel_regression(feature, ratings.labels, *split(ratings, name))
    for title, repeats in (("0 to 4", "01234"), ("5 to 9", "56789")):
        print(f"\n| repeats {title} | median | 95 % interval over prompts |\n|---|---|---|")
        print("\n".join(lines(results, ratings, repeats)))
    print("\n| | SRCC | each |\n|---|---|---|")
    print("\n".join(left_out(results, ratings)))


if __name__ == "__main__":
    main()
