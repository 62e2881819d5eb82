"""A torchmetrics metric, fed batch by batch, as a generator's validation loop would."""

import argparse

import numpy as np
import torch
from PIL import Image

from diffagiqa import Scorer
from diffagiqa.assets import demo_images
from diffagiqa.integrations.torchmetrics_metric import DiffAGIQAMetric

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", default=None)
options = parser.parse_args()

scorer = Scorer.from_pretrained(options.model)
metric = DiffAGIQAMetric(scorer)
files = demo_images()[:4]
for batch in (files[:2], files[2:]):
    arrays = [np.array(Image.open(file.path).convert("RGB")) for file in batch]
    images = torch.stack([torch.from_numpy(array).permute(2, 0, 1) / 255 for array in arrays])
    metric.update(images, [file.prompt for file in batch])
print({task: round(float(value), 4) for task, value in metric.compute().items()})
