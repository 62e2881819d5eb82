"""A metric by name, as in pyiqa; as a loss it has gradients to the image."""

import argparse

import numpy as np
import torch
from PIL import Image

from diffagiqa.assets import demo_images
from diffagiqa.integrations.named_metric import create_metric

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", default=None)
options = parser.parse_args()

path, prompt, _ = demo_images()[0]
image = torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)[None] / 255

metric = create_metric("diffagiqa-alignment", model=options.model)
print("alignment", metric(image, prompt))

loss = create_metric("diffagiqa-perception", model=metric.scorer, as_loss=True)
image.requires_grad_(True)
loss(image, prompt).backward()
print("gradient of the quality loss:", float(image.grad.abs().mean()))
