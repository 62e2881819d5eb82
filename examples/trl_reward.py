"""The reward function that trl's DDPO (images) and AlignProp (tensors with gradients) call."""

import argparse

import numpy as np
import torch
from PIL import Image

from diffagiqa import Scorer
from diffagiqa.assets import demo_images
from diffagiqa.integrations.reward import Reward

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", default=None)
options = parser.parse_args()

scorer = Scorer.from_pretrained(options.model)
path, prompt, _ = demo_images()[0]
image = Image.open(path).convert("RGB")

reward = Reward(scorer, {"perception": 1.0, "alignment": 2.0})
values, parts = reward([image], [prompt], metadata=[{}])
print("reward", values, {task: round(float(value), 4) for task, value in parts.items()})

images = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255
images.requires_grad_(True)
values, _ = Reward(scorer, differentiable=True)(images, [prompt])
values.sum().backward()
print("gradient of the reward:", float(images.grad.abs().mean()))
