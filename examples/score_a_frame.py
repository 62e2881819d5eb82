"""Score columns for a table, in one line: pandas, and polars where it is installed."""

import argparse
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
from PIL import Image

from diffagiqa import Scorer
from diffagiqa.integrations.frames import add_scores
from diffagiqa.synth import made_sample

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", default=None)
options = parser.parse_args()

scorer = Scorer.from_pretrained(options.model)
with tempfile.TemporaryDirectory() as folder:
    rows = []
    for index in range(2):
        sample = made_sample(0, index, 128)
        file = Path(folder) / f"{index}.png"
        Image.fromarray(sample.image).save(file)
        rows.append({"image": str(file), "prompt": sample.caption})
    rows.append({"image": str(Path(folder) / "absent.png"), "prompt": "a cat"})

    print(pd.DataFrame(rows).pipe(add_scores, scorer).drop(columns="image").to_string())
    if find_spec("polars"):
        import polars

        print(polars.DataFrame(rows).pipe(add_scores, scorer).drop("image"))
