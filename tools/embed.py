"""A training run -> the model folder that the package carries: half precision, its backbone inside.

    python tools/embed.py RUN BACKBONE FEATURES OUT

RUN is the folder of ``diffagiqa train``, BACKBONE the diffusers folder it was trained on, FEATURES its
feature cache: the pictures there decide above which distance a picture is called unfamiliar.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import torch

from diffagiqa.model.pyramid import StatisticsPooling
from diffagiqa.model.scoring import DiffAGIQA
from diffagiqa.pretrained import load_model, save_model
from diffagiqa.training.features import open_features

QUANTILE = 0.99
"""Share of the training pictures that are called familiar."""


def embed(run: Path, backbone: Path, cache: Path, out: Path) -> None:
    model = load_model(run / "best").eval()
    limit = familiar_limit(model, cache)
    model.config = replace(model.config, backbone="./backbone", unfamiliar_above=round(limit, 4))
    save_model(model, out, half=True)
    shutil.rmtree(out / "backbone", ignore_errors=True)
    shutil.copytree(backbone, out / "backbone")
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    print(f"{out}: {size / 1e6:.1f} MB, unfamiliar above {limit:.3f}")


@torch.inference_mode()
def familiar_limit(model: DiffAGIQA, cache: Path) -> float:
    """The distance below which ``QUANTILE`` of the cached pictures lie, damaged copies apart; 0 without
    statistics."""
    pyramid = model.pyramid
    if not isinstance(pyramid, StatisticsPooling):
        return 0.0
    features = open_features(cache)
    rows = torch.arange(features.levels[0].shape[0] - features.damaged)
    first = torch.zeros_like(rows)
    own = [features.levels[features.names.index(name)] for name in model.config.level_names]
    levels = [level[rows, first][:, 0].float() for level in own]
    return float(pyramid.distance(levels).quantile(QUANTILE))


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    embed(*(Path(argument) for argument in sys.argv[1:]))
