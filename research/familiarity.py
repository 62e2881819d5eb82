"""Teach a model what its training images look like, and measure what it finds unfamiliar.

    python research/familiarity.py MODEL AGIQA3K [--photographs FOLDER]

Rewrites the MODEL folder with the statistics. Prints, as Markdown: false alarms on held-out
prompts of generators that the statistics know; on each generator family when the statistics come from
the other five; and the share found of drawn images of five kinds (research/drawn.py), and of the
photographs in FOLDER.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from drawn import KINDS
from PIL import Image
from torch import Tensor

from diffagiqa import Scorer
from diffagiqa.model.familiarity import Familiarity, describe
from diffagiqa.model.scoring import build_model
from diffagiqa.pretrained import load_model, save_model

NAMES = ("detail.1", "detail.2", "detail.3", "detail.4", "detail.5")
FAMILIES = ("AttnGAN", "glide", "DALLE2", "sd1.5", "xl2.2", "midjourney")
SMALLEST = 224
"""Root of the area of the smallest images trained on."""
DRAWN = 40


@torch.inference_mode()
def descriptions(scorer: Scorer, images: list[Image.Image | Path]) -> Tensor:
    """``describe`` of every image as the model's first prompter shows it, (N, F)."""
    backbone, prompter = scorer.backbone, next(iter(scorer.model.prompters.values()))
    empty, rows = backbone.no_text().expand(1), []
    for image in images:
        encoded = backbone.encode_image(prompter(scorer.prepare(image)[None]))
        features = backbone.features(encoded, empty, None, scorer.config.timestep, NAMES)
        rows.append(describe(list(features.values())))
    return torch.cat(rows).clone()


def learnt(width: int, known: Tensor, others: Tensor) -> Familiarity:
    part = Familiarity(NAMES, width)
    part.learn(known, others)
    return part


def alarms(part: Familiarity, rows: Tensor) -> float:
    """Share of descriptions found unfamiliar."""
    return float((part.distance(rows) / part.limit > 1).float().mean())


def main() -> None:
    """Describe, learn, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("agiqa3k", type=Path)
    parser.add_argument("--photographs", type=Path)
    args = parser.parse_args()
    scorer = Scorer.from_pretrained(str(args.model), device="cpu")
    table = pd.read_csv(args.agiqa3k / "data.csv")
    rows = descriptions(scorer, [args.agiqa3k / "images" / name for name in table["name"]])
    prompts = sorted(set(table["prompt"]))
    shuffled = list(np.random.default_rng(0).permutation(prompts))
    group = torch.tensor([shuffled.index(prompt) % 5 for prompt in table["prompt"]])
    known, others, held_out = group < 3, group == 3, group == 4
    family = np.array(
        [next(f for f in FAMILIES if name.lower().startswith(f.lower())) for name in table["name"]]
    )
    part = learnt(rows.shape[1], rows[known], rows[others])
    print("| images | unfamiliar |\n|---|---|")
    print(f"| held-out prompts, known generators | {alarms(part, rows[held_out]):.1%} |")
    shares = []
    for name in FAMILIES:
        of = torch.from_numpy(family == name)
        without = learnt(rows.shape[1], rows[known & ~of], rows[others & ~of])
        shares.append(alarms(without, rows[held_out & of]))
        print(f"| {name}, statistics of the other families | {shares[-1]:.1%} |")
    print(f"| unseen family, mean | {np.mean(shares):.1%} |")
    part = learnt(rows.shape[1], rows[~others], rows[others])
    for kind, draw in KINDS.items():
        images = [draw(np.random.default_rng([i, 7])) for i in range(DRAWN)]
        print(f"| {kind}, {DRAWN} drawn | {alarms(part, descriptions(scorer, images)):.0%} |")
    if args.photographs:
        files: list[Image.Image | Path] = sorted(
            file for file in args.photographs.iterdir() if file.is_file()
        )
        print(f"| {len(files)} photographs | {alarms(part, descriptions(scorer, files)):.0%} |")
    original = load_model(args.model)
    config = dataclasses.replace(
        original.config,
        familiar_features=NAMES,
        familiar_channels=scorer.backbone.feature_channels(NAMES),
        smallest_size=SMALLEST,
    )
    model = build_model(config)
    model.load_state_dict(original.state_dict(), strict=False)
    model.familiarity = part
    save_model(model, args.model, half=True)


if __name__ == "__main__":
    main()
