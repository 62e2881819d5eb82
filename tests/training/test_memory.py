"""The computed memory counts what autograd keeps, and recomputing keeps less."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import torch
from made_up import small_model

from diffagiqa.backbones.base import Backbone
from diffagiqa.model.scoring import build_model

sys.path.append(str(Path(__file__).parents[2] / "tools"))
from training_memory import training_memory


def test_memory_by_parts(backbone: Backbone) -> None:
    config = small_model(image_size=256)
    frozen = copy.deepcopy(backbone).to(device="meta", dtype=torch.bfloat16)
    width = 32  # of the reference backbone's text embedding
    one, two = (training_memory(config, frozen, batch, (77, width)) for batch in (1, 2))
    weights = sum(p.numel() for p in build_model(config).parameters())
    assert one.trained == two.trained == weights * 22
    assert one.frozen == sum(p.numel() * p.element_size() for p in frozen.parameters()) + sum(
        b.numel() * b.element_size() for b in frozen.buffers()
    )
    assert 1.8 * one.activations < two.activations < 2.2 * one.activations
    frozen.checkpoint_activations = True
    assert training_memory(config, frozen, 1, (77, width)).activations < 0.8 * one.activations
