"""The CLIPScore of a small world: a contrastive image-text model trained from scratch on the captions.

Hessel et al. (2021) score a caption by the cosine of CLIP's two embeddings, at least 0. Here both
encoders learn on the training pictures and their prompts alone, by CLIP's symmetric loss (Radford et
al. 2021); no opinion score is used, so the score speaks of alignment only.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffagiqa.benchmark.fitting import Budget, warm_up_and_cosine
from diffagiqa.benchmark.frame import Predictions, Trial
from diffagiqa.benchmark.networks import BagOfWords, PlainCNN
from diffagiqa.training.data import data_order


class ImageTextModel(nn.Module):
    """Two encoders into one space of unit vectors, and CLIP's learned temperature."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.image, self.text = PlainCNN(channels=3), BagOfWords()
        self.project_image = nn.Linear(self.image.out_channels, width)
        self.project_text = nn.Linear(self.text.out_channels, width)
        self.log_scale = nn.Parameter(torch.tensor(np.log(1 / 0.07), dtype=torch.float32))

    def forward(self, images: Tensor, prompts: list[str]) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) in [0, 1] and B prompts -> two (B, width) of unit length."""
        image = self.project_image(self.image(images).float())
        text = self.project_text(self.text(prompts))
        return F.normalize(image, dim=1), F.normalize(text, dim=1)


@torch.random.fork_rng(devices=[])  # weights and dropout come from a stream of its own
def fit_contrastive(trial: Trial, pictures: Tensor, budget: Budget) -> Predictions:
    """Train on the training prompts; predict the cosine (at least 0) for every task's column."""
    torch.manual_seed(trial.seed)
    prompts = trial.rows.prompts
    model = ImageTextModel()
    optimiser = torch.optim.AdamW(model.parameters(), lr=budget.lr, weight_decay=0.05)
    batches = max(1, len(trial.train) // budget.batch_size)
    schedule = warm_up_and_cosine(optimiser, budget.epochs * batches)
    for epoch in range(budget.epochs):
        order = data_order(trial.seed, epoch, trial.train)
        for start in range(0, batches * budget.batch_size, budget.batch_size):
            chosen = order[start : start + budget.batch_size]
            image, text = model(
                _whole(pictures[chosen], budget.crop), [prompts[row] for row in chosen]
            )
            loss = contrastive_loss(
                model.log_scale.clamp(max=4.6).exp() * image @ text.T,
                [prompts[row] for row in chosen],
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    model.eval()
    scores = []
    with torch.inference_mode():
        for row in trial.test:
            image, text = model(_whole(pictures[[row]], budget.crop), [prompts[row]])
            scores.append(max(float((image * text).sum()), 0.0))
    return np.repeat(np.array(scores)[:, None], trial.labels.shape[1], axis=1)


def contrastive_loss(similarity: Tensor, prompts: list[str]) -> Tensor:
    """CLIP's symmetric cross-entropy; pictures of the same prompt are all counted as right.

    ``similarity`` (B, B), images by texts, already scaled.
    """
    names = {prompt: i for i, prompt in enumerate(dict.fromkeys(prompts))}
    ids = torch.tensor([names[prompt] for prompt in prompts])
    right = (ids[:, None] == ids).float()
    right = right / right.sum(1, keepdim=True)
    return -0.5 * (
        (right * similarity.log_softmax(1)).sum(1).mean()
        + (right * similarity.T.log_softmax(1)).sum(1).mean()
    )


def _whole(pictures: Tensor, size: int) -> Tensor:
    """The whole picture at the network's size: what it shows matters here, not its detail."""
    return F.interpolate(pictures[:, :3].float() / 255, size=size, mode="bilinear", antialias=True)
