"""How well the evidence of words tells what synthetic pictures show from what they do not, by aspect.

    python tools/words_seen.py BACKBONE [--pictures 192] [--seed 12345]

BACKBONE is a folder of ``diffagiqa pretrain``, whose ``pretrain.json`` names the layers. Every new
picture is given one caption: true of it, nearly true, or of another scene. Prints areas under the ROC
curve, a line per aspect of the claims: 1 is perfect, 0.5 is guessing.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from diffagiqa.backbones.folder import load_backbone
from diffagiqa.explain.benchmark import roc_area
from diffagiqa.model.evidence import unet_evidence
from diffagiqa.pretrain.config import PretrainConfig
from diffagiqa.pretrain.pictures import to_tensor, whole
from diffagiqa.pretrain.run import made_pictures
from diffagiqa.pretrain.word_labels import SyntheticExample, WordLabels, tokenise

BATCH = 32


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("backbone", type=Path)
    parser.add_argument("--pictures", type=int, default=192)
    parser.add_argument("--seed", type=int, default=12345)
    options = parser.parse_args()
    config = PretrainConfig.load(options.backbone / "pretrain.json").denoiser
    backbone = load_backbone(str(options.backbone), config.words)
    made = made_pictures(options.pictures, options.seed)
    numbers = np.random.default_rng(options.seed)
    side = min(config.sides)
    chances: dict[str, list[float]] = defaultdict(list)
    truths: dict[str, list[int]] = defaultdict(list)
    for start in range(0, len(made), BATCH):
        rows = range(start, min(start + BATCH, len(made)))
        examples = [made.example(row, numbers) for row in rows]
        tokens = tokenise(backbone.tokenizer, [example.annotated for example in examples], 77)
        labels = WordLabels.of(examples).spans
        mean, _ = backbone.encode_image(to_tensor([whole(made.images[row], side) for row in rows]))
        text = backbone.text_encoder(tokens.ids)[0]
        latents = backbone.clean_latents(mean)
        layers = unet_evidence(backbone.unet, latents, 1, text, config.words)
        found = torch.stack(layers).mean(0)  # (B, 77)
        claims = [
            claim
            for example in examples
            if isinstance(example, SyntheticExample)
            for claim in example.caption.claims
        ]
        of_part: dict[int, list[float]] = defaultdict(list)
        caption_of: dict[int, int] = {}
        for caption, place, part in zip(tokens.captions, tokens.places, tokens.spans, strict=True):
            of_part[int(part)].append(float(found[caption, place]))
            caption_of[int(part)] = int(caption)
        for part, values in of_part.items():
            value = int(labels[caption_of[part], part])
            if value >= 0:
                chances[claims[part].aspect].append(float(np.mean(values)))
                truths[claims[part].aspect].append(value)
    print("| aspect | claims | true | area under the ROC curve |")
    print("|---|---|---|---|")
    for aspect in sorted(chances):
        inside = torch.tensor(truths[aspect]) == 1
        area = roc_area(torch.tensor(chances[aspect]), inside)
        print(f"| {aspect} | {len(inside)} | {int(inside.sum())} | {area:.2f} |")


if __name__ == "__main__":
    main()
