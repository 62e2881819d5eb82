"""The paper's claims, each switched off in turn: one table.

All variants train heads on cached features with the same splits; variants that change what the frozen
parts give have a cache of their own. The one that lets prompters learn needs the full regime.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np

from diffagiqa.data.splits import Split
from diffagiqa.errors import ConfigError
from diffagiqa.evaluation.tables import markdown
from diffagiqa.model.config import ModelConfig
from diffagiqa.training.augmented import with_augmentations
from diffagiqa.training.config import TrainingConfig
from diffagiqa.training.data import TrainingData
from diffagiqa.training.processes import Processes
from diffagiqa.training.reproduce import Log, Repeats, repeat, shared_features
from diffagiqa.training.results import RESULT
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
    found = [
        Variant("trained prompter per score (two branches)",
                replace(base, prompting="per_task"), full=True),
        Variant("trained prompter shared by all scores (one branch)",
                replace(base, prompting="shared"), full=True),
    ]  # fmt: skip
    base = replace(base, prompting="none")
    found.append(Variant("no prompter (base of the rows below)", base))
    found.append(Variant("no text (empty prompt)", replace(base, use_text=False), "no-text"))
    if not all(task.use_text for task in base.tasks):
        reading = tuple(replace(task, use_text=True) for task in base.tasks)
        found.append(Variant("text for every score", replace(base, tasks=reading), "all-text"))
    found += [
        Variant(f"timestep {t} instead of {base.timestep}", replace(base, timestep=t), f"t{t}")
        for t in timesteps
        if t != base.timestep
    ]
    if base.noise_draws == 1:
        averaged = replace(base, noise_draws=DRAWS)
        found.append(Variant(f"{DRAWS} noise draws averaged", averaged, f"draws{DRAWS}"))
    if base.pooling == "pyramid":
        plain = replace(base, pooling="plain")
        found.append(Variant("plain pooling, no pyramid", plain, "plain"))
    if len(base.features) > 1:
        every = range(len(base.features))
        found += [Variant(f"only {base.features[i]}", _levels(base, [i])) for i in every]
        found += [
            Variant(f"without {base.features[i]}", _levels(base, [j for j in every if j != i]))
            for i in every
        ]
    return found


def ablate(
    config: TrainingConfig, rows: TrainingData, folder: Path, *, repeats: int = 3, full: bool = False,
    timesteps: Sequence[int] = TIMESTEPS, only: Sequence[str] = (), official: Split | None = None,
    device: str | None = None, log: Log = print,
) -> str:  # fmt: skip
    """Run every variant and return the table as Markdown; finished repeats are not run again.

    ``only``: of the variants, those whose name holds one of these. Of the others, what ``folder`` holds
    of earlier runs is read back; "not run" stands where it holds nothing.

    Raises:
        ConfigError: no variant's name holds one of ``only``, or those that do want ``full``.
    """
    known = variants(config.model, timesteps)
    wanted = _wanted(known, only, full)
    folder.mkdir(parents=True, exist_ok=True)
    rows = with_augmentations(rows, config)
    processes = Processes(device)
    backbone = open_backbone(config, processes.device)
    table: list[tuple[Variant, Repeats | None]] = []
    for variant in known:
        place = folder / "".join(c if c.isalnum() else "-" for c in variant.name)
        runs = variant.name in wanted and (full or not variant.full)
        wanted_repeats = repeats if runs else min(repeats, _finished(place))
        if not wanted_repeats:
            table.append((variant, None))
            continue
        log(f"variant: {variant.name}{'' if runs else ', from an earlier run'}")
        own = replace(config, model=variant.model, freeze_prompters=not variant.full)
        features = None
        if runs and not variant.full:
            cached = replace(own, model=_cached_model(variant.model, config.model))
            where = folder / "features" / variant.cache
            features = shared_features(cached, rows, where, backbone, processes, log)
        done = repeat(
            own, rows, place, wanted_repeats, backbone=backbone, features=features, official=official,
            device=device, log=log,
        )  # fmt: skip
        table.append((variant, done))
    return render_ablation(config, rows, table)


def _wanted(known: Sequence[Variant], only: Sequence[str], full: bool) -> set[str]:
    """Names of the variants to run, as ``ablate`` says."""
    names = [variant.name for variant in known]
    found = {part: {name for name in names if part in name} for part in only}
    if unknown := [part for part, called in found.items() if not called]:
        raise ConfigError(
            f"no variant is called anything with {unknown[0]!r}; there are: {'; '.join(names)}"
        )
    wanted = set().union(*found.values()) if only else set(names)
    if not full and all(variant.full for variant in known if variant.name in wanted):
        raise ConfigError(
            f"only prompters that learn are wanted ({'; '.join(sorted(wanted))}), and these run with "
            "--full alone; give it too"
        )
    return wanted


def _cached_model(variant: ModelConfig, base: ModelConfig) -> ModelConfig:
    """Whose features the variant reads: levels come after them, so those are the base's."""
    return replace(variant, features=base.features, feature_channels=base.feature_channels)


def _finished(folder: Path) -> int:
    """How many repeats, from the first on, lie there whole."""
    return next(i for i in count() if not (folder / f"{i:02d}" / RESULT).is_file())


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


def _levels(base: ModelConfig, kept: Sequence[int]) -> ModelConfig:
    return replace(
        base,
        features=tuple(base.features[i] for i in kept),
        feature_channels=tuple(base.feature_channels[i] for i in kept),
    )
