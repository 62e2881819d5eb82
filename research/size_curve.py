"""What size does to the scores of a model: the same images, made smaller by averaging pixels.

    python research/size_curve.py MODEL AGIQA3K [IMAGES]

Of IMAGES (60) images of AGIQA-3K, 512x512, six of every setting of a generator: mean perception and
alignment, SRCC of perception with people's quality, and the share that is said to be unlike the training
images for its size. Enlarging would be no honest test, so nothing is.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from diffagiqa import Scorer
from diffagiqa.evaluation.correlations import srcc

SIZES = (512, 448, 384, 320, 256, 224, 192, 128)


def main() -> None:
    model, root = sys.argv[1], Path(sys.argv[2])
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 60
    torch.set_num_threads(1)
    table = pd.read_csv(root / "data.csv")
    table["setting"] = table["name"].str.rsplit("_", n=1).str[0]
    settings = table.groupby("setting")
    chosen = settings.sample(-(-count // settings.ngroups), random_state=0)
    scorer = Scorer.from_pretrained(model, device="cpu")
    images = [Image.open(root / "images" / name).convert("RGB") for name in chosen["name"]]
    prompts = list(chosen["prompt"])
    print(f"{len(images)} images\nsize  perception  alignment  SRCC of quality  flagged for size")
    for size in SIZES:
        smaller = [image.resize((size, size), Image.Resampling.BOX) for image in images]
        scores = scorer(smaller, prompts)
        quality = np.array([score["perception"] for score in scores])
        alignment = np.mean([score["alignment"] for score in scores])
        flagged = np.mean(["size" in score.unfamiliar for score in scores])
        rank = srcc(quality, chosen["mos_quality"].to_numpy())
        print(
            f"{size:4}  {quality.mean():10.3f}  {alignment:9.3f}  {rank:15.3f}  {100 * flagged:.0f} %",
            flush=True,
        )


if __name__ == "__main__":
    main()
