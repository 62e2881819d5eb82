"""Sample the package's text-to-image model for held-out prompts, and judge what the samples show.

    python tools/judge_samples.py BACKBONE OUT [--samples 192] [--minutes 5]

Prints a Markdown table: the share of asked attributes that a classifier finds in the samples, in pictures
drawn of the same scenes (what the classifier can do), and in the samples against other prompts (chance).
Writes OUT/samples.png, a grid of the first samples with their prompts beside it in samples.txt.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from diffagiqa.pretrain.judge import attribute_accuracy, train_judge
from diffagiqa.pretrain.pictures import whole
from diffagiqa.pretrain.run import made_pictures
from diffagiqa.pretrain.sampling import grid, load_pipeline, sample
from diffagiqa.synth.captions import describe
from diffagiqa.synth.render import render
from diffagiqa.synth.scene import sample_scene

SIZE = 128


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("backbone", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--samples", type=int, default=192)
    parser.add_argument("--minutes", type=float, default=5.0, help="training of the classifier")
    parser.add_argument("--pictures", type=int, default=5000, help="it is trained on")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--guidance", type=float, default=3.0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    made = made_pictures(options.pictures, seed=7, workers=2)
    judge = train_judge(
        [whole(image, SIZE) for image in made.images],
        [shown for _, shown in made.scenes],
        minutes=options.minutes,
    )
    numbers = np.random.default_rng(11)
    scenes = [sample_scene(numbers, "test-prompts") for _ in range(options.samples)]
    prompts = [describe(scene, numbers, complete=True).text for scene in scenes]
    drawn = [whole(render(scene, 256, i), SIZE) for i, scene in enumerate(scenes)]
    pipeline = load_pipeline(options.backbone)
    pictures = []
    for start in range(0, len(prompts), 16):
        pictures += sample(
            pipeline, prompts[start : start + 16], size=SIZE, steps=options.steps,
            guidance=options.guidance, seed=start,
        )  # fmt: skip
    samples = [np.asarray(picture) for picture in pictures]
    grid(pictures[:24], 6).save(options.out / "samples.png")
    (options.out / "samples.txt").write_text("\n".join(prompts[:24]) + "\n", encoding="utf-8")
    columns = [
        attribute_accuracy(judge, drawn, scenes),
        attribute_accuracy(judge, samples, scenes),
        attribute_accuracy(judge, samples, scenes[1:] + scenes[:1]),
    ]
    print("| attribute | asked | made pictures | samples | samples against another prompt |")
    print("|---|---|---|---|---|")
    for row in zip(*columns, strict=True):
        cells = " | ".join(f"{one.right:.2f}" for one in row)
        print(f"| {row[0].aspect} | {row[0].asked} | {cells} |")


if __name__ == "__main__":
    main()
