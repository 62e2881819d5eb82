"""Draw the figures of docs/method.md with the embedded model.

python tools/figures.py docs/images/method
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch

from diffagiqa import Scorer
from diffagiqa.backbones.folder import load_backbone
from diffagiqa.backbones.noise import draw_noise
from diffagiqa.backbones.unet_walk import unet_features
from diffagiqa.pretrained import backbone_reference
from diffagiqa.scorer import DEFAULT_MODEL
from diffagiqa.synth import made_sample

SHOWN = ("down_blocks.0.attentions.1", "up_blocks.1.attentions.2", "up_blocks.2.attentions.2")


@torch.inference_mode()
def flow(file: Path) -> None:
    """One picture on its way: pixels, latents, noisy latents at t = 201, three features."""
    scorer = Scorer.from_pretrained()
    config = scorer.config
    place = backbone_reference(config, DEFAULT_MODEL)  # the scorer's own U-Net ends at its features
    backbone = load_backbone(place, SHOWN, dtype=torch.float32)
    sample = made_sample(0, 42, config.image_size)
    images = scorer.prepare(sample.image)[None]
    mean, std = backbone.encode_image(scorer.model.prompt(images))
    noise = draw_noise(0, 0, backbone.latent_shape(config.image_size), "mean")
    noisy = backbone.noisy_latents(mean, std, noise, 201)
    text = backbone.encode_text([sample.caption])
    features = unet_features(backbone.unet, noisy, 201, text, SHOWN)
    panels = [
        ("picture", images[0].permute(1, 2, 0)),
        ("latents (3 of their channels)", _three(mean[0])),
        ("with noise of t = 201", _three(noisy[0])),
        *(
            (f"U-Net: {name}", value[0].float().square().mean(0).sqrt())
            for name, value in features.items()
        ),
    ]
    figure, axes = plt.subplots(2, 3, figsize=(9.6, 6.6), layout="constrained")
    for place, (title, values) in zip(axes.flat, panels, strict=True):
        place.imshow(values.float().numpy(), cmap="cividis", interpolation="nearest")
        place.set_title(title, fontsize=9)
        place.set_axis_off()
    figure.suptitle(f"prompt: {sample.caption}", fontsize=10)
    figure.savefig(file, dpi=90)
    plt.close(figure)


def _three(latents: torch.Tensor) -> torch.Tensor:
    """Three channels as red, green and blue, each from its 2nd to its 98th percentile."""
    chosen = latents[:3].float().flatten(1)
    low, high = chosen.quantile(0.02, 1), chosen.quantile(0.98, 1)
    scaled = (latents[:3].float() - low[:, None, None]) / (high - low)[:, None, None]
    return scaled.clamp(0, 1).permute(1, 2, 0)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    flow(folder / "flow.png")
