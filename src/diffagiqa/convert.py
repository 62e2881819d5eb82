"""Published checkpoints, the paper's and DiNa-LRM's, -> our model folder."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from diffagiqa import dina
from diffagiqa.backbones.adapter import copy_adapter
from diffagiqa.backbones.tensors import read_state
from diffagiqa.errors import WeightsError
from diffagiqa.model.config import RELEASED_FEATURES, ModelConfig, TaskConfig
from diffagiqa.model.scoring import DiffAGIQA, build_model
from diffagiqa.pretrained import (
    adapter_of,
    find_model,
    load_model,
    load_strictly,
    named_backbone,
    save_model,
)

SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
_HEADS = {
    "perception": ("fusion_quality", "quality_head"),
    "alignment": ("fusion_align", "align_head"),
}
# The release computes these and throws the result away, or never uses them.
_IGNORED = re.compile(r"image_prompts\.meta_net\.|cross_attentions\.5\.")


@dataclass(frozen=True)
class Conversion:
    """A converted model, and the names of the tensors left out."""

    model: DiffAGIQA
    ignored: tuple[str, ...]


def convert_released(
    checkpoint: str | Path,
    *,
    backbone: str = SD15,
    backbone_revision: str | None = None,
    tasks: tuple[str, ...] = ("perception",),
) -> Conversion:
    """Read the released state dict (never unpickling code) and wire it as a ``DiffAGIQA``.

    Widths are read off the tensors. ``tasks``: the release returns only the quality score, so only
    "perception" is converted unless "alignment" is asked for (its head is in the file, but nothing
    says whether it was trained). Raises ``WeightsError`` naming missing and unexpected tensors.
    """
    state = read_state(Path(checkpoint), "the released .pth")
    unknown = [task for task in tasks if task not in _HEADS]
    if unknown or not tasks:
        raise WeightsError(
            f"the release has no task {', '.join(unknown) or '(none given)'}; "
            f"expected some of {', '.join(_HEADS)}"
        )
    ignored = {name for name in state if _IGNORED.match(name)}
    for task, parts in _HEADS.items():
        if task not in tasks:
            ignored |= {name for name in state if name.startswith(tuple(p + "." for p in parts))}
    used = {name: tensor for name, tensor in state.items() if name not in ignored}
    config = replace(
        _config_from_shapes(used, tasks),
        backbone=named_backbone(backbone),
        backbone_revision=backbone_revision,
    )
    model = build_model(config)
    load_strictly(model, {_rename(name): used[name] for name in used}, str(checkpoint))
    return Conversion(model.eval(), tuple(sorted(ignored)))


def convert_dina(
    folder: str | Path,
    out: str | Path,
    *,
    backbone: str | None = None,
    backbone_revision: str | None = None,
) -> DiffAGIQA:
    """DiNa-LRM's public layout, a folder or hub id, -> a model folder of ours with its adapter.

    ``backbone``: default the one it names. Raises ``WeightsError`` for what is not understood.
    """
    source = find_model(str(folder))
    if not dina.is_dina(source):
        raise WeightsError(
            f"{source} is no folder of DiNa-LRM; expected config.json, {dina.ADAPTER} and {dina.HEAD}"
        )
    model = load_model(source)
    adapter = adapter_of(model.config, source)
    assert adapter is not None
    copy_adapter(adapter, Path(out) / "adapter")
    model.config = replace(
        model.config,
        adapter="adapter",
        backbone=named_backbone(backbone or model.config.backbone),
        backbone_revision=backbone_revision,
    )
    save_model(model, out)
    return model


def _config_from_shapes(state: dict[str, Tensor], tasks: tuple[str, ...]) -> ModelConfig:
    """Widths of a checkpoint, so that narrower ones than the released convert too."""
    fusion, head = _HEADS[tasks[0]]
    try:
        levels = sorted(
            {int(m[1]) for n in state if (m := re.match(r"pyramid_extractors\.(\d+)\.", n))}
        )
        if levels != list(range(len(RELEASED_FEATURES))):
            raise WeightsError(
                f"the checkpoint has pyramid levels {levels}; expected 0 to {len(RELEASED_FEATURES) - 1}"
            )
        branch = "pyramid_extractors.{}.branches.0.0.weight"
        wide, middle, narrow = (state[f"{fusion}.{i}.weight"] for i in (0, 3, 6))
        return ModelConfig(
            tasks=tuple(TaskConfig(name) for name in tasks),
            feature_channels=tuple(state[branch.format(i)].shape[1] for i in levels),
            prompting="shared",
            prompter_channels=state["image_prompts.meta_net_2.0.weight"].shape[0],
            pyramid_channels=state[branch.format(0)].shape[0],
            attention_channels=state["cross_attentions.0.query.weight"].shape[0],
            fusion_channels=(wide.shape[0], middle.shape[0], narrow.shape[0]),
            fusion_groups=wide.shape[0] // middle.shape[1],
            head_channels=(state[f"{head}.2.weight"].shape[0], state[f"{head}.5.weight"].shape[0]),
            # The release resizes nothing and splits prompts of over 70 words in its own way.
            long_prompts="released",
        )
    except (IndexError, ZeroDivisionError):
        raise WeightsError(
            "the checkpoint has tensors of shapes that no layer has; "
            "expected a released Diff-AGIQA state dict"
        ) from None
    except KeyError as error:
        raise WeightsError(
            f"the checkpoint lacks tensor {error.args[0]}; expected a released Diff-AGIQA state dict"
        ) from None


_RULES = (
    (r"image_prompts\.meta_net_2\.0\.", "prompters.shared.conv1."),
    (r"image_prompts\.meta_net_2\.2\.", "prompters.shared.conv2."),
    (r"pyramid_extractors\.(\d+)\.", r"pyramid.levels.\1."),
    (r"cross_attentions\.(\d+)\.", r"pyramid.attentions.\1."),
    (r"fusion_quality\.", "heads.perception.fusion."),
    (r"fusion_align\.", "heads.alignment.fusion."),
    (r"quality_head\.", "heads.perception.regressor."),
    (r"align_head\.", "heads.alignment.regressor."),
)


def _rename(name: str) -> str:
    """A released tensor's name in our modules; an unknown name is kept, to be reported as unexpected."""
    for pattern, ours in _RULES:
        renamed, hits = re.subn(rf"^{pattern}", ours, name)
        if hits:
            if ".fusion." in renamed and renamed.startswith("heads."):
                prefix, index, rest = re.match(r"(.*\.fusion\.)(\d+)\.(.*)", renamed).groups()  # type: ignore[union-attr]
                return f"{prefix}{int(index) // 3}.{int(index) % 3}.{rest}"  # conv, norm, ReLU by three
            if ".regressor." in renamed:
                prefix, index, rest = re.match(r"(.*\.regressor\.)(\d+)\.(.*)", renamed).groups()  # type: ignore[union-attr]
                return f"{prefix}{int(index) - 2}.{rest}"  # the release pools inside the head
            return renamed
    return name
