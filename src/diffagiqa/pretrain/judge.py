"""Do samples show what was asked for? A small classifier, trained on synthetic pictures, judges them.

It knows nothing of the model that it judges: other weights, other training pictures (another seed).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffagiqa.pretrain.pictures import to_tensor
from diffagiqa.pretrain.word_labels import attribute_values, attribute_vector

if TYPE_CHECKING:
    from diffagiqa.synth.scene import Scene

ASPECTS = ("kind", "colour", "background", "style")


class Judge(nn.Module):
    """A plain CNN over (B, 3, S, S) in [-1, 1] -> one logit per value of the ``ASPECTS``, (B, V)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        numbers = attribute_values()
        self.values = [value for value in numbers if value[0] in ASPECTS]
        self.columns = [numbers[value] for value in self.values]
        widths = [width, 2 * width, 4 * width, 6 * width]
        self.stem = nn.Conv2d(3, width, 5, stride=2, padding=2)
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
                nn.Conv2d(after, after, 3, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            )
            for before, after in zip([width, *widths], widths, strict=False)
        )
        self.last = nn.Conv2d(widths[-1], len(self.values), 1)
        self.place = nn.Parameter(torch.zeros(len(self.values)))

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.stem(images)
        for stage in self.stages:
            hidden = stage(hidden)
        maps = self.last(hidden).float().flatten(2)  # (B,V,hw)
        best = torch.logsumexp(maps, 2) - float(np.log(maps.shape[2]))
        return torch.lerp(maps.mean(2), best, self.place.sigmoid())

    def truth(self, scenes: Sequence[Scene]) -> Tensor:
        """Which values each scene shows, (B, V) of 0 and 1."""
        return torch.tensor([attribute_vector(scene) for scene in scenes])[:, self.columns].float()


@torch.random.fork_rng(devices=[])  # weights come from a stream of its own
def train_judge(
    images: Sequence[np.ndarray],
    scenes: Sequence[Scene],
    *,
    minutes: float,
    batch: int = 64,
    seed: int = 0,
) -> Judge:
    """Binary cross-entropy on every value, true ones weighing more; mirrored pictures; AdamW, cosine."""
    import time

    torch.manual_seed(seed)
    numbers = np.random.default_rng(seed)
    judge = Judge().to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    truth = judge.truth(scenes)
    optimiser = torch.optim.AdamW(judge.parameters(), lr=2e-3, weight_decay=0.02)
    began, share = time.monotonic(), 0.0
    while share < 1.0:
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * share)))
        chosen = numbers.integers(len(images), size=batch)
        stacked = to_tensor([images[i] for i in chosen])
        if numbers.random() < 0.5:
            stacked = stacked.flip(3)
        found = judge(stacked.contiguous(memory_format=torch.channels_last))
        loss = F.binary_cross_entropy_with_logits(
            found, truth[chosen], pos_weight=torch.tensor(8.0)
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        share = (time.monotonic() - began) / (60 * minutes)
    return judge.eval()


@dataclass(frozen=True)
class Accuracy:
    """Of one aspect: the share of asked values that are among the classifier's first choices.

    For background and style the first one; for kind and colour as many as were asked for.
    """

    aspect: str
    right: float
    asked: int


@torch.inference_mode()
def attribute_accuracy(
    judge: Judge, images: Sequence[np.ndarray], scenes: Sequence[Scene]
) -> list[Accuracy]:
    """How many of the attributes that scenes ask for the judge finds in the pictures, by aspect."""
    logits = torch.cat([judge(to_tensor(images[i : i + 64])) for i in range(0, len(images), 64)])
    truth = judge.truth(scenes)
    found = []
    for aspect in ASPECTS:
        columns = [i for i, value in enumerate(judge.values) if value[0] == aspect]
        hits = asked = 0
        for row, wanted in zip(logits[:, columns], truth[:, columns], strict=True):
            count = int(wanted.sum())
            first = row.topk(count).indices
            hits += int(wanted[first].sum())
            asked += count
        found.append(Accuracy(aspect, hits / max(1, asked), asked))
    return found
