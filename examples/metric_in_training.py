"""A torchmetrics metric, fed batch by batch, as a generator's validation loop would."""

import argparse

import torch

from diffagiqa import Scorer
from diffagiqa.integrations.torchmetrics_metric import DiffAGIQAMetric
from diffagiqa.synth import made_sample

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", default=None)
options = parser.parse_args()

scorer = Scorer.from_pretrained(options.model)
metric = DiffAGIQAMetric(scorer)
for batch in range(2):
    samples = [made_sample(0, 2 * batch + i, 128) for i in range(2)]
    images = torch.stack([torch.from_numpy(s.image).permute(2, 0, 1) / 255 for s in samples])
    metric.update(images, [s.caption for s in samples])
print({task: round(float(value), 4) for task, value in metric.compute().items()})
