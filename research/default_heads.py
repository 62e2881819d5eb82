"""The default's pyramid and heads, trained on cached features.

    python research/default_heads.py AGIQA3K CACHE MODEL [--split SPLIT]

``CACHE``: as default_features.py wrote it. ``MODEL``: the folder to write, ``config.json`` and
``model.safetensors``, from all prompts, or from the training part of a split of default_measures.py.
About 2 minutes on one core.

``Branches`` are narrow networks (default_networks.py) trained side by side on the same batches;
default_folding.py makes them one ``DiffAGIQA`` that gives the mean of their logits.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from build_fit import fill
from default_features import STAGES, WIDTHS, Ratings
from default_networks import Head, Levels, Recipe
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from diffagiqa.backbones.compact import SCALES
from diffagiqa.backbones.prompt_fit import PromptFit, word_statistics
from diffagiqa.backbones.tensors import read_tensors

Rows = NDArray[np.int64]
OFFSETS = np.concatenate([[0], np.cumsum(WIDTHS)])
LEVELS = [(s, kind, stage) for s in range(len(SCALES)) for stage in range(7) for kind in range(2)]
"""Scale, kind (means, deviations) and stage of every level of the pyramid, before those of fit."""
NAMES = [f"{SCALES[s]}.{STAGES[stage]}{('', '.std')[kind]}" for s, kind, stage in LEVELS]
FIT_NAMES = ("fit.prompt", "fit.words")
FIT_WIDTHS = (2, 8)
FIT_UNIT = torch.tensor([0.06, 0.08, *[0.06] * 6, 0.05, 0.05])
"""About what the maps of fit deviate by."""
FOLDS = 4
"""Of the prompts: each is fitted to images by a projection that was learnt without its fold."""


class Cache:
    """The features in memory, at the pyramid's size."""

    def __init__(self, ratings: Ratings, folder: Path, size: int) -> None:
        self.ratings = ratings
        copies = ratings.copies()
        done = np.load(folder / "done.npy")
        if not done.all():
            raise SystemExit(f"{folder} lacks {(done == 0).sum()} rows; run default_features.py")
        self.image = np.array([copy.image for copy in copies])
        self.heads = torch.from_numpy(np.load(folder / "heads.npy"))
        text = load_file(folder / "text.safetensors")
        self.names, self.sentences, self.words = (
            text[k].float() for k in ("names", "prompts", "words")
        )
        self.counts = text["counts"].tolist()
        mapped = np.load(folder / "grids.npy", mmap_mode="r")
        pieces = [_pooled(mapped[i : i + 500], size) for i in range(0, len(copies), 500)]
        self.grids = torch.cat(pieces)  # (rows,2,2,784,size*size) float16
        self.size = size
        self.fold = np.random.default_rng(0).permutation(len(ratings.prompts)) % FOLDS
        self.rows: dict[tuple[str, str, float], dict[int, int]] = {}
        for row, copy in enumerate(copies):
            kind, severity = (copy.kind, copy.severity) if copy.use == "test" else ("", 0.0)
            self.rows.setdefault((copy.use, kind, severity), {})[copy.image] = row

    def copies(self, use: str, images: Rows) -> Rows:
        """Rows of the images' copies of a ``use`` for training, -1 where there is none."""
        rows = self.rows[use, "", 0.0]
        return np.array([rows.get(image, -1) for image in images.tolist()])

    @torch.no_grad()
    def fits(self, train: Rows) -> Tensor:
        """What ``fit.prompt`` and ``fit.words`` are of every row and prompt, (rows, prompts, 10).

        By a projection learnt on the images ``train``; for these themselves and their copies by one
        learnt without the prompts of their fold.
        """
        prompt = self.ratings.prompt
        fits = self._applied(self._learnt(train), self.heads)
        own = np.isin(prompt, prompt[train])[self.image]
        for number in range(FOLDS):
            rows = np.flatnonzero(own & (self.fold[prompt[self.image]] == number))
            others = self._learnt(train[self.fold[prompt[train]] != number])
            fits[rows] = self._applied(others, self.heads[rows])
        return fits / FIT_UNIT

    def _learnt(self, train: Rows) -> PromptFit:
        shipped = Path(__file__).parents[1] / "src/diffagiqa/weights/compact/fit.safetensors"
        fit = PromptFit()
        fit.load_state_dict(dict(read_tensors(shipped, torch.float32)))  # for its classifier
        prompts = self.ratings.prompt[train]
        words = self.words.split(self.counts)
        labels = torch.from_numpy(self.ratings.labels[train, 1] * 5).float()
        known = torch.cat([words[number] for number in np.unique(prompts)])
        fill(fit, self.names, self.heads[train], self.sentences[prompts], known, labels)
        return fit

    def _applied(self, fit: PromptFit, heads: Tensor) -> Tensor:
        small, large = heads.chunk(2, dim=1)
        image = fit.image(small[:, :, None, None], large[:, :, None, None])  # (R,2,384)
        prompts = torch.einsum("rvc,pc->rpv", image, fit.sentence(self.sentences))
        statistics = []
        for words in fit.words(self.words).split(self.counts):
            cosines = image @ words.T
            mask = torch.ones(len(image), len(words), dtype=torch.bool)
            statistics.append(word_statistics(cosines, mask))
        return torch.cat([prompts, torch.stack(statistics, dim=1)], dim=2)


