"""Guide the small generator by the score, on prompts it was not trained on, and look for reward hacking.

Every picture is made twice from the same noise: plainly, and with each of the last denoising steps moved
along the gradient of the score. A rise of the score alone proves nothing: the gradient may find what
pleases the scorer and no one else. So a judge that the guidance never saw says what it thinks: kernel
regression from natural-scene statistics to the simulated quality of synthetic pictures, which is known.
"""

import argparse

import numpy as np
import torch

from diffagiqa import Scorer
from diffagiqa.benchmark.classical import scene_statistics, simple_statistics
from diffagiqa.data.images import decode_image
from diffagiqa.pretrain.sampling import load_pipeline
from diffagiqa.pretrained import backbone_reference
from diffagiqa.synth import made_sample
from diffagiqa.synth.database import made_image
from diffagiqa.synth.observers import true_quality

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", default=None)
parser.add_argument("--prompts", type=int, default=16)
parser.add_argument("--steps", type=int, default=15)
parser.add_argument("--size", type=int, default=128)
parser.add_argument(
    "--strength", type=float, default=0.05, help="length of a move, of the latents'"
)
parser.add_argument("--judge-images", type=int, default=300)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--sheet", default=None, help="PNG of plain and guided pictures")
options = parser.parse_args()


def statistics(image) -> np.ndarray:
    pixels = decode_image(image)
    return np.concatenate([scene_statistics(pixels), list(simple_statistics(pixels).values())])


def fit_judge(count: int, size: int):
    """Synthetic pictures of known severities -> a function of statistics that predicts true quality."""
    made = [made_image(index, size, seed=1) for index in range(count)]
    known = np.stack([statistics(one.image) for one in made])
    truth = np.array([true_quality(one.severities) for one in made])
    centre, spread = known.mean(0), known.std(0) + 1e-6
    known = (known - centre) / spread

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.exp(-0.3 / a.shape[1] * ((a[:, None] - b[None]) ** 2).sum(2))

    weights = np.linalg.solve(kernel(known, known) + 0.3 * np.eye(count), truth - truth.mean())
    return lambda found: kernel((found - centre) / spread, known) @ weights + truth.mean()


scorer = Scorer.from_pretrained(options.model)
pipeline = load_pipeline(backbone_reference(scorer.config, scorer.saved_in))
prompts = [
    made_sample(9, index, 64, "test-prompts").caption for index in range(options.prompts)
]  # held out


def climb(pipe, step: int, timestep, kwargs: dict) -> dict:
    """Move the latents a little along the gradient of the score, in the second half of the steps."""
    if step < options.steps // 2:
        return kwargs
    with torch.enable_grad():
        latents = kwargs["latents"].detach().requires_grad_(True)
        images = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample / 2 + 0.5
        scorer.loss(images.clamp(0, 1), prompt).backward()
    move = latents.grad / latents.grad.norm().clamp_min(1e-12)
    length = options.strength * latents.detach().norm()
    return {**kwargs, "latents": (latents.detach() - length * move).to(kwargs["latents"].dtype)}


rows, pictures = [], []
judge = fit_judge(options.judge_images, options.size)
for number, prompt in enumerate(prompts):
    pair = []
    for callback in (None, climb):
        generator = torch.Generator().manual_seed(options.seed * 1000 + number)
        pair += pipeline(
            [prompt], height=options.size, width=options.size, generator=generator,
            num_inference_steps=options.steps, callback_on_step_end=callback,
        ).images  # fmt: skip
    pictures += pair
    scores = scorer(pair, [prompt, prompt])
    judged = judge(np.stack([statistics(image) for image in pair]))
    rows.append([*(np.mean(list(s.scores.values())) for s in scores), *judged])
values = np.array(rows)
for name, first in (("score, 0 to 1", 0), ("judge, true quality", 2)):
    plain, guided = values[:, first], values[:, first + 1]
    wins = (guided > plain).mean()
    error = 1.96 * (guided - plain).std(ddof=1) / len(plain) ** 0.5
    print(
        f"{name}: {plain.mean():.3f} plain, {guided.mean():.3f} guided, difference "
        f"{(guided - plain).mean():+.3f} ± {error:.3f}, higher in {wins:.0%} of {len(plain)} prompts"
    )
if options.sheet:
    from diffagiqa.pretrain.sampling import grid

    grid(pictures[:16], 8).save(options.sheet)
