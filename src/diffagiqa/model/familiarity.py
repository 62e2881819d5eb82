"""How unlike the training images an image is: a calibrated distance of its feature maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from diffagiqa.device import at_least_float32


class Familiarity(nn.Module):
    """A Mahalanobis distance of the means and deviations of named feature maps over positions.

    The covariance is that of the training images along its first directions, and one number for the
    rest (Tipping and Bishop's probabilistic PCA, 1999), so that few images suffice.
    """

    mean: Tensor
    unit: Tensor
    directions: Tensor
    variance: Tensor
    rest: Tensor
    limit: Tensor

    def __init__(self, names: Sequence[str], width: int, directions: int = 128) -> None:
        """``names`` of the maps; ``width``: twice the sum of their channels."""
        super().__init__()
        self.names = tuple(names)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("unit", torch.ones(width))
        self.register_buffer("directions", torch.zeros(directions, width))
        self.register_buffer("variance", torch.ones(directions))
        self.register_buffer("rest", torch.ones(()))
        self.register_buffer("limit", torch.ones(()))

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Maps (B, C, h, w) by name -> (B,): 1 where 1 % of images like those of training lie above."""
        return self.distance(describe([features[name] for name in self.names])) / self.limit

    def distance(self, descriptions: Tensor) -> Tensor:
        """``describe`` (B, F) -> mean squared deviation per number, (B,): about 1 for training images."""
        standard = (descriptions - self.mean) / self.unit
        along = standard @ self.directions.T
        beside = standard.square().sum(1) - along.square().sum(1)
        squares = (along.square() / self.variance).sum(1) + beside / self.rest
        return squares / standard.shape[1]

    def learn(self, descriptions: Tensor, others: Tensor, false_alarms: float = 0.01) -> None:
        """Set everything from (N, F) ``descriptions`` of training images, in place.

        ``others`` (M, F), of further images of the same kind that were not trained on, set the limit:
        ``false_alarms`` of them lie above 1.
        """
        descriptions = descriptions.double()
        self.mean.copy_(descriptions.mean(0))
        self.unit.copy_(descriptions.std(0) + 1e-3)
        standard = (descriptions - descriptions.mean(0)) / self.unit
        _, scale, directions = torch.linalg.svd(standard, full_matrices=False)
        count, width = self.directions.shape
        variance = scale.square() / len(descriptions)
        if len(variance) <= count:
            raise ValueError(f"{len(descriptions)} images are too few for {count} directions")
        self.rest.copy_(variance[count:].sum() / (width - count))
        self.directions.copy_(directions[:count])
        self.variance.copy_(variance[:count] + self.rest)
        self.limit.copy_(self.distance(others.to(self.mean.dtype)).quantile(1 - false_alarms))


def describe(maps: Sequence[Tensor]) -> Tensor:
    """Maps (B, C, h, w) -> (B, 2 * sum C): means and log deviations over positions, float32 or more."""
    parts = []
    for values in map(at_least_float32, maps):
        mean = values.mean((2, 3))
        # Sums over maps that lie channels last: var_mean takes 17 times as long.
        variance = (values.square().mean((2, 3)) - mean.square()).clamp(min=0)
        parts += [mean, 0.5 * torch.log(variance + 1e-6)]
    return torch.cat(parts, dim=1)
