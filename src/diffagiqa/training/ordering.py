"""A picture must look better than its damaged copy, and a mild defect better than the same one stronger.

Databases hold no picture before and after a defect, so a head can do well on them by telling generators
apart, and then take little notice of damage. Nobody rated the copies: only their order counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from diffagiqa.model.scoring import DiffAGIQA
from diffagiqa.training.data import Rows
from diffagiqa.training.processes import Processes
from diffagiqa.training.sources import Source
from diffagiqa.training.unrated import PERCEPTION

MARGIN = 0.03  # of the scale [0, 1]


class Ordering:
    """Which rows hold the copies of which picture, and the loss on their order."""

    def __init__(self, rows: Rows) -> None:
        self.copies: dict[int, list[int]] = {}
        for row, origin in rows.unrated.items():
            if origin.damage:  # milder copies come before stronger ones
                self.copies.setdefault(origin.picture, []).append(row)

    def loss(
        self, model: DiffAGIQA, source: Source, chosen: Sequence[int], own: slice, processes: Processes
    ) -> Tensor:  # fmt: skip
        """Mean over the pairs among (picture, mild, strong) of relu(margin - difference of scores).

        ``chosen``: rows of the micro-batch, ``own`` those that this process computes. Pictures without
        copies take no part. The model scores as it does in use, without dropout and with BatchNorm's
        running statistics: among damaged pictures alone a batch's own would hide the damage.
        """
        known = torch.tensor([row in self.copies for row in chosen])
        if not bool(known.any()):
            return torch.zeros((), device=processes.device)
        triples = [[row, *self.copies.get(row, (row, row))] for row in chosen[own]]
        # A picture without copies is scored too, once: every process must have the same gradients.
        needed = list(dict.fromkeys(row for triple in triples for row in triple))
        place = {row: i for i, row in enumerate(needed)}
        training = model.training
        model.eval()
        found = source.scores(model, needed, None)[PERCEPTION].float()
        model.train(training)
        scores = found[torch.tensor([[place[row] for row in triple] for triple in triples])]
        original, mild, strong = processes.gather(scores)[known].unbind(1)
        drops = torch.stack([original - mild, mild - strong, original - strong])
        return F.relu(MARGIN - drops).mean()
