"""A metric made by its name, callable on tensors or files, in the manner of pyiqa."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from diffagiqa import checks
from diffagiqa.errors import ConfigError
from diffagiqa.scorer import Scorer, check_scorer

Reduction = Literal["mean", "sum", "none"]
PREFIX = "diffagiqa"


class NamedMetric(nn.Module):
    """Images and prompts -> one score per image, or with ``as_loss`` a loss.

    Attributes:
        lower_better: False; higher is better.
        score_range: "0, 1".
        metric_mode: "NR": no reference image is needed.
    """

    lower_better = False
    score_range = "0, 1"
    metric_mode = "NR"

    def __init__(
        self,
        scorer: Scorer,
        tasks: Sequence[str],
        *,
        as_loss: bool = False,
        loss_weight: float = 1.0,
        loss_reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.scorer = check_scorer(scorer)
        self.tasks = tuple(checks.several("tasks", tasks, "a list of names"))
        if not self.tasks:
            raise ConfigError(f"tasks are empty; expected some of {', '.join(scorer.tasks)}")
        for task in self.tasks:
            checks.one_of("one of tasks", task, scorer.tasks)
        self.as_loss = checks.flag("as_loss", as_loss)
        self.loss_weight = checks.number("loss_weight", loss_weight)
        self.loss_reduction = checks.one_of("loss_reduction", loss_reduction, get_args(Reduction))

    def forward(self, images: Any, prompts: str | Sequence[str] = "") -> Tensor:
        """The mean over the metric's tasks, of those that an image without a prompt has.

        Args:
            images: tensor (B, 3, H, W) or (3, H, W), uint8 or float in [0, 1]; or, without ``as_loss``, a
                path, PIL image, array, or list of these.
            prompts: one for all, or one per image.

        Returns:
            (B,) in [0, 1], NaN where an image has none of the tasks, without gradients. With
            ``as_loss``: ``loss_weight * (1 - score)``, reduced, differentiable in the images.

        Raises:
            ConfigError: ``as_loss`` is set and ``images`` is no tensor; or there are more or fewer
                prompts than images.
            ImageError: an image cannot be read.
            PromptError: a prompt is no text, or too long.
        """
        if isinstance(images, Tensor):
            with nullcontext() if self.as_loss else torch.no_grad():
                batch = images[None] if images.ndim == 3 else images
                scores = self.scorer.score_tensor(batch, prompts)
        elif self.as_loss:
            kind = type(images).__name__
            raise ConfigError(f"a loss of {kind} was asked; give a tensor (B, 3, H, W)")
        else:
            results = self.scorer(images, prompts)
            results = results if isinstance(results, list) else [results]
            scores = {task: torch.tensor([score[task] for score in results]) for task in self.tasks}
        means = torch.stack([scores[task] for task in self.tasks]).nanmean(0)
        if not self.as_loss:
            return means
        losses = self.loss_weight * (1 - means)
        if self.loss_reduction == "none":
            return losses
        return losses.mean() if self.loss_reduction == "mean" else losses.sum()


def create_metric(
    name: str = PREFIX,
    *,
    as_loss: bool = False,
    device: str | torch.device | None = None,
    model: str | Scorer | None = None,
    loss_weight: float = 1.0,
    loss_reduction: Reduction = "mean",
    **options: Any,
) -> NamedMetric:
    """Make a metric by its name.

    Args:
        name: "diffagiqa" for the mean of the tasks that the model stands behind;
            "diffagiqa-perception", "diffagiqa-alignment", or "diffagiqa-" with another of its tasks.
        as_loss: return a loss, differentiable in the images, in place of scores.
        device: as in ``Scorer.from_pretrained``.
        model: a model folder, hub id or ``Scorer``; default: the model in the package.
        loss_weight: factor of the loss.
        loss_reduction: of the loss over images: "mean", "sum" or "none".
        options: passed to ``Scorer.from_pretrained``: backbone, dtype, seed, ...

    Returns:
        A ``torch.nn.Module``: (images, prompts) -> (B,) scores in [0, 1], or a loss.

    Raises:
        ConfigError: the name is unknown, options are given beside a ``Scorer``, or an argument is not
            as expected.
        WeightsError, BackboneError: the model or its backbone cannot be found.

    >>> metric = create_metric("diffagiqa-alignment")                        # doctest: +SKIP
    >>> metric("fox.png", "a red fox")                                       # doctest: +SKIP
    tensor([0.7120])
    """
    scorer = model if isinstance(model, Scorer) else None
    if scorer is not None and (ignored := sorted(options) + ["device"] * (device is not None)):
        raise ConfigError(f"a Scorer has its own {', '.join(ignored)}; give them where it is made")
    if scorer is None:
        scorer = Scorer.from_pretrained(model, device=device, **options)  # type: ignore[arg-type]
    known = {PREFIX: scorer.config.trusted, **{f"{PREFIX}-{t}": (t,) for t in scorer.tasks}}
    if not isinstance(name, str) or name not in known:
        raise ConfigError(f"there is no metric {name!r}; this model offers {', '.join(known)}")
    return NamedMetric(
        scorer, known[name], as_loss=as_loss, loss_weight=loss_weight, loss_reduction=loss_reduction
    )
