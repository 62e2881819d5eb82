"""The mean scores of a data set as a torchmetrics ``Metric``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from diffagiqa.errors import MissingExtraError
from diffagiqa.scorer import Scorer, check_scorer

try:
    from torchmetrics import Metric
except ImportError:
    raise MissingExtraError("torchmetrics", "metrics") from None


class DiffAGIQAMetric(Metric):
    """Mean score per task over all images and all processes, in [0, 1]; higher is better.

    An image without a prompt has no part in the mean of a score about it. Sums are kept in float64, so
    the mean over several processes equals that of one.

    Args:
        scorer: the model; shared by copies of the metric (``clone``, ``MetricCollection``).
        options: passed to torchmetrics' ``Metric``.

    Raises:
        ConfigError: ``scorer`` is no ``Scorer``.
        MissingExtraError: torchmetrics is not installed (when the module is imported).

    >>> metric = DiffAGIQAMetric(scorer)                                     # doctest: +SKIP
    >>> metric.update(images, prompts)                                       # doctest: +SKIP
    >>> metric.compute()                                                     # doctest: +SKIP
    {'perception': tensor(0.61), 'alignment': tensor(0.55)}
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, scorer: Scorer, **options: Any) -> None:
        super().__init__(**options)
        self.scorer = check_scorer(scorer)
        zeros = torch.zeros(len(scorer.tasks), dtype=torch.float64)
        self.add_state("total", zeros, dist_reduce_fx="sum")
        self.add_state("count", zeros.clone(), dist_reduce_fx="sum")

    @torch.no_grad()
    def update(self, images: Tensor, prompts: str | Sequence[str]) -> None:
        """Add a batch.

        Args:
            images: (B, 3, H, W), uint8 or float in [0, 1].
            prompts: one for all, or one per image.

        Raises:
            ImageError, PromptError, ConfigError: as ``Scorer.score_tensor``.
        """
        scores = self.scorer.score_tensor(images, prompts)
        values = torch.stack([scores[task].double() for task in self.scorer.tasks])
        self.total = self.total + values.nansum(1).to(self.total.device)
        self.count = self.count + (~values.isnan()).sum(1).to(self.count.device)

    def compute(self) -> dict[str, Tensor]:
        """Mean score by task, a float32 scalar in [0, 1]; NaN before the first image that has it."""
        means = (self.total / self.count).float()
        return dict(zip(self.scorer.tasks, means, strict=True))
