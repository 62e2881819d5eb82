"""Where an image loses its score: two maps; research/explanations.py measures how faithful they are.

Both are functions of (scorer, image, prompt, task), the image (3, H, W) as ``Scorer.prepare`` gives it,
and return (H, W), float32, on the CPU: above 0 where the image lowers the score.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from diffagiqa.backbones.base import Prompts
from diffagiqa.model.queries import QueryHead
from diffagiqa.scorer import Scorer


def activation_map(scorer: Scorer, image: Tensor, prompt: str, task: str) -> Tensor:
    """Grad-CAM (arXiv 1610.02391), negated, its largest magnitude 1: one forward pass.

    The score is a function of the mean over positions of the head's fused map, or with queries of the
    image tokens of every layer. A position's deviation from the mean times the score's gradient is its
    share in the score, to first order. Mean over the draws of noise.
    """
    head: Any = scorer.model.heads[task]
    prompts = Prompts.stack(scorer.prompts([prompt]))
    with torch.no_grad():
        stages = scorer.runner.intermediates(image[None].to(scorer.device), prompts, until="fused")
    if isinstance(head, QueryHead):
        index = scorer.model.pass_of[task]
        draws = [_token_shares(head, passes[index]) for passes in stages["pyramid"]]
    else:
        draws = [_shares(head.regress, fused[task].float()) for fused in stages["fused"]]
    total = torch.stack(draws).mean(0)  # (1,1,P,P)
    return _scaled(-F.interpolate(total, size=image.shape[-2:], mode="bilinear")[0, 0].cpu())


def _shares(score: Callable[[Tensor], Tensor], maps: Tensor) -> Tensor:
    """(1, C, h, w) -> (1, 1, h, w): what every position gives to the score, to first order."""
    maps = maps.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(score(maps).sum(), maps)
    deviation = (maps - maps.mean((2, 3), keepdim=True)).detach()
    return (deviation * gradient).sum(1, keepdim=True)


def _token_shares(head: QueryHead, features: Mapping[str, Tensor]) -> Tensor:
    """``_shares`` of all layers of image tokens, added; (1, 1, h, w)."""

    def of(name: str) -> Tensor:
        return _shares(
            lambda maps: head.regress(head.fusion({**features, name: maps})), features[name]
        )

    return torch.stack([of(name) for name in head.image_names]).sum(0)


def window_map(
    scorer: Scorer, image: Tensor, prompt: str, task: str, *, windows: int = 9
) -> Tensor:
    """What windows of a quarter of each side score alone, ``windows`` x ``windows`` of them.

    In units of the score: the mean of all windows less a window's, at its centre; bilinear between.
    The image is encoded once; pyramid and heads see every window. For backbones with ``has_windows``.
    """
    prompts = Prompts.stack(scorer.prompts([prompt]))
    model, backbone = scorer.model, scorer.backbone
    corners = [i / max(1, windows - 1) * (1 - WINDOW) for i in range(windows)]
    scores = []
    with torch.no_grad():
        (encoded,) = scorer.runner.intermediates(
            image[None].to(scorer.device), prompts, until="encoded"
        )["encoded"]
        for top in corners:
            row = [backbone.crop(encoded, top, left, WINDOW) for left in corners]
            # Prompters first, then images, as the model's passes are.
            parts = [torch.stack(maps, dim=1).flatten(0, 1) for maps in zip(*row, strict=True)]
            many = Prompts.cat([prompts] * windows)
            features = model.features(tuple(parts), many, backbone, None)
            scores.append(model.score_features(features)[task])
    values = torch.stack(scores).float().cpu()  # (windows,windows)
    return _between_centres(values.mean() - values, image.shape[-2], image.shape[-1])


def _between_centres(values: Tensor, height: int, width: int) -> Tensor:
    """Values at the centres of evenly spread windows -> (height, width), bilinear, edges repeated."""
    inner = [max(1, round(side * (1 - WINDOW))) for side in (height, width)]
    between = F.interpolate(values[None, None], inner, mode="bilinear", align_corners=True)
    above, before = (height - inner[0]) // 2, (width - inner[1]) // 2
    edges = (before, width - inner[1] - before, above, height - inner[0] - above)
    return F.pad(between, edges, mode="replicate")[0, 0]


WINDOW = 0.25
"""Side of a window of ``window_map`` as a share of the image's."""
METHODS: Mapping[str, Callable[..., Tensor]] = {"windows": window_map, "activation": activation_map}


def method_for(scorer: Scorer) -> str:
    """The map of ``METHODS`` that is drawn: "windows" where the backbone has them, else "activation"."""
    return "windows" if scorer.backbone.has_windows else "activation"


def _scaled(values: Tensor) -> Tensor:
    peak = values.abs().max()
    return values / peak if peak > 0 else values
