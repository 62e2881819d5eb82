"""What a step minimises: ratings, pairs, the order of damaged copies, and the generators' names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from diffagiqa.evaluation.pairs import preference_score
from diffagiqa.model.scoring import DiffAGIQA
from diffagiqa.training.config import TrainingConfig
from diffagiqa.training.damage_ranking import DamageRanking
from diffagiqa.training.data import TrainingData
from diffagiqa.training.determinism import Step, set_step
from diffagiqa.training.generators import GeneratorClassifier
from diffagiqa.training.inputs import Inputs
from diffagiqa.training.losses import PAIR_LOSSES, pair_weights, ratings_loss
from diffagiqa.training.processes import Processes


class Objective:
    """The loss of one micro-batch, over the scores of all processes."""

    def __init__(
        self, model: DiffAGIQA, inputs: Inputs, data: TrainingData, config: TrainingConfig,
        processes: Processes, classifier: GeneratorClassifier | None = None,
    ) -> None:  # fmt: skip
        self.model = model
        self.inputs = inputs
        self.data = data
        self.config = config
        self.processes = processes
        self.classifier = classifier
        self.ranking = DamageRanking(data) if data.damages and config.damaged_weight else None
        self.preferences = Preferences(data, config) if data.groups and config.pair_weight else None

    def __call__(self, chosen: Sequence[int], step: Step) -> Tensor:
        """``chosen``: rows of the micro-batch, of which this process computes those of ``step``."""
        config, data, gather = self.config, self.data, self.processes.gather
        local = slice(step.start, step.stop)
        set_step(self.model, step)
        outputs = self.inputs.outputs(self.model, chosen[local], step)
        scores = {task: gather(value.float()) for task, value in outputs.scores.items()}
        labels, sources = data.labels[chosen], data.sources[chosen]
        loss = ratings_loss(scores, labels, sources, data.task_names, config)
        if self.preferences:
            loss = loss + config.pair_weight * self.preferences.loss(scores, chosen)
        if self.classifier:
            logits = [gather(task) for task in self.classifier(outputs.fused)]
            loss = loss + config.generator_weight * self.classifier.loss(logits, chosen)
        if self.ranking:
            order = self.ranking.loss(self.model, self.inputs, chosen, local, self.processes)
            loss = loss + config.damaged_weight * order
        return loss


class Preferences:
    """The pairs among the images of a micro-batch, and the loss on them: no image is scored twice."""

    def __init__(self, data: TrainingData, config: TrainingConfig) -> None:
        self.pairs = data.pairs
        self.tasks = [data.groups[group].task for group in self.pairs.group]
        self.sources = data.sources[torch.from_numpy(self.pairs.first)]
        self.config = config
        self.pairs_of_row: dict[int, list[int]] = {}
        for pair, row in enumerate(self.pairs.first.tolist()):
            self.pairs_of_row.setdefault(row, []).append(pair)

    def loss(self, scores: Mapping[str, Tensor], rows: Sequence[int]) -> Tensor:
        """Weighted mean over the pairs whose images are both among ``rows``, (B,) scores by task; else 0.

        Every group of a database counts alike, however many of its pairs are there.
        """
        position = {row: i for i, row in enumerate(rows)}
        second = self.pairs.second
        pairs = [p for r in position for p in self.pairs_of_row.get(r, ()) if second[p] in position]
        if not pairs:
            return sum(score.sum() for score in scores.values()) * 0  # type: ignore[return-value]
        judged = sorted({self.tasks[p] for p in pairs})
        table = torch.stack([preference_score(scores, task) for task in judged])  # (tasks,B)
        column = [judged.index(self.tasks[p]) for p in pairs]
        first, other = (
            table[column, [position[row] for row in side[pairs].tolist()]]
            for side in (self.pairs.first, self.pairs.second)
        )
        weights = self.config.database_weights or (1.0,) * (int(self.sources.max()) + 1)
        groups = self.pairs.group[pairs].tolist()
        weight = pair_weights(groups, self.sources[pairs], weights)
        margin = {"margin": self.config.pair_margin} if self.config.pair_margin else {}
        outcome = torch.from_numpy(self.pairs.outcome[pairs]).to(first)
        return PAIR_LOSSES[self.config.pair_loss](first, other, outcome, weight=weight, **margin)
