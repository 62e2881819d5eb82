"""Where an image loses its score: four maps; research/explanations.py measures how faithful they are.

Every map is (H, W), float32, on the CPU; above 0 where the image lowers the score, in units of the
score (windows, occlusion) or scaled to a largest magnitude of 1 (the gradient-based ones).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from diffagiqa import checks
from diffagiqa.backbones.base import Prompts
from diffagiqa.errors import ConfigError
from diffagiqa.model.queries import QueryHead
from diffagiqa.scorer import Scorer


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (B, 3, H, W), edges repeated; ``sigma`` in pixels."""
    radius = max(1, int(3 * sigma))
    radius = min(radius, *(side - 1 for side in images.shape[-2:]))
    taps = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    weights = torch.exp(-0.5 * (taps / sigma) ** 2)
    weights = (weights / weights.sum()).repeat(3, 1)
    padded = F.pad(images, (radius,) * 4, mode="replicate")
    rows = F.conv2d(padded, weights[:, None, :, None], groups=3)
    return F.conv2d(rows, weights[:, None, None, :], groups=3)


def occlusion_map(
    scorer: Scorer, image: Tensor, prompt: str, task: str, *, cells: int = 8
) -> Tensor:
    """How much the score rises where the image is blurred away, cell by cell.

    Each of ``cells`` x ``cells`` soft windows is replaced by its blurred surroundings; costs
    cells**2 + 1 passes. ``image`` (3, H, W) in [0, 1].
    """
    height, width = image.shape[-2:]
    smooth = blurred(image[None], _side(image) / 16)[0]
    windows = _windows(height, width, cells).to(image)
    occluded = [image + window * (smooth - image) for window in windows]
    scores = _scores(scorer, [image, *occluded], prompt, task)
    gains = (scores[1:] - scores[0]).reshape(1, 1, cells, cells)
    return F.interpolate(gains, size=(height, width), mode="bilinear")[0, 0]


def gradient_map(
    scorer: Scorer, image: Tensor, prompt: str, task: str, *, steps: int = 6
) -> Tensor:
    """Integrated gradients (arXiv 1703.01365) from a blurred copy to the image, negated.

    Says which details, present in the image and not in its blurred copy, cost score. Costs ``steps``
    forward and backward passes. Smoothed over a thirty-second of the side.
    """
    size = _side(image)
    smooth = blurred(image[None], size / 16)[0]
    total = torch.zeros_like(image)
    for step in range(steps):
        between = (smooth + (step + 0.5) / steps * (image - smooth)).requires_grad_(True)
        score = scorer.score_tensor(between[None], prompt)[task].sum()
        (gradient,) = torch.autograd.grad(score, between)
        total += gradient.float().cpu()
    costs = -(total / steps * (image - smooth)).sum(0)
    return _scaled(blurred(costs.expand(1, 3, -1, -1), size / 32)[0, 0])


def activation_map(scorer: Scorer, image: Tensor, prompt: str, task: str) -> Tensor:
    """Grad-CAM (arXiv 1610.02391), negated: one forward pass.

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
    The image is encoded once; pyramid and heads see every window.

    Raises:
        ConfigError: the backbone's encoding has no windows.
    """
    prompts = Prompts.stack(scorer.prompts([prompt]))
    model, backbone = scorer.model, scorer.backbone
    if not backbone.has_windows:
        raise ConfigError(f"backbone {backbone.name} has no windows; use --method activation")
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


METHODS: dict[str, Callable[..., Tensor]] = {
    "occlusion": occlusion_map,
    "gradient": gradient_map,
    "activation": activation_map,
    "windows": window_map,
}
WINDOW = 0.25
"""Side of a window of ``window_map`` as a share of the image's."""


def default_method(scorer: Scorer) -> str:
    """The best of the cheap ones: "windows" where the backbone has them, else "activation"."""
    return "windows" if scorer.backbone.has_windows else "activation"


def quality_map(
    scorer: Scorer,
    image: Tensor,
    prompt: str,
    task: str,
    method: str | None = None,
    **options: int,
) -> Tensor:
    """One of ``METHODS``, by default ``default_method``, of (3, H, W) as ``Scorer.prepare`` gives it.

    ``options`` are the method's own: ``windows`` of "windows", ``cells`` of "occlusion", ``steps`` of
    "gradient".

    Raises:
        ConfigError: the method or the task is unknown.
    """
    method = method or default_method(scorer)
    checks.one_of("method", method, METHODS)
    checks.one_of("task", task, scorer.tasks)
    for name, value in options.items():
        checks.whole(name, value, 1)
    return METHODS[method](scorer, image, prompt, task, **options)


def _side(image: Tensor) -> float:
    """The root of an image's area, in pixels."""
    return float(image.shape[-2] * image.shape[-1]) ** 0.5


def _windows(height: int, width: int, cells: int) -> Tensor:
    """(cells**2, H, W) soft rectangles that sum to 1 at every pixel (linear between centres)."""
    ramps = []
    for side in (height, width):
        position = (torch.arange(side) + 0.5) / side * cells - 0.5
        ramp = (1 - (position[None] - torch.arange(cells)[:, None]).abs()).clamp(0, 1)
        ramps.append(ramp / ramp.sum(0))
    return torch.einsum("ay,bx->abyx", *ramps).reshape(cells * cells, height, width)


@torch.inference_mode()
def _scores(scorer: Scorer, images: list[Tensor], prompt: str, task: str) -> Tensor:
    size = scorer.batch_size
    pieces = [
        scorer.score_tensor(torch.stack(images[start : start + size]), prompt)[task]
        for start in range(0, len(images), size)
    ]
    return torch.cat(pieces).float().cpu()


def _scaled(values: Tensor) -> Tensor:
    peak = values.abs().max()
    return values / peak if peak > 0 else values
