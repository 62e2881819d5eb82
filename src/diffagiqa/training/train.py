"""Wiring: databases, backbone and configuration -> a trained model, in memory or in a run folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from diffagiqa.backbones.base import Backbone
from diffagiqa.backbones.folder import find_backbone, load_backbone
from diffagiqa.data.preferences import PreferenceGroup
from diffagiqa.data.wording import counted
from diffagiqa.device import choose_dtype
from diffagiqa.errors import TrainingError, WeightsError
from diffagiqa.model.config import ModelConfig, TaskConfig
from diffagiqa.model.prompter import VisualPrompter
from diffagiqa.model.scoring import DiffAGIQA, Features, build_model
from diffagiqa.pretrained import (
    fingerprint,
    load_model,
    load_strictly,
    named_backbone,
)
from diffagiqa.training.config import TrainingConfig
from diffagiqa.training.data import TrainingData
from diffagiqa.training.features import CachedFeatures, CacheOptions, cached_features
from diffagiqa.training.few import can_be_solved, solve
from diffagiqa.training.inputs import FeatureInputs, ImageInputs
from diffagiqa.training.loop import Fitted, fit
from diffagiqa.training.losses import check_weights
from diffagiqa.training.processes import Processes
from diffagiqa.training.run_folder import Parts, RunFolder, check_free, init_folder
from diffagiqa.training.validation import predict


def train(
    config: TrainingConfig, data: TrainingData, split: Parts, folder: str | Path | None = None, *,
    cache: str | Path | None = None, device: str | None = None, resume: bool = False,
    backbone: Backbone | None = None, features: CachedFeatures | None = None,
    log: Callable[[str], None] = print,
) -> Fitted:  # fmt: skip
    """Train as ``config`` says; the best model lies in ``folder/best``.

    ``split`` has the rows of ``train`` and ``validation``, and of ``test`` to have them scored once, by
    the best model. ``cache`` is where features go with ``freeze_prompters``; default
    ``folder/features``. ``backbone`` and ``features`` save loading and reading them again over several
    runs.

    Raises ``TrainingError`` where the configuration, the data or what ``folder`` holds does not allow the
    run, and where ``loop.fit`` does.
    """
    check_weights(data.task_names, data.names, config)
    path = None if folder is None else Path(folder)
    if path is not None:
        check_free(path, resume)
    processes = Processes(device)
    log = log if processes.main else lambda text: None
    backbone = backbone or open_backbone(config, processes.device)
    backbone.checkpoint_activations = config.checkpoint_activations
    model = make_model(config, data.tasks, backbone, log)
    precision = chosen_precision(config)
    inputs: FeatureInputs | ImageInputs
    if config.freeze_prompters:
        if features is None:
            if path is None and cache is None:
                raise TrainingError("features need a folder to be cached in; give cache or folder")
            where = path / "features" if path and cache is None else Path(str(cache))
            features = compute_features(config, data, where, backbone, model, processes, log)
        data = data.without(features.unreadable)
        inputs = features.inputs(data, model.config, precision, processes.device)
    else:
        inputs = ImageInputs(
            data, model.config, backbone, precision, flip=config.flip, workers=config.workers
        )
        data = data.without(inputs.unreadable(skip=config.unreadable == "skip"))
    split = {name: labelled(data, part, log, name) for name, part in split.items()}
    run = None
    if path is not None:
        run = RunFolder(path, config, resume, processes.main)
        if processes.main:
            run.describe(data, split)
        processes.barrier()
    if processes.count == 1 and can_be_solved(config, model, data, len(split["train"])):
        log("few ratings: learnt by a regression; for epochs and losses, --set solve_up_to=0")
        fitted = solve(model, inputs, data, split, run)
    else:
        fitted = fit(
            model, inputs, data, split, config, processes=processes, run=run, resume=resume, log=log
        )
    if test := split.get("test"):
        scores = predict(fitted.model.to(processes.device), inputs, test, processes)
        by_task = {task: value.tolist() for task, value in scores.items()}
        fitted = replace(fitted, test_scores=by_task, test_rows=list(test))
    return fitted


def train_heads(
    features: Features, labels: Tensor, split: Parts, config: TrainingConfig, *,
    tasks: Sequence[TaskConfig] | None = None, sources: Tensor | None = None,
    groups: Sequence[PreferenceGroup] = (), log: Callable[[str], None] = print,
) -> Fitted:  # fmt: skip
    """Train pyramid and heads on features in memory; nothing is written.

    ``features``: by name, (N, C, h, w), or (N, views, passes, C, h, w) with several noise draws; those
    that the model names are used. ``labels`` (N, tasks) in [0, 1], NaN where missing. ``tasks`` default
    to the model's. ``groups`` are preferences between rows.
    """
    from diffagiqa.data.samples import Sample

    processes = Processes()
    names = config.model.features
    if missing := [name for name in names if name not in features]:
        raise TrainingError(f"features lack {', '.join(missing)}, which the model names")
    maps = {name: features[name] for name in names}
    maps = {name: m[:, None, None] if m.ndim == 4 else m for name, m in maps.items()}
    count, _, passes = maps[names[0]].shape[:3]
    chosen = tuple(tasks or config.model.tasks)
    if labels.shape != (count, len(chosen)):
        raise TrainingError(
            f"labels have shape {tuple(labels.shape)}; expected ({count}, {len(chosen)})"
        )
    samples = tuple(Sample(f"row {i}", "", "none", i) for i in range(len(labels)))
    sources = torch.zeros(len(labels), dtype=torch.long) if sources is None else sources
    data = TrainingData(samples, labels.float(), chosen, sources, ("features",), tuple(groups))
    model_config = replace(
        config.model, tasks=chosen, feature_channels=tuple(m.shape[3] for m in maps.values())
    )
    if passes == 1 and model_config.prompting == "per_task":
        model_config = replace(model_config, prompting="none")
    model = initial_model(model_config, config.seed)
    model.prompters.requires_grad_(False)
    inputs = FeatureInputs(
        maps, chosen_precision(config), device=processes.device,
        scoring_views=range(model_config.noise_draws),
    )  # fmt: skip
    return fit(model, inputs, data, split, config, processes=processes, log=log)


def open_backbone(config: TrainingConfig, device: torch.device) -> Backbone:
    return load_backbone(
        config.model.backbone, config.model.features, revision=config.model.backbone_revision,
        device=device, dtype=choose_dtype(device, config.backbone_dtype),
    )  # fmt: skip


def compute_features(
    config: TrainingConfig, data: TrainingData, folder: Path, backbone: Backbone, model: DiffAGIQA,
    processes: Processes, log: Callable[[str], None],
) -> CachedFeatures:  # fmt: skip
    options = CacheOptions(
        draws=max(config.cached_draws, config.model.noise_draws) if takes_noise(backbone) else 1,
        mirrored=config.flip,
        skip_unreadable=config.unreadable == "skip",
    )
    weights = fingerprint(find_backbone(config.model.backbone, config.model.backbone_revision))
    return cached_features(
        folder, data, model, backbone, options, identity=weights, processes=processes,
        workers=config.workers, log=log,
    )  # fmt: skip


def make_model(
    config: TrainingConfig, tasks: tuple[TaskConfig, ...], backbone: Backbone,
    log: Callable[[str], None] = print,
) -> DiffAGIQA:  # fmt: skip
    """The model that training starts from: new weights, or those of ``config.init``."""
    asked = config.model
    if asked.adapter is not None:
        raise TrainingError(
            f"the model's backbone has an adapter, {asked.adapter}, which is scored with and not trained "
            "on; give a --backbone without one"
        )
    known = {task.name: task for task in asked.tasks}
    tasks = tuple(
        replace(known.get(task.name, task), mos_min=task.mos_min, mos_max=task.mos_max)
        for task in tasks
    )
    names = [task.name for task in tasks]
    wanted = replace(
        asked,
        backbone=named_backbone(asked.backbone),
        tasks=tasks,
        feature_channels=backbone.feature_channels(asked.features),
        noise_draws=asked.noise_draws if takes_noise(backbone) else 1,
        doubtful=tuple(name for name in asked.doubtful if name in names),
    )
    if config.init is not None:
        model = started_from(config.init, wanted, config.seed)
    else:
        if config.freeze_prompters and wanted.prompting != "none":
            log(
                "prompters: frozen and untrained, so left out (prompting none); one branch serves all"
            )
            wanted = replace(wanted, prompting="none")
        # What other images had learnt to look familiar says nothing for a model that begins anew.
        wanted = replace(wanted, familiar_features=(), familiar_channels=(), smallest_size=0)
        model = initial_model(wanted, config.seed)
    model.prompters.requires_grad_(not config.freeze_prompters)
    return model


def started_from(init: str, wanted: ModelConfig, seed: int) -> DiffAGIQA:
    """The model of a configuration, with the weights of a trained one.

    A score that the trained model does not have starts from its first one. Raises ``TrainingError``
    where the features or layers differ.
    """
    folder = init_folder(init)
    start = load_model(folder)
    for name in ("features", "feature_channels", "timestep"):
        if getattr(start.config, name) != getattr(wanted, name):
            raise TrainingError(
                f"{init} was trained with {name} {getattr(start.config, name)}, and this "
                f"run asks for {getattr(wanted, name)}; make them equal"
            )
    model = initial_model(replace(wanted, prompting=start.config.prompting), seed)
    first, tensors = start.config.task_names[0], start.state_dict()
    weights = {}
    for name in model.state_dict():
        part, _, rest = name.partition(".")
        task, _, layer = rest.partition(".")
        new = part in ("heads", "prompters") and task in wanted.task_names and name not in tensors
        source = f"{part}.{first}.{layer}" if new else name
        if source in tensors:
            weights[name] = tensors[source]
    try:
        load_strictly(model, weights, init)
    except WeightsError:
        changed = [
            f"{field.name} {getattr(start.config, field.name)}"
            for field in fields(ModelConfig)
            if getattr(start.config, field.name) != getattr(model.config, field.name)
        ]
        raise TrainingError(
            f"the layers of {init} are not those that this run asks for; it was made with "
            f"{', '.join(changed)}: set what names its layers to the same"
        ) from None
    return model


def takes_noise(backbone: Backbone) -> bool:
    """Whether its features depend on a draw of noise."""
    side = backbone.side_multiple
    return backbone.latent_shape(side, side) is not None


def initial_model(config: ModelConfig, seed: int) -> DiffAGIQA:
    """Random weights by ``seed``; prompters that change nothing yet.

    The last convolution of a prompter starts at zero, so training starts from the unchanged image
    rather than from one that random filters have spoilt.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_model(config)
    for prompter in model.prompters.values():
        if isinstance(prompter, VisualPrompter):
            nn.init.zeros_(prompter.conv2.weight)
            if prompter.conv2.bias is not None:
                nn.init.zeros_(prompter.conv2.bias)
    return model


def labelled(
    data: TrainingData, rows: Sequence[int], log: Callable[[str], None], part: str
) -> list[int]:
    """The rows that have a label left; says how many were dropped as unreadable."""
    left = data.counting(rows)
    if len(left) < len(rows):
        log(
            f"{part}: {len(rows) - len(left)} of {counted(len(rows), 'row')} left out, "
            "their images unreadable"
        )
    return left


def chosen_precision(config: TrainingConfig) -> str:
    """``auto`` is what ``accelerate launch`` was told, else float32."""
    if config.precision != "auto":
        return config.precision
    import os

    launched = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    return "bfloat16" if launched == "bf16" else "float32"
