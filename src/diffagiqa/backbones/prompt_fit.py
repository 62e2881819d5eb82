"""How well an image, its positions, a prompt and its words fit: cosines in MiniLM's space.

The space is partly whitened first: what most prompts share says little. Two ways lead from the image
network's last map to a vector there. *Named*: the probabilities of ImageNet's classes, less their mean,
times the embeddings of the classes' names; nothing was trained. *Learnt*: a linear projection, by ridge
regression of prompts on the images made from them (research/build_fit.py). Both are weak and err
differently.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffagiqa.backbones.efficientnet import HEAD_CHANNELS

TEXT_CHANNELS = 384
CLASSES = 1000
TEMPERATURE = 2.0
"""Of the class probabilities: the rest of the list says more about an odd image than its head."""
WAYS = 2
"""Learnt, named."""
WORD_STATISTICS = 4
"""Mean, lowest, highest, deviation over the words of the prompt."""


class PromptFit(nn.Module):
    """Image maps and prompts -> cosines. ``whole`` and ``detail`` are the head's maps at two scales."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Linear(HEAD_CHANNELS, CLASSES)
        self.class_text = nn.Parameter(torch.zeros(CLASSES, TEXT_CHANNELS))
        self.class_mean = nn.Parameter(torch.zeros(CLASSES))
        self.whole = nn.Linear(HEAD_CHANNELS, TEXT_CHANNELS, bias=False)
        self.detail = nn.Linear(HEAD_CHANNELS, TEXT_CHANNELS)
        self.whiten = nn.Parameter(torch.zeros(TEXT_CHANNELS, TEXT_CHANNELS))
        self.text_mean = nn.Parameter(torch.zeros(TEXT_CHANNELS))
        self.word_mean = nn.Parameter(torch.zeros(TEXT_CHANNELS))

    def sentence(self, pooled: Tensor) -> Tensor:
        """MiniLM's embeddings (..., 384) of prompts -> unit vectors here; zeros stay zeros."""
        return self._whitened(pooled, self.text_mean)

    def words(self, text: Tensor) -> Tensor:
        """MiniLM's embeddings (..., 384) of single words -> unit vectors here; zeros stay zeros."""
        return self._whitened(text, self.word_mean)

    def _whitened(self, vectors: Tensor, mean: Tensor) -> Tensor:
        given = (vectors != 0).any(-1, keepdim=True)
        return F.normalize((vectors - mean) @ self.whiten, dim=-1) * given

    def image(self, whole: Tensor, detail: Tensor) -> Tensor:
        """Head maps (B, 1280, h, w) of both scales -> (B, 2, 384) unit vectors: learnt, named."""
        small, large = whole.mean((2, 3)), detail.mean((2, 3))  # (B,1280)
        learnt = self.whole(small) + self.detail(large)
        named = (self._named(small) + self._named(large)) / 2
        return F.normalize(torch.stack([learnt, named], dim=1), dim=2)

    def positions(self, maps: Tensor, scale: str) -> Tensor:
        """Head maps (B, 1280, h, w) of "whole" or "detail" -> vectors (B, 2, 384, h, w).

        The mean over positions is a unit vector, so cosines with positions average to the image's.
        """
        spots = maps.flatten(2).transpose(1, 2)  # (B,hw,1280)
        projection = self.whole if scale == "whole" else self.detail
        vectors = torch.stack([projection(spots), self._named(spots)], dim=1)  # (B,2,hw,384)
        length = vectors.mean(2, keepdim=True).norm(dim=3, keepdim=True)
        return (vectors / (length + 1e-6)).transpose(2, 3).unflatten(3, maps.shape[2:])

    def _named(self, features: Tensor) -> Tensor:
        """(..., 1280) -> (..., 384)."""
        chances = torch.softmax(self.classifier(features) / TEMPERATURE, dim=-1)
        return (chances - self.class_mean) @ self.class_text


def word_statistics(cosines: Tensor, words: Tensor) -> Tensor:
    """Cosines (B, W, L) with a mask of words (B, L) -> (B, 4W): mean, lowest, highest, deviation.

    Over the words; zeros where there is none.
    """
    mask = words[:, None].to(cosines.dtype)
    count = mask.sum(2)
    mean = (cosines * mask).sum(2) / count.clamp(min=1)
    variance = ((cosines - mean[:, :, None]).square() * mask).sum(2) / count.clamp(min=1)
    # Cosines lie in [-1, 1]; a prompt without words has no lowest and highest.
    low = torch.where(words[:, None], cosines, 2.0).amin(2)
    high = torch.where(words[:, None], cosines, -2.0).amax(2)
    some = (count > 0).to(cosines.dtype)
    deviation = (variance + 1e-8).sqrt()
    return torch.cat([mean * some, low * some, high * some, deviation * some], dim=1)
