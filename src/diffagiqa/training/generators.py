"""A second task in training: say which generator made an image, from what each head has fused.

A database's ratings differ most between generators, and this teaches the heads to tell those apart. The
linear layers are thrown away after training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffagiqa.model.head import ScoreHead
from diffagiqa.model.scoring import DiffAGIQA
from diffagiqa.training.data import TrainingData

UNKNOWN = -1


class GeneratorClassifier(nn.Module):
    """Which of the training rows' generators made an image, from the fused maps of every head."""

    def __init__(
        self, model: DiffAGIQA, data: TrainingData, train: Sequence[int], seed: int
    ) -> None:
        super().__init__()
        names = generators_of(data, train)
        numbers = {name: number for number, name in enumerate(names)}
        self.generators = torch.tensor(
            [numbers.get(sample.generator or "", UNKNOWN) for sample in data.samples]
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = nn.ModuleDict(
                {task: nn.Linear(_width(head), len(names)) for task, head in model.heads.items()}
            )

    def forward(self, fused: Mapping[str, Tensor]) -> list[Tensor]:
        """Fused maps by task, (B, C, P, P) each -> logits of the generators, (B, generators) each."""
        pooled = {task: maps.float().mean((2, 3)) for task, maps in fused.items()}
        # Without a skip's channel, which is the score's own.
        return [layer(pooled[task][:, : layer.in_features]) for task, layer in self.layers.items()]

    def loss(self, logits: Sequence[Tensor], rows: Sequence[int]) -> Tensor:
        """Cross-entropy, mean over tasks and over the rows whose generator is known; 0 without any."""
        wanted = self.generators[torch.as_tensor(rows)].to(logits[0].device)
        if bool((wanted == UNKNOWN).all()):
            return logits[0].sum() * 0
        losses = [F.cross_entropy(task, wanted, ignore_index=UNKNOWN) for task in logits]
        return torch.stack(losses).mean()


def _width(head: nn.Module) -> int:
    """Channels of what a head has fused."""
    last = head.regressor[0] if isinstance(head, ScoreHead) else head.score  # type: ignore[index]
    assert isinstance(last, nn.Linear)
    return last.in_features


def generators_of(data: TrainingData, rows: Sequence[int]) -> list[str]:
    """The generators that some rows name."""
    return sorted({name for row in rows if (name := data.samples[row].generator)})