def _pooled(cells: NDArray[np.float16], size: int) -> Tensor:
    grid = torch.from_numpy(np.asarray(cells)).float().unflatten(4, (4, 4))
    return F.avg_pool2d(grid.flatten(0, 2), 4 // size).view(*grid.shape[:4], -1).half()


class Branches(nn.Module):
    """Pyramids and heads, and how the cached features enter them."""

    def __init__(self, recipe: Recipe, cache: Cache, train: Rows) -> None:
        super().__init__()
        self.recipe, self.cache = recipe, cache
        widths = [WIDTHS[stage] for _, _, stage in LEVELS]
        self.image_levels = Levels(widths, recipe.branches, recipe.channels)
        self.fit_levels = Levels(list(FIT_WIDTHS), recipe.branches, recipe.channels)
        self.heads = nn.ModuleList(Head(len(widths) + 2, recipe) for _ in range(2))
        known = cache.grids[torch.from_numpy(train)].float()
        self.mean = known.mean((0, 4))[..., None]
        self.unit = (known - self.mean).square().mean((0, 4)).sqrt()[..., None] + 1e-3
        self.fits = cache.fits(train)

    def levels(self, rows: Rows, known: int | None = None) -> Tensor:
        """The image's maps of rows of the cache."""
        x = (self.cache.grids[torch.from_numpy(rows)].float() - self.mean) / self.unit
        if self.training:
            x = x * F.dropout(torch.ones(*x.shape[:4], 1), self.recipe.feature_dropout)
        parts = [
            x[:, scale, kind, OFFSETS[stage] : OFFSETS[stage + 1]].transpose(1, 2).flatten(0, 1)
            for scale, kind, stage in LEVELS
        ]
        cells = self.recipe.size**2
        return self.image_levels(parts, None if known is None else known * cells)

    def fit(self, fits: Tensor) -> Tensor:
        """(images, 10) -> maps of the levels of fit."""
        cells = fits.repeat_interleave(self.recipe.size**2, 0)
        return self.fit_levels(list(cells.split(FIT_WIDTHS, dim=1)))

    @torch.inference_mode()
    def logits(self, rows: Rows, prompts: Rows, empty: bool = False) -> NDArray[np.float32]:
        """Quality and alignment of rows with prompts, before the sigmoid, (2, n)."""
        self.eval()
        parts = []
        for start in range(0, len(rows), 512):
            part = slice(start, start + 512)
            maps, fits = self.levels(rows[part]), self.fits[rows[part], prompts[part]]
            none = self.fit(torch.zeros_like(fits))
            given = none if empty else self.fit(fits)
            pair = zip(self.heads, (none, given), strict=True)
            parts.append(torch.stack([head(torch.cat([maps, f])).mean(0) for head, f in pair]))
        return torch.cat(parts, dim=1).numpy()


def correlation_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """(branches, n), (n,) -> the sum over branches of (1 - Pearson's r) / 2."""
    x, y = scores - scores.mean(1, keepdim=True), labels - labels.mean()
    r = (x * y).sum(1) / (x.norm(dim=1) * y.norm()).clamp_min(1e-6)
    return ((1 - r) / 2).sum()


def hinge(better: Tensor, worse: Tensor, margin: float = 0.05) -> Tensor:
    """(branches, pairs) each -> the sum over branches of the mean of relu(margin - difference)."""
    return F.relu(margin - (better - worse)).mean(1).sum()


def pairs(labels: Tensor, least: float, among: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Indices of all pairs whose labels differ by more than ``least``, the better one first."""
    chosen = labels[:, None] - labels > least
    return torch.nonzero(chosen if among is None else chosen & among, as_tuple=True)


def train_branches(cache: Cache, train: Rows, recipe: Recipe, seed: int = 0) -> Branches:
    """Train on the images ``train``; weights are averaged over the last steps."""
    torch.manual_seed(seed)
    numbers = np.random.default_rng(seed)
    net, ratings = Branches(recipe, cache, train), cache.ratings
    steps = len(train) // recipe.batch * recipe.epochs
    optimiser = torch.optim.AdamW(net.parameters(), recipe.lr, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.lr, steps + 1, pct_start=0.15)
    start = int(recipe.averaged_from * steps)
    average: dict[str, Tensor] = {}
    order = np.zeros(0, np.int64)
    for step in range(steps):
        if len(order) < recipe.batch:
            order = numbers.permutation(train)
        images, order = order[: recipe.batch], order[recipe.batch :]
        net.train()
        loss = batch_loss(net, images, numbers, ratings, train)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5.0 * recipe.branches)
        optimiser.step()
        schedule.step()
        if step >= start:
            for name, tensor in net.state_dict().items():
                average.setdefault(name, tensor.clone()).lerp_(tensor, 0.02)
    net.load_state_dict(average)
    return net.eval()


def batch_loss(
    net: Branches, images: Rows, numbers: np.random.Generator, ratings: Ratings, train: Rows
) -> Tensor:
    """The sum over branches of all losses of a batch."""
    recipe, cache, count = net.recipe, net.cache, len(images)
    smaller = cache.copies("smaller", images)
    rows = np.where((numbers.random(count) < recipe.smaller) & (smaller >= 0), smaller, images)
    altered = np.stack([cache.copies(use, images) for use in ("mild", "strong", "structure")])
    compared = np.flatnonzero((altered >= 0).all(0))[: recipe.compared]
    maps = net.levels(np.concatenate([rows, altered[:, compared].ravel()]), count)
    prompts = ratings.prompt[images]
    wrong = wrong_prompts(prompts, np.unique(ratings.prompt[train]), cache.fold, numbers)
    nothing = torch.zeros(maps.shape[2] // recipe.size**2, 10)
    fits = net.fit(torch.cat([net.fits[rows, prompts], net.fits[rows, wrong], nothing]))
    cells = count * recipe.size**2
    quality = torch.sigmoid(net.heads[0](torch.cat([maps, fits[:, :, 2 * cells :]]), cells))
    both = torch.cat([maps[:, :, :cells]] * 2, dim=2)
    alignment, mismatch = torch.sigmoid(
        net.heads[1](torch.cat([both, fits[:, :, : 2 * cells]]))
    ).chunk(2, dim=1)
    rated, copied = quality[:, :count], quality[:, count:].chunk(3, dim=1)
    generators = np.unique(ratings.generators, return_inverse=True)[1][images]
    same = torch.from_numpy(generators[:, None] == generators)
    labels = torch.from_numpy(ratings.labels[images]).float()
    loss = torch.zeros(())
    for scores, label in ((rated, labels[:, 0]), (alignment, labels[:, 1])):
        loss = loss + recipe.mse * (scores - label).square().mean(1).sum()
        loss = loss + recipe.plcc * correlation_loss(scores, label)
        first, second = pairs(label, 0.04, same)
        loss = loss + 5 * recipe.within * hinge(scores[:, first], scores[:, second])
    first, second = pairs(labels[:, 0], 0.05)
    loss = loss + recipe.ranking * hinge(rated[:, first], rated[:, second], 0.1)
    if len(compared):
        clean, (mild, strong, structure) = rated[:, compared], copied
        ordered = hinge(clean, mild) + hinge(mild, strong) + hinge(clean, structure)
        loss = loss + 3 * recipe.order * (ordered + 0.5 * hinge(clean, strong))
    lower = (mismatch - 0.3 * labels[:, 1]).square().mean(1).sum()
    gap = F.relu(0.5 * labels[:, 1] - (alignment - mismatch)).mean(1).sum()
    return loss + recipe.wrong * (lower + gap)


def wrong_prompts(prompts: Rows, known: Rows, fold: Rows, numbers: np.random.Generator) -> Rows:
    """Another known prompt of the same fold for each, which the projection knows as little."""
    out = prompts.copy()
    for i, prompt in enumerate(prompts):
        out[i] = numbers.choice(known[(fold[known] == fold[prompt]) & (known != prompt)])
    return out


def main() -> None:
    from default_folding import write_model  # these read this module
    from default_measures import split

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("agiqa3k", "cache", "model"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--split")
    args = parser.parse_args()
    torch.set_num_threads(1)
    recipe, ratings = Recipe(), Ratings(args.agiqa3k)
    train = split(ratings, args.split)[0] if args.split else np.flatnonzero(ratings.usable)
    net = train_branches(Cache(ratings, args.cache, recipe.size), train, recipe)
    write_model(net, args.model)


if __name__ == "__main__":
    main()
