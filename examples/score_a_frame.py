"""Score columns for a table, in one line."""

import argparse
import tempfile
from pathlib import Path

import pandas as pd
from PIL import Image

from diffagiqa import Scorer
from diffagiqa.integrations.frames import add_scores
from diffagiqa.synth import made_sample

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", default=None)
options = parser.parse_args()

with tempfile.TemporaryDirectory() as folder:
    rows = []
    for index in range(2):
        sample = made_sample(0, index, 128)
        file = Path(folder) / f"{index}.png"
        Image.fromarray(sample.image).save(file)
        rows.append({"image": str(file), "prompt": sample.caption})
    frame = pd.DataFrame([*rows, {"image": str(Path(folder) / "absent.png"), "prompt": "a cat"}])
    scored = frame.pipe(add_scores, Scorer.from_pretrained(options.model))
print(scored.drop(columns="image").to_string())
