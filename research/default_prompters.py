"""Train the default's prompters through the frozen networks, and measure what they are worth.

    python research/default_prompters.py AGIQA3K MODEL SPLIT [--images 300] [--out FOLDER]

``MODEL``: a folder that ``default_heads.py --split SPLIT`` wrote. One epoch over so many training images,
made 256 pixels wide (a fifth of the time of 512); all but the prompters stays as it is. Prints SRCC on
200 test images at full size before and after. ``FOLDER``: where the model is written with them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from default_features import Ratings, resized
from default_measures import split
from PIL import Image
from torch import Tensor

from diffagiqa.backbones.base import Prompts
from diffagiqa.backbones.compact import load_compact
from diffagiqa.evaluation.correlations import srcc
from diffagiqa.pretrained import load_model, save_model

TASKS = ("perception", "alignment")
TESTED = 200
BATCH = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("agiqa3k", "model"):
        parser.add_argument(name, type=Path)
    parser.add_argument("split")
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    ratings = Ratings(args.agiqa3k)
    train, test = split(ratings, args.split)
    numbers = np.random.default_rng(0)
    train, test = numbers.permutation(train)[: args.images], numbers.permutation(test)[:TESTED]
    model = load_model(args.model)
    package = Path(__file__).parents[1] / "src" / "diffagiqa" / "weights" / "compact"
    backbone = load_compact(package, model.config.features)
    prompts = backbone.encode_prompts(ratings.prompts)

    def scores(images: np.ndarray, side: int) -> Tensor:
        pixels = [ratings.pixels(int(image)) for image in images]
        pixels = [
            resized(p, side, Image.Resampling.BOX) if side < max(p.shape) else p for p in pixels
        ]
        batch = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255
        text = Prompts.stack([prompts[number] for number in ratings.prompt[images]])
        output = model(batch, text, backbone, [None])
        return torch.stack([output.scores[task] for task in TASKS])

    @torch.inference_mode()
    def report(title: str) -> None:
        found = torch.cat([scores(test[i : i + 1], 512) for i in range(len(test))], dim=1).numpy()
        values = [srcc(found[i], ratings.labels[test, i]) for i in range(2)]
        print(f"{title}: SRCC quality {values[0]:.3f}, alignment {values[1]:.3f}", flush=True)

    report("identity")
    model.requires_grad_(False)
    parameters = [p.requires_grad_(True) for p in model.prompters.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=args.lr)
    for start in range(0, len(train), BATCH):
        images = train[start : start + BATCH]
        labels = torch.from_numpy(ratings.labels[images]).float().T
        loss = (scores(images, 256) - labels).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    report(f"after {len(train)} images")
    if args.out:
        save_model(model, args.out, half=True)


if __name__ == "__main__":
    main()
