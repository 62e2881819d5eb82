"""Branches that were trained side by side -> one model of the package's classes.

Its logits are the mean of the branches': the weights of each stand on the diagonal, and the units of
the features are part of the first convolutions. Its prompters are the identity until they are trained.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from default_heads import (
    FIT_NAMES,
    FIT_UNIT,
    FIT_WIDTHS,
    LEVELS,
    NAMES,
    OFFSETS,
    Branches,
)
from default_networks import Head, Norm
from torch import Tensor

from diffagiqa.backbones.efficientnet import CHANNELS
from diffagiqa.model.config import ModelConfig, TaskConfig
from diffagiqa.model.scoring import DiffAGIQA, build_model
from diffagiqa.pretrained import save_model

TASKS = ("perception", "alignment")
State = dict[str, Tensor]


def model_config(net: Branches) -> ModelConfig:
    """The configuration of the folded model."""
    recipe = net.recipe
    k = recipe.branches
    widths = [CHANNELS[name.split(".")[1]] for name in NAMES]
    return ModelConfig(
        tasks=(TaskConfig("perception", use_text=False), TaskConfig("alignment")),
        backbone="compact",
        image_size=512,
        fit="native",
        features=(*NAMES, *FIT_NAMES),
        feature_channels=(*widths, *FIT_WIDTHS),
        pyramid_size=recipe.size,
        pyramid_channels=k * recipe.channels,
        pyramid_kernels=(1,),
        attention_channels=1,
        fusion_channels=(k * recipe.wide, k * recipe.wide, k * recipe.narrow),
        fusion_groups=k,
        head_channels=(k * recipe.hidden[0], k * recipe.hidden[1]),
        head_dropout=recipe.dropout,
    )


@torch.no_grad()
def folded(net: Branches) -> DiffAGIQA:
    """The same function as one ``DiffAGIQA``."""
    config = model_config(net)
    k, channels = net.recipe.branches, net.recipe.channels
    model = build_model(config).eval()
    state: State = {}
    image, fit = net.image_levels, net.fit_levels
    for i in range(len(config.features)):
        part, number = (image, i) if i < len(LEVELS) else (fit, i - len(LEVELS))
        weight, mean, unit = part.first[number], *_units(net, i)
        name = f"pyramid.levels.{i}."
        state[name + "branches.0.0.weight"] = (weight / unit)[:, :, None, None]
        state[name + "branches.0.0.bias"] = -weight @ (mean / unit)
        _norm(state, name + "branches.0.1", part.norm1, slice(number, number + 1))
        own = slice(number * k, number * k + k)
        blocks = torch.block_diag(*part.second[own].transpose(1, 2))
        state[name + "fusion.0.weight"] = blocks[:, :, None, None]
        _norm(state, name + "fusion.1", part.norm2, own)
    for task, head in zip(TASKS, net.heads, strict=True):
        _head(state, f"heads.{task}.", cast("Head", head), len(config.features), channels)
        for end in ("weight", "bias"):
            state[f"prompters.{task}.conv2.{end}"] = torch.zeros(())
    known = model.state_dict()
    for name, tensor in known.items():
        if name.startswith("pyramid.attentions.") or name.endswith("fusion.0.bias"):
            state.setdefault(name, torch.zeros(()))  # gamma 0: no attention
        if name.startswith("heads.") and name.endswith(".0.bias"):
            state.setdefault(name, torch.zeros(()))
        tensor.copy_(state.get(name, tensor))
    return model


def _units(net: Branches, level: int) -> tuple[Tensor, Tensor]:
    """Mean and unit of the channels of a level."""
    if level < len(LEVELS):
        scale, kind, stage = LEVELS[level]
        own = slice(OFFSETS[stage], OFFSETS[stage + 1])
        return net.mean[scale, kind, own, 0], net.unit[scale, kind, own, 0]
    unit = FIT_UNIT.split(FIT_WIDTHS)[level - len(LEVELS)]
    return torch.zeros_like(unit), unit


def _norm(state: State, name: str, norm: Norm, groups: slice = slice(None)) -> None:
    names = {"weight": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
    for ours, theirs in names.items():
        state[f"{name}.{theirs}"] = getattr(norm, ours)[groups].flatten()


def _head(state: State, name: str, head: Head, levels: int, channels: int) -> None:
    k, wide, narrow = head.recipe.branches, head.recipe.wide, head.recipe.narrow
    join = torch.zeros(k, wide, levels, k, channels)
    for i in range(k):
        join[i, :, :, i] = head.join[i].T.unflatten(1, (levels, channels))
    state[name + "fusion.0.0.weight"] = join.flatten(2).flatten(0, 1)[:, :, None, None]
    state[name + "fusion.1.0.weight"] = head.conv1
    last = torch.zeros(k, narrow, k, wide, 3, 3)
    for i, block in enumerate(head.conv2.split(narrow)):
        last[i, :, i] = block
    state[name + "fusion.2.0.weight"] = last.flatten(2, 3).flatten(0, 1)
    for i, norm in enumerate(head.norms):
        _norm(state, f"{name}fusion.{i}.1", cast("Norm", norm))
    for number, weight, bias in ((0, head.linear1, head.bias1), (3, head.linear2, head.bias2)):
        state[f"{name}regressor.{number}.weight"] = torch.block_diag(*weight.transpose(1, 2))
        state[f"{name}regressor.{number}.bias"] = bias.flatten()
    state[name + "regressor.6.weight"] = head.linear3.flatten()[None] / k
    state[name + "regressor.6.bias"] = head.bias3.mean().view(1)


@torch.no_grad()
def write_model(net: Branches, folder: Path) -> None:
    """Fold, check on cached features that the scores are the same, and write in half precision."""
    model = folded(net)
    cells, rows = net.recipe.size, torch.arange(16)
    prompts = torch.from_numpy(net.cache.ratings.prompt[:16])
    grids = net.cache.grids[:16].float().unflatten(4, (cells, cells))
    features = {
        name: grids[:, scale, kind, OFFSETS[stage] : OFFSETS[stage + 1]]
        for name, (scale, kind, stage) in zip(NAMES, LEVELS, strict=True)
    }
    fits = (net.fits[rows, prompts] * FIT_UNIT)[:, :, None, None].split(FIT_WIDTHS, dim=1)
    wanted = torch.from_numpy(net.logits(rows.numpy(), prompts.numpy())).sigmoid()
    twice = {name: maps.repeat(2, 1, 1, 1) for name, maps in features.items()}
    for name, maps in zip(FIT_NAMES, fits, strict=True):
        twice[name] = torch.cat([torch.zeros_like(maps), maps])
    scores = model.score_features(twice)
    difference = max(float((scores[t] - w).abs().max()) for t, w in zip(TASKS, wanted, strict=True))
    if difference > 1e-5:
        raise SystemExit(f"folding changed a score by {difference}")
    save_model(model, folder, half=True)
    print(f"{folder}: folding changed scores by {difference:.1e}")
