"""How often a damaged picture scores lower, by kind of defect: one made mild, one made strong.

    python tools/damage_order.py DATABASE ROOT [--model MODEL] [--count 300] [--seed 0] [--rows rows.csv]

Every picture drawn is scored as it is and with one defect at two severities, 0.25 to 0.55 and 0.65 to 1.
``--rows`` of a run's folder draws among the pictures of its test part. With the database ``made``,
those are clean synthetic scenes of held-out prompts, and ROOT is their side in pixels.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pandas as pd
from drawn_pictures import arguments, clean_scenes, pictures

from diffagiqa import Scorer
from diffagiqa.data.images import decode_image
from diffagiqa.synth.defects import DEFECTS, HELD_OUT_DEFECTS
from diffagiqa.training.unrated import mild_and_strong


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rows", default=None, help="rows.csv of a run: its test part alone")
    options = parser.parse_args()
    samples = clean_scenes(options) if options.database == "made" else pictures(options)
    if options.rows is not None:
        table = pd.read_csv(options.rows)
        tested = {str(name).split("/")[-1] for name in table.image[table.part == "test"]}
        samples = [one for one in samples if one.image.split("/")[-1] in tested]
    numbers = np.random.default_rng(options.seed)
    scorer = Scorer.from_pretrained(options.model)
    names = list(DEFECTS)
    pairs, kinds = [], []
    for i, row in enumerate(numbers.permutation(len(samples))[: options.count]):
        picture, prompt = decode_image(samples[row].source), samples[row].prompt
        kinds.append(names[i % len(names)])
        pairs.append((picture, prompt))
        for damage in mild_and_strong(kinds[-1], numbers, int(row)):
            pairs.append((damage(picture), prompt))
    scores = np.array([score["perception"] for score in scorer.score_many(pairs)])  # type: ignore[index]
    whole, mild, strong = scores.reshape(-1, 3).T
    found: dict[str, list[int]] = defaultdict(list)
    for i, kind in enumerate(kinds):
        found[kind].append(i)
    held = [i for kind in HELD_OUT_DEFECTS for i in found[kind]]
    learnt = [i for i in range(len(kinds)) if i not in set(held)]
    parts = {"kinds that training uses": learnt, "kinds held out": held} | dict(
        sorted(found.items())
    )
    print(
        "| defect | pictures | mild < none | strong < none | strong < mild |\n|---|---|---|---|---|"
    )
    for name, own in parts.items():
        cells = [mild < whole, strong < whole, strong < mild]
        print(
            f"| {name} | {len(own)} | " + " | ".join(f"{c[own].mean():.1%}" for c in cells) + " |"
        )


if __name__ == "__main__":
    main()
