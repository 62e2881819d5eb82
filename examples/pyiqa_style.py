"""A metric by name, as in pyiqa; as a loss it has gradients to the picture."""

import argparse

import torch

from diffagiqa.integrations.named_metric import create_metric
from diffagiqa.synth import made_sample

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", default=None)
options = parser.parse_args()

sample = made_sample(0, 1, 128)
image = torch.from_numpy(sample.image).permute(2, 0, 1)[None] / 255

metric = create_metric("diffagiqa-alignment", model=options.model)
print("alignment", metric(image, sample.caption))

loss = create_metric("diffagiqa-perception", model=metric.scorer, as_loss=True)
image.requires_grad_(True)
loss(image, sample.caption).backward()
print("gradient of the quality loss:", float(image.grad.abs().mean()))
