"""An image must look better than its damaged copy, and a mild defect better than the same one stronger.

Databases hold no image before and after a defect, so a head can do well on them by telling generators
apart, and then take little notice of damage. Nobody rated the copies: only their order counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from diffagiqa.data.databases.listing import PERCEPTION
from diffagiqa.model.scoring import DiffAGIQA
from diffagiqa.training.data import TrainingData
from diffagiqa.training.inputs import Inputs
from diffagiqa.training.processes import Processes

MARGIN = 0.03  # of the scale [0, 1]


class DamageRanking:
    """Which rows hold the copies of which image, and the loss on their order."""

    def __init__(self, data: TrainingData) -> None:
        self.copies: dict[int, list[int]] = {}
        for row, made in data.augmented.items():
            if made.damage:  # milder copies come before stronger ones
                self.copies.setdefault(made.image, []).append(row)

    def loss(
        self, model: DiffAGIQA, inputs: Inputs, chosen: Sequence[int], local: slice, processes: Processes
    ) -> Tensor:  # fmt: skip
        """Mean over the pairs among (image, mild, strong) of relu(margin - difference of scores).

        ``chosen``: rows of the micro-batch, ``local`` those that this process computes. Images without
        copies take no part. The model scores as it does in use, without dropout and with BatchNorm's
        running statistics: among damaged images alone a batch's own would hide the damage.
        """
        known = torch.tensor([row in self.copies for row in chosen])
        if not bool(known.any()):
            return torch.zeros((), device=processes.device)
        triples = [[row, *self.copies.get(row, (row, row))] for row in chosen[local]]
        # An image without copies is scored too, once: every process must have the same gradients.
        rows = list(dict.fromkeys(row for triple in triples for row in triple))
        position = {row: i for i, row in enumerate(rows)}
        training = model.training
        model.eval()
        scores = inputs.scores(model, rows, None)[PERCEPTION].float()
        model.train(training)
        scores = scores[torch.tensor([[position[row] for row in triple] for triple in triples])]
        original, mild, strong = processes.gather(scores)[known].unbind(1)
        drops = torch.stack([original - mild, mild - strong, original - strong])
        return F.relu(MARGIN - drops).mean()
