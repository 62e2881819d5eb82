"""The reward function that trl's DDPO (pictures) and AlignProp (tensors with gradients) call."""

import argparse

import torch
from PIL import Image

from diffagiqa import Scorer
from diffagiqa.integrations.reward import Reward
from diffagiqa.synth import made_sample

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", default=None)
options = parser.parse_args()

scorer = Scorer.from_pretrained(options.model)
sample = made_sample(0, 3, 128)

reward = Reward(scorer, {"perception": 1.0, "alignment": 2.0})
values, parts = reward([Image.fromarray(sample.image)], [sample.caption], metadata=[{}])
print("reward", values, {task: round(float(value), 4) for task, value in parts.items()})

pictures = torch.from_numpy(sample.image).permute(2, 0, 1)[None] / 255
pictures.requires_grad_(True)
values, _ = Reward(scorer, differentiable=True)(pictures, [sample.caption])
values.sum().backward()
print("gradient of the reward:", float(pictures.grad.abs().mean()))
