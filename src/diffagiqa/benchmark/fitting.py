"""Train a baseline network on one trial: same labels, same loss, same early stopping as the method."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from diffagiqa.benchmark.classical import contrast_normalised, luma
from diffagiqa.benchmark.frame import Predictions, Trial
from diffagiqa.benchmark.networks import BagOfWords, PlainCNN, PlainViT, Regressor
from diffagiqa.data.images import decode_image, fit_image
from diffagiqa.evaluation.correlations import srcc
from diffagiqa.training.data import Rows, data_order, may_flip
from diffagiqa.training.losses import plcc_loss
from diffagiqa.training.optimiser import lr_factor


@dataclass(frozen=True)
class Budget:
    """What every baseline network may spend."""

    epochs: int = 30
    batch_size: int = 32
    lr: float = 1e-3
    patience: int = 8
    image_size: int = 512
    crop: int = 224
    """Crops are cut at the picture's own detail; at test time a grid that covers it is averaged."""


NETWORKS: dict[str, Callable[[int, int], Regressor]] = {
    "cnn": lambda tasks, crop: Regressor(PlainCNN(), None, tasks),
    "cnn + text": lambda tasks, crop: Regressor(PlainCNN(), BagOfWords(), tasks),
    "vit": lambda tasks, crop: Regressor(PlainViT(crop), None, tasks),
    "vit + text": lambda tasks, crop: Regressor(PlainViT(crop), BagOfWords(), tasks),
}


def load_pictures(rows: Rows, size: int) -> Tensor:
    """All pictures, (N, 4, size, size) uint8; 1 MB each at 512.

    Three channels are the picture, the fourth its luminance with local mean and contrast taken out, which
    CNNs from scratch are usually given (CNNIQA, Kang et al. 2014): without it they hardly find noise and
    blur beside what is shown.
    """
    pictures = torch.empty(len(rows), 4, size, size, dtype=torch.uint8)
    for number, sample in enumerate(rows.samples):
        picture = (fit_image(decode_image(sample.source), size) * 255).round().to(torch.uint8)
        normalised = contrast_normalised(luma(picture.movedim(0, 2).numpy()))
        pictures[number, :3] = picture
        pictures[number, 3] = torch.from_numpy((normalised * 50 + 128).clip(0, 255))
    return pictures


@torch.random.fork_rng(devices=[])  # weights and dropout come from a stream of its own
def fit_network(name: str, trial: Trial, pictures: Tensor, budget: Budget) -> Predictions:
    """Train the named network from scratch and predict the test rows."""
    torch.manual_seed(trial.seed)
    random = np.random.default_rng(trial.seed)
    labels, prompts = trial.rows.labels, trial.rows.prompts
    network = NETWORKS[name](labels.shape[1], budget.crop)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(network.parameters(), lr=budget.lr, weight_decay=0.05)
    batches = max(1, len(trial.train) // budget.batch_size)
    schedule = warm_up_and_cosine(optimiser, budget.epochs * batches)
    best, best_state, waited = np.nan, network.state_dict(), 0
    for epoch in range(budget.epochs):
        network.train()
        order = data_order(trial.seed, epoch, trial.train)
        for start in range(0, batches * budget.batch_size, budget.batch_size):
            chosen = order[start : start + budget.batch_size]
            crops = _random_crops(pictures, chosen, prompts, budget.crop, random)
            scores = _scores(network, crops, [prompts[row] for row in chosen])
            loss = _loss(scores, labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        found = predict_network(network, pictures, prompts, trial.validation, budget.crop)
        value = _mean_srcc(found, labels[list(trial.validation)].numpy())
        waited += 1
        if value > best or np.isnan(best):  # NaN: so far validation has told nothing
            best, best_state, waited = value, copy.deepcopy(network.state_dict()), 0
        if waited >= budget.patience:
            break
    network.load_state_dict(best_state)
    return predict_network(network, pictures, prompts, trial.test, budget.crop)


@torch.inference_mode()
def predict_network(
    network: Regressor, pictures: Tensor, prompts: list[str], rows: object, crop: int
) -> Predictions:
    """(len(rows), tasks): scores averaged over a grid of crops that covers the picture."""
    network.eval()
    size = pictures.shape[-1]
    across = math.ceil(size / crop)
    steps = [round(i * (size - crop) / max(1, across - 1)) for i in range(across)]
    results = []
    for row in list(rows):  # type: ignore[call-overload]
        crops = torch.stack(
            [pictures[row, :, y : y + crop, x : x + crop] for y in steps for x in steps]
        )
        results.append(_scores(network, crops.float() / 255, [prompts[row]] * len(crops)).mean(0))
    return torch.stack(results).numpy()


def warm_up_and_cosine(
    optimiser: torch.optim.Optimizer, steps: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """The method's own schedule, over a tenth of the steps up and then a cosine down."""
    return torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: lr_factor(step, steps, 0.1))


def _scores(network: Regressor, crops: Tensor, prompts: list[str]) -> Tensor:
    # Predictions are in float32, as the method's are: rounded ones are ties.
    with torch.autocast("cpu", torch.bfloat16, enabled=network.training):
        return network(crops.contiguous(memory_format=torch.channels_last), prompts).float()


def _random_crops(
    pictures: Tensor, rows: list[int], prompts: list[str], crop: int, random: np.random.Generator
) -> Tensor:
    size = pictures.shape[-1]
    crops = []
    for row in rows:
        y, x = random.integers(0, size - crop + 1, 2)
        cut = pictures[row, :, y : y + crop, x : x + crop]
        crops.append(cut.flip(2) if random.random() < 0.5 and may_flip(prompts[row]) else cut)
    return torch.stack(crops).float() / 255


def _loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Huber and correlation, as the method's default objective; missing labels masked."""
    parts = []
    for task in range(labels.shape[1]):
        known = ~labels[:, task].isnan()
        if int(known.sum()) >= 2:
            x, y = scores[known, task], labels[known, task]
            parts.append(
                torch.nn.functional.huber_loss(x, y, delta=0.1) * 10 + 0.5 * plcc_loss(x, y)
            )
    return torch.stack(parts).mean() if parts else scores.sum() * 0


def _mean_srcc(scores: np.ndarray, labels: np.ndarray) -> float:
    values = []
    for task in range(labels.shape[1]):
        known = np.isfinite(labels[:, task])
        values.append(srcc(scores[known, task], labels[known, task]))
    return float(np.nanmean(values))
