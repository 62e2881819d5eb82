"""A second task in training: name the generator of every picture.

Linear layers read what each head has fused, and are thrown away after training. A database's ratings
differ most between generators, and this teaches the heads to tell those apart; docs/embedded.md says
what it gains.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffagiqa.data.wording import counted
from diffagiqa.errors import TrainingError
from diffagiqa.model.scoring import DiffAGIQA
from diffagiqa.training.data import Rows

NOBODY = -1


class Naming(nn.Module):
    """Which of the training rows' generators made a picture, from the fused maps of every head."""

    def __init__(self, model: DiffAGIQA, rows: Rows, train: Sequence[int], seed: int) -> None:
        """Reads the model by hooks on its heads until ``remove``.

        Raises ``TrainingError`` where the training rows name fewer than two generators.
        """
        super().__init__()
        made_by = [sample.generator for sample in rows.samples]
        names = sorted({name for row in train if (name := made_by[row])})
        if len(names) < 2:
            raise TrainingError(
                f"naming_weight is set and the training rows name {counted(len(names), 'generator')}; "
                "give a column of generators (--generator-column), or set naming_weight to 0"
            )
        numbers = {name: number for number, name in enumerate(names)}
        self.generators = torch.tensor([numbers.get(name or "", NOBODY) for name in made_by])
        first = {task: _regressor(head)[0] for task, head in model.heads.items()}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = nn.ModuleDict(
                {task: nn.Linear(linear.in_features, len(names)) for task, linear in first.items()}
            )
        self.logits: dict[str, Tensor] = {}
        self.hooks = [
            _regressor(head).register_forward_pre_hook(self._reader(task))
            for task, head in model.heads.items()
        ]

    def loss(self, rows: Sequence[int], logits: Sequence[Tensor]) -> Tensor:
        """Cross-entropy, mean over tasks and over the rows whose generator is known; 0 without any."""
        wanted = self.generators[torch.as_tensor(rows)].to(logits[0].device)
        if bool((wanted == NOBODY).all()):
            return logits[0].sum() * 0
        each = [F.cross_entropy(one.float(), wanted, ignore_index=NOBODY) for one in logits]
        return torch.stack(each).mean()

    def remove(self) -> None:
        for hook in self.hooks:
            hook.remove()

    def _reader(self, task: str) -> Any:
        def read(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self.logits[task] = self.layers[task](inputs[0])

        return read


def _regressor(head: Any) -> Any:
    return head.regressor
