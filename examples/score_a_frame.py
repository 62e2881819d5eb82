"""Score columns for a table, in one line: pandas, and polars where it is installed."""

import argparse
from importlib.util import find_spec

import pandas as pd

from diffagiqa import Scorer
from diffagiqa.assets import demo_images
from diffagiqa.integrations.frames import add_scores

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", default=None)
options = parser.parse_args()

scorer = Scorer.from_pretrained(options.model)
rows = [{"image": str(path), "prompt": prompt} for path, prompt, _ in demo_images()[:2]]
rows.append({"image": "absent.png", "prompt": "a cat"})

print(pd.DataFrame(rows).pipe(add_scores, scorer).drop(columns="image").to_string())
if find_spec("polars"):
    import polars

    print(polars.DataFrame(rows).pipe(add_scores, scorer).drop("image"))
