"""Measure how far explanations can be believed, on real images of AGIQA-3K.

    python research/explanations.py MODEL AGIQA3K [--images 200] [--methods windows,activation]
        [--sheets FOLDER]

Maps: one of eight damages is put on a blob of an image; a hit is a map whose highest value lies where
pixels changed. Chance: the share of the image that changed. Words: in the prompt of an image whose prompt
is met (mos_align in the upper half) one noun, colour or number is replaced by a wrong one; a hit is an
explanation whose first word is that one. Chance: one over the number of words. Prints shares with 95 %
intervals by bootstrap over images, and how many right words are called missing at several limits.
``--sheets`` draws fifty explanations instead. The default's heads were trained on these images and
prompts, not on the damaged blobs and wrong words.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage, stats

from diffagiqa import Scorer
from diffagiqa.explain import explain
from diffagiqa.explain.explanation import MISSING_ABOVE, word_drops
from diffagiqa.explain.spatial import METHODS, method_for
from diffagiqa.explain.words import split_words
from diffagiqa.training.damages import GLOBAL, damage
from diffagiqa.training.local_damages import random_region

DAMAGES = (
    "melted part", "duplicated part", "missing part", "blur", "sensor noise", "jpeg", "low detail",
    "warped geometry",
)  # fmt: skip
NOUNS = set(
    re.findall(
        r"\w+",
        """animal apple armor arm astronaut axe bagels bar basket bath bear blood brain broccoli
        bubble bushes butter butterflies cairn cake candy canvas canyon car cart castle cat
        cathedral cave champagne cheese cheetah chef chili chocolate church city claw cliff coat
        coral costume couch crocodile dahlia demon dress dungeon eagle ears eclipse elf empress
        explosion eyeballs factory feet fire floor flower flowers fox foxes frog fruit garden
        gecko ghost giraffe girl globe goat goblin gold goose gown guitarist gun hair hamster
        hands hat heart helmet highlands horns hourglass house hut jar jellyfish jewelry king
        kitchen kitten knight landscape leaves leopard lion lizard logo man marble mermaid minions
        mirror monk moon mountain mouse mushrooms newspaper nun ocean octopus otter owl panda
        panther park people pizza planet pocketwatch poodle pope priestess princess printer rabbit
        rain rainbow raspberry rat rats rickshaw river robot robots room rowboat ruins salad sand
        sculpture sheep shirt skateboard skull slugs snake spaceship sponge squid squids stag
        statue store suit sushi tavern temple tower toy train treasure tree trees tuxedos vampire
        vase vessel viking warrior waterfall werewolf window woman""",
    )
)
COLOURS = {"red", "blue", "green", "black", "white", "yellow", "pink", "brown", "orange", "purple"}
NUMBERS = {"one", "two", "three", "four", "five", "six", "ten", "2"}


def damaged(image: np.ndarray, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Image (H, W, 3) uint8 with damage ``index`` on a blob, and where pixels changed, (H, W) bool."""
    rng = np.random.default_rng([index, 5])
    defect = DAMAGES[index % len(DAMAGES)]
    region = random_region(rng, *image.shape[:2])
    result, _ = damage(image, defect, 0.9, rng, region)
    if defect in GLOBAL:
        blended = image + (result.astype(float) - image) * region[..., None]
        result = np.rint(blended).astype(np.uint8)
    changed = np.abs(result.astype(int) - image).max(2) > 12
    return result, ndimage.binary_closing(changed, iterations=6)


def replaced(prompt: str, rng: np.random.Generator) -> tuple[str, int, str] | None:
    """A prompt with one word wrong, where that word starts, and its kind; None where none will do."""
    kinds = {"noun": NOUNS, "colour": COLOURS, "number": NUMBERS}
    choices = [
        (word, kind)
        for word in split_words(prompt)
        for kind, members in kinds.items()
        if word.text.lower() in members
    ]
    if not choices:
        return None
    word, kind = choices[rng.integers(len(choices))]
    others = sorted(other for other in kinds[kind] if other not in prompt.lower())
    wrong = str(rng.choice(others))
    return prompt[: word.start] + wrong + prompt[word.end :], word.start, kind


def interval(values: list[float]) -> str:
    """Mean and 95 % bootstrap interval, in per cent."""
    array = np.asarray(values, float)
    if array.std() == 0:
        return f"{array.mean():.0%}"
    low, high = stats.bootstrap((array,), np.mean, rng=0).confidence_interval
    return f"{array.mean():.0%} [{low:.0%}, {high:.0%}]"


