"""Watch the score while a diffusers pipeline denoises; generate N images and keep the best."""

import argparse

from diffusers import StableDiffusionPipeline

from diffagiqa import Scorer
from diffagiqa.integrations import Reward, ScoreSteps

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", default=None)
parser.add_argument("--pipeline", default="stable-diffusion-v1-5/stable-diffusion-v1-5")
parser.add_argument("--prompt", default="a red apple in a green meadow, photorealistic")
parser.add_argument("--steps", type=int, default=10)
parser.add_argument("--size", type=int, default=512)
options = parser.parse_args()

scorer = Scorer.from_pretrained(options.model)
pipeline = StableDiffusionPipeline.from_pretrained(options.pipeline)
shape = {"height": options.size, "width": options.size, "num_inference_steps": options.steps}

watch = ScoreSteps(scorer, [options.prompt], every=max(1, options.steps // 3))
pipeline([options.prompt], callback_on_step_end=watch, **shape)
for seen in watch.history:
    scores = {task: round(float(value[0]), 3) for task, value in seen.scores.items()}
    print(f"step {seen.step}, timestep {seen.timestep}: {scores}")

prompts = [options.prompt] * 2
rewards, _ = Reward(scorer)(pipeline(prompts, **shape).images, prompts)
print(
    f"best of 2: number {int(rewards.argmax())}, rewards {[round(r, 3) for r in rewards.tolist()]}"
)
