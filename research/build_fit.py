"""Learn where images and prompts meet, and write fit.safetensors beside the frozen networks.

    python research/build_fit.py EFFICIENTNET.pth CLASS_NAMES.py AGIQA3K BACKBONE

``EFFICIENTNET.pth``: as in build_compact.py (here its classifier is read). ``CLASS_NAMES.py``: a
Python file that assigns the 1000 names of ImageNet's classes as one list of strings, such as
torchvision's models/_meta.py (BSD). ``AGIQA3K``: the database's folder, of which every
image whose file is no copy of another's is used. ``BACKBONE``: the folder that build_compact.py wrote.

Prints, for ten splits of the prompts (80/20; the projection is learnt anew on the larger part), how often
a wrong prompt of the other part fits an image less than its own, over images whose prompt is met
(mos_align in the upper half).
"""

from __future__ import annotations

import argparse
import ast
import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from diffagiqa.backbones.compact import CompactBackbone, load_compact
from diffagiqa.backbones.prompt_fit import CLASSES, PromptFit

PENALTY = 3.0
"""Of the ridge, per image of weight 1; chosen on splits 0 to 4."""


def learn_projection(features: Tensor, sentences: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted ridge regression: (N, F), (N, 384), (N,) -> matrix (384, F) and bias (384,), float64.

    Every feature in units of its standard deviation + 0.05, so that rare ones count less.
    """
    features, sentences, weights = features.double(), sentences.double(), weights.double()
    mean, unit = features.mean(0), features.std(0) + 0.05
    standard = (features - mean) / unit
    kernel = standard @ standard.T / standard.shape[1]
    dual = torch.linalg.solve(kernel + torch.diag(PENALTY / weights), sentences)
    matrix = (standard.T @ dual / standard.shape[1]).T / unit
    return matrix, -matrix @ mean


def whitening(vectors: Tensor) -> Tensor:
    """(N, 384) -> symmetric (384, 384): directions divided by their deviation + the largest one."""
    _, scale, directions = torch.linalg.svd(vectors - vectors.mean(0), full_matrices=False)
    scale = scale / len(vectors) ** 0.5
    return directions.T @ torch.diag(scale[0] / (scale + scale[0])) @ directions


def class_names(file: Path) -> list[str]:
    """The one list of 1000 strings that a Python file assigns; nothing of it is run."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.List) and len(node.elts) == CLASSES:
            return [str(ast.literal_eval(element)) for element in node.elts]
    raise SystemExit(f"{file} has no list of {CLASSES} names")


def pooled_heads(backbone: CompactBackbone, files: list[Path]) -> Tensor:
    """The head's maps of both scales, averaged over positions: (N, 2560)."""
    rows = []
    for file in files:
        pixels = np.array(Image.open(file).convert("RGB"))
        image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1
        with torch.inference_mode():
            encoded = backbone.encode_image(image)
            heads = backbone.features(encoded, None, None, 0, ["whole.head", "detail.head"])
            rows.append(torch.cat([maps.mean((2, 3))[0] for maps in heads.values()]))
    return torch.stack(rows).clone()


def without_copies(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """The rows whose image is byte for byte no other row's."""
    digests = [hashlib.sha256((folder / name).read_bytes()).digest() for name in table["name"]]
    count = Counter(digests)
    return table[[count[digest] == 1 for digest in digests]].reset_index(drop=True)


def fill(
    fit: PromptFit,
    names: Tensor,
    features: Tensor,
    sentences: Tensor,
    words: Tensor,
    ratings: Tensor,
) -> None:
    """Learn all of ``fit`` but its classifier, in place.

    ``names`` (1000, 384): embeddings of the classes' names; ``features`` (N, 2560), ``sentences``
    (N, 384) and ``ratings`` (N,) of images and their prompts; ``words`` (M, 384) of these prompts.
    """
    prompts, words = torch.unique(sentences, dim=0), torch.unique(words, dim=0)
    fit.text_mean.copy_(prompts.mean(0))
    fit.word_mean.copy_(words.mean(0))
    fit.whiten.copy_(whitening(torch.cat([names, prompts, words])))
    fit.class_text.copy_(names @ fit.whiten)
    small, large = features.chunk(2, dim=1)
    chances = [torch.softmax(fit.classifier(part) / 2, dim=1) for part in (small, large)]
    fit.class_mean.copy_((chances[0] + chances[1]).mean(0) / 2)
    weights = (ratings - 0.8).clamp(min=0.05)  # an image that misses its prompt teaches little
    matrix, bias = learn_projection(features, fit.sentence(sentences), weights)
    whole, detail = matrix.chunk(2, dim=1)
    fit.whole.weight.copy_(whole)
    fit.detail.weight.copy_(detail)
    fit.detail.bias.copy_(bias)


def recognised(fit: PromptFit, names: Tensor, features: Tensor, data: Rated) -> list[list[float]]:
    """Of ten splits, how often the right prompt fits better: learnt, named, their sum."""
    results = []
    for split in range(10):
        held_out = torch.zeros(len(data.prompts), dtype=torch.bool)
        order = np.random.default_rng(100 + split).permutation(len(data.prompts))
        held_out[torch.from_numpy(order[: len(data.prompts) // 5])] = True
        known = ~held_out[data.number]
        data.teach(fit, names, features, known)
        met = held_out[data.number] & (data.ratings >= data.ratings.median())
        small, large = features[met].chunk(2, dim=1)
        image = fit.image(small[:, :, None, None], large[:, :, None, None])
        cosines = image @ fit.sentence(data.pooled[held_out]).T  # (M,2,48)
        cosines = torch.cat([cosines, cosines.sum(1, keepdim=True)], dim=1)
        column = held_out.cumsum(0)[data.number[met]] - 1
        right = cosines[torch.arange(len(column)), :, column][:, :, None]
        wrong = cosines.shape[2] - 1
        results.append(((cosines < right).sum(2) / wrong).mean(0).tolist())
    return results


class Rated:
    """Prompts and ratings of N images."""

    def __init__(self, backbone: CompactBackbone, table: pd.DataFrame) -> None:
        self.prompts = sorted(set(table["prompt"]))
        encoded = backbone.encode_prompts(self.prompts)
        self.pooled = torch.stack([prompt.pooled for prompt in encoded])  # type: ignore[misc]
        self.words = [prompt.text[prompt.words] for prompt in encoded]
        self.number = torch.tensor([self.prompts.index(prompt) for prompt in table["prompt"]])
        self.ratings = torch.tensor(table["mos_align"].to_numpy(), dtype=torch.float32)

    def teach(self, fit: PromptFit, names: Tensor, features: Tensor, known: Tensor) -> None:
        """``fill`` from the images that ``known`` (N,) marks."""
        words = torch.cat([self.words[i] for i in torch.unique(self.number[known]).tolist()])
        sentences = self.pooled[self.number[known]]
        fill(fit, names, features[known], sentences, words, self.ratings[known])


@torch.no_grad()
def main() -> None:
    """Read, learn, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("efficientnet", "class_names", "agiqa3k", "backbone"):
        parser.add_argument(name, type=Path)
    args = parser.parse_args()
    original = torch.load(args.efficientnet, map_location="cpu", weights_only=True)
    backbone = load_compact(args.backbone, ["fit.prompt"], untrained=True)
    fit = backbone.fit
    fit.classifier.weight.copy_(original["_fc.weight"].half())
    fit.classifier.bias.copy_(original["_fc.bias"].half())
    encoded = backbone.encode_prompts(class_names(args.class_names))
    names = torch.stack([name.pooled for name in encoded])  # type: ignore[misc]
    table = without_copies(pd.read_csv(args.agiqa3k / "data.csv"), args.agiqa3k / "images")
    data = Rated(backbone, table)
    features = pooled_heads(backbone, [args.agiqa3k / "images" / name for name in table["name"]])
    for split, shares in enumerate(recognised(fit, names, features, data)):
        ways = zip(("learnt", "named", "sum"), shares, strict=True)
        print(split, *(f"{way} {share:.3f}" for way, share in ways))
    data.teach(fit, names, features, torch.ones(len(table), dtype=torch.bool))
    tensors = {name: tensor.half().contiguous() for name, tensor in fit.state_dict().items()}
    save_file(tensors, args.backbone / "fit.safetensors")


if __name__ == "__main__":
    main()
