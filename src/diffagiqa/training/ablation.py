"""The paper's claims, each switched off in turn: one table.

All variants train heads on cached features with the same splits; variants that change what the frozen
parts give have a cache of their own. The one that lets prompters learn needs the full regime.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from diffagiqa.data.splits import Split
from diffagiqa.evaluation.tables import markdown
from diffagiqa.model.config import ModelConfig
from diffagiqa.training.augmented import with_augmentations
from diffagiqa.training.config import TrainingConfig
from diffagiqa.training.data import TrainingData
from diffagiqa.training.processes import Processes
from diffagiqa.training.reproduce import Log, Repeats, repeat, shared_features
from diffagiqa.training.train import open_backbone

TIMESTEPS = (1, 51, 101, 201, 401)
DRAWS = 4


@dataclass(frozen=True)
class Variant:
    """One row of the table; ``cache`` names the features that it shares with others."""

    name: str
    model: ModelConfig
    cache: str = "base"
    full: bool = False


def variants(base: ModelConfig, timesteps: Sequence[int] = TIMESTEPS) -> list[Variant]:
    """The switches, applied to ``base`` one at a time."""
    switches = [
        Variant("trained prompter per score (two branches)",
                replace(base, prompting="per_task"), full=True),
        Variant("trained prompter shared by all scores (one branch)",
                replace(base, prompting="shared"), full=True),
    ]  # fmt: skip
    base = replace(base, prompting="none")
    switches.append(Variant("no prompter (base of the rows below)", base))
    switches.append(Variant("no text (empty prompt)", replace(base, use_text=False), "no-text"))
    if not all(task.use_text for task in base.tasks):
        reading = tuple(replace(task, use_text=True) for task in base.tasks)
        switches.append(Variant("text for every score", replace(base, tasks=reading), "all-text"))
    switches += [
        Variant(f"timestep {t} instead of {base.timestep}", replace(base, timestep=t), f"t{t}")
        for t in timesteps
        if t != base.timestep
    ]
    if base.noise_draws == 1:
        averaged = replace(base, noise_draws=DRAWS)
        switches.append(Variant(f"{DRAWS} noise draws averaged", averaged, f"draws{DRAWS}"))
    if base.pooling == "pyramid":
        plain = replace(base, pooling="plain")
        switches.append(Variant("plain pooling, no pyramid", plain, "plain"))
    if len(base.features) > 1:
        every = range(len(base.features))
        switches += [Variant(f"only {base.features[i]}", _levels(base, [i])) for i in every]
        switches += [
            Variant(f"without {base.features[i]}", _levels(base, [j for j in every if j != i]))
            for i in every
        ]
    return switches


def ablate(
    config: TrainingConfig, rows: TrainingData, folder: Path, *, repeats: int = 3, full: bool = False,
    timesteps: Sequence[int] = TIMESTEPS, official: Split | None = None,
    device: str | None = None, log: Log = print,
) -> str:  # fmt: skip
    """Run every variant and return the table as Markdown; finished repeats are not run again.

    Without ``full``, "not run" stands for the variants whose prompters learn.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = with_augmentations(rows, config)
    processes = Processes(device)
    backbone = open_backbone(config, processes.device)
    table: list[tuple[Variant, Repeats | None]] = []
    for variant in variants(config.model, timesteps):
        if variant.full and not full:
            table.append((variant, None))
            continue
        log(f"variant: {variant.name}")
        changed = replace(config, model=variant.model, freeze_prompters=not variant.full)
        features = None
        if not variant.full:  # levels are left out after them, so the cached ones are the base's
            base = config.model
            model = replace(
                variant.model, features=base.features, feature_channels=base.feature_channels
            )
            where = folder / "features" / variant.cache
            cached = replace(changed, model=model)
            features = shared_features(cached, rows, where, backbone, processes, log)
        results = repeat(
            changed, rows, folder / "".join(c if c.isalnum() else "-" for c in variant.name), repeats,
            backbone=backbone, features=features, official=official, device=device, log=log,
        )  # fmt: skip
        table.append((variant, results))
    return render_ablation(config, rows, table)


def render_ablation(
    config: TrainingConfig, rows: TrainingData, table: Sequence[tuple[Variant, Repeats | None]]
) -> str:
    """Median SRCC and PLCC on the test parts by task; what was not run is printed as not run."""
    tasks = rows.task_names
    head = [
        f"# Ablation on {' + '.join(rows.names)}",
        "",
        f"{len(rows)} images, split by {config.split}, {config.model.image_size} x "
        f"{config.model.image_size} pixels; median over repeats [lowest, highest].",
        "",
    ]
    lines = []
    for variant, done in table:
        cells = [variant.name, str(len(done.results)) if done else "not run"]
        for task in tasks:
            for metric in ("srcc", "plcc"):
                values = done.values(task, metric) if done else ()
                cells.append(
                    f"{np.median(values):.3f} [{min(values):.3f}, {max(values):.3f}]"
                    if values
                    else "not run"
                )
        lines.append(cells)
    columns = [f"{task} {metric}" for task in tasks for metric in ("SRCC", "PLCC")]
    return "\n".join([*head, markdown(["variant", "repeats", *columns], lines)]) + "\n"


def _levels(base: ModelConfig, levels: Sequence[int]) -> ModelConfig:
    return replace(
        base,
        features=tuple(base.features[i] for i in levels),
        feature_channels=tuple(base.feature_channels[i] for i in levels),
    )