def measure_maps(scorer: Scorer, files: list[Path], methods: list[str]) -> None:
    """Print the pointing game of every method."""
    hits: dict[str, list[float]] = defaultdict(list)
    chance: list[float] = []
    for index, file in enumerate(files):
        image, changed = damaged(np.asarray(Image.open(file).convert("RGB")), index)
        if changed.mean() < 0.01:
            continue
        pixels = scorer.prepare(image)
        chance.append(float(changed.mean()))
        for method in methods:
            lost = METHODS[method](scorer, pixels, "", "perception")
            row, column = np.unravel_index(int(lost.argmax()), lost.shape)
            row = row * changed.shape[0] // lost.shape[0]
            column = column * changed.shape[1] // lost.shape[1]
            hits[method].append(float(changed[row, column]))
            hits[f"{method}, {DAMAGES[index % len(DAMAGES)]}"].append(hits[method][-1])
    print(
        f"| map | points into the damage (chance {np.mean(chance):.0%}) | images |\n|---|---|---|"
    )
    for name in sorted(hits):
        print(f"| {name} | {interval(hits[name])} | {len(hits[name])} |")


def measure_words(scorer: Scorer, rows: pd.DataFrame, folder: Path) -> None:
    """Print how often the wrong word is named first, and how many right ones are called missing."""
    hits: dict[str, list[float]] = defaultdict(list)
    chance, right_drops, wrong_drops = [], [], []
    for index, row in enumerate(rows.itertuples()):
        changed = replaced(row.prompt, np.random.default_rng([index, 6]))
        if changed is None:
            continue
        prompt, start, kind = changed
        words = split_words(prompt)
        pixels = scorer.prepare(folder / row.name)
        drops = np.array(word_drops(scorer, pixels, prompt, words))
        target = next(i for i, word in enumerate(words) if word.start <= start < word.end)
        for name in ("all", kind):
            hits[name].append(float(drops.argmin() == target))
        chance.append(1 / len(words))
        wrong_drops.append(drops[target])
        right_drops.append(
            np.array(word_drops(scorer, pixels, row.prompt, split_words(row.prompt)))
        )
    print(
        f"\n| word replaced | named first (chance {np.mean(chance):.0%}) | images |\n|---|---|---|"
    )
    for name, values in hits.items():
        print(f"| {name} | {interval(values)} | {len(values)} |")
    print("\n| called missing above | words of the right prompt | the wrong word |\n|---|---|---|")
    for above in (0.005, 0.01, 0.02, 0.03, 0.05):
        right = [float((-drops > above).mean()) for drops in right_drops]
        wrong = [float(-drop > above) for drop in wrong_drops]
        mark = " (default)" if above == MISSING_ABOVE else ""
        print(f"| {above}{mark} | {interval(right)} | {interval(wrong)} |")


def draw(scorer: Scorer, rows: pd.DataFrame, folder: Path, out: Path) -> None:
    """Fifty explanations: damaged images, right prompts and wrong words, one to forty words."""
    out.mkdir(parents=True, exist_ok=True)
    for index, row in enumerate(rows.head(50).itertuples()):
        image = np.asarray(Image.open(folder / row.name).convert("RGB"))
        prompt = row.prompt
        if index % 3 == 0:
            image, _ = damaged(image, index)
        elif index % 3 == 1 and (changed := replaced(prompt, np.random.default_rng([index, 6]))):
            prompt = changed[0]
        if index % 10 == 9:
            prompt = ", ".join(dict.fromkeys(" ".join(rows.prompt[index : index + 6]).split()))
        elif index % 10 == 8:
            prompt = prompt.split()[-1]
        explain(scorer, image, prompt).figure().savefig(out / f"{index:02d}.png", dpi=70)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("agiqa3k", type=Path)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--methods", default="")
    parser.add_argument("--sheets", type=Path)
    args = parser.parse_args()
    scorer = Scorer.from_pretrained(str(args.model), device="cpu")
    table = pd.read_csv(args.agiqa3k / "data.csv")
    folder = args.agiqa3k / "images"
    good = table[table["mos_quality"] > 2.5].sample(args.images, random_state=0)
    met = table[table["mos_align"] >= table["mos_align"].median()]
    met = met.sample(args.images, random_state=1)
    if args.sheets:
        draw(scorer, met, folder, args.sheets)
        return
    methods = args.methods.split(",") if args.methods else [method_for(scorer)]
    measure_maps(scorer, [folder / name for name in good["name"]], methods)
    measure_words(scorer, met, folder)


if __name__ == "__main__":
    main()
