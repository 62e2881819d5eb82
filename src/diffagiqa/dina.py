"""The public layout of DiNa-LRM (arXiv 2602.11146) -> our configuration and head.

``config.json``, ``checkpoint/backbone_lora`` in PEFT's format and ``checkpoint/rm_head.pt``, beside no
backbone: that is Stable Diffusion 3.5 Medium, named in the configuration.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from torch import Tensor

from diffagiqa.backbones.names import CONDITION, TEXT
from diffagiqa.backbones.tensors import read_state
from diffagiqa.errors import WeightsError
from diffagiqa.model.config import ModelConfig, TaskConfig

HEAD = "checkpoint/rm_head.pt"
ADAPTER = "checkpoint/backbone_lora"
PATTERNS = [HEAD, f"{ADAPTER}/*.json", f"{ADAPTER}/*.safetensors"]
TASK = TaskConfig("preference", mos_min=0.0, mos_max=2.0)
"""Its printed score, (raw + 10) / 10, is ``mos``; there is no upper or lower end to it."""

_NAMES = (
    (r"^layer_adapters_(visual|text)\.(\d+)\.layer_embed$", r"\1_layers.\2.layer"),
    (r"^layer_adapters_(visual|text)\.(\d+)\.cond_mlp\.", r"\1_layers.\2.film."),
    (r"^layer_adapters_(visual|text)\.(\d+)\.proj_in\.", r"\1_layers.\2.project."),
    (r"^layer_adapters_(visual|text)\.(\d+)\.proj\.", r"\1_layers.\2.reduce."),
    (r"^agg_(visual|text)\.", r"\1_join."),
    (r"^query_tokens$", "queries"),
    (r"^attn1\.norm_q\.", "norms.0."),
    (r"^attn2\.norm_q\.", "norms.1."),
    (r"^norm_ff\.", "norms.2."),
    (r"^attn1\.to_q\.", "query_first."),
    (r"^attn2\.to_q\.", "query_second."),
    (r"^attn1\.to_out\.0\.", "out_first."),
    (r"^attn2\.to_out\.0\.", "out_second."),
    (r"^attn1\.norm_v\.", "visual_first.norm."),
    (r"^attn2\.norm_v\.", "visual_second.norm."),
    (r"^attn1\.norm_t\.", "text_first.norm."),
    (r"^attn1\.to_(k|v)_(vis|text)\.", r"\2_first.\1."),
    (r"^attn2\.to_(k|v)_vis\.", r"vis_second.\1."),
    (r"^attn1\.gate_(vis|text)\.", r"\1_first.gate."),
    (r"^ff\.", "feed_forward."),
    (r"^head\.", "score."),
)


def is_dina(folder: Path) -> bool:
    """Whether a folder has the public layout."""
    return (folder / HEAD).is_file() or (folder / ADAPTER).is_dir()


def read_layout(folder: Path) -> tuple[str, tuple[str, ...], int]:
    """The backbone, the features and the heads of its attention, by ``config.json`` alone.

    Raises ``WeightsError`` with what of it is not understood.
    """
    file = folder / "config.json"
    try:
        if file.stat().st_size > 1_000_000:
            raise WeightsError(f"{file} is over 1 MB; this is no model configuration")
        model = json.loads(file.read_text(encoding="utf-8"))["model"]
        layers = {kind: list(model[f"{kind}_head_idx"]) for kind in ("visual", "text")}
        heads = int(dict(model["reward_head"]).get("num_attn_heads", 8))
        backbone = str(model["backbone_model_id"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise WeightsError(
            f"{file} is no configuration of DiNa-LRM ({type(error).__name__}: {error}); expected "
            "model.backbone_model_id, visual_head_idx, text_head_idx and reward_head"
        ) from None
    for key, wanted in (("use_lora", True), ("use_t_embed", True), ("use_logistic", False)):
        if model.get(key, wanted) is not wanted:
            raise WeightsError(f"{file} has {key} {model[key]!r}; only {wanted} is understood")
    if model.get("use_text_features") is False:
        layers["text"] = []
    numbers = [*layers["visual"], *layers["text"]]
    if not layers["visual"] or not all(isinstance(n, int) and 0 < n <= 128 for n in numbers):
        raise WeightsError(f"{file} names layers {numbers}; expected whole numbers from 1")
    image = (f"transformer_blocks.{n - 1}" for n in layers["visual"])
    text = (f"transformer_blocks.{n - 1}{TEXT}" for n in layers["text"])
    return backbone, (*image, *text, CONDITION), heads


def read_config(folder: Path) -> ModelConfig:
    """Its configuration as ours, widths read off the head. Raises ``WeightsError`` as ``read_layout``."""
    backbone, features, heads = read_layout(folder)
    state = read_head(folder)
    try:
        queries, width = state["queries"].shape
        condition = state["image_layers.0.film.0.weight"].shape[1]
        inputs = state.get("image_layers.0.project.weight", state["image_layers.0.reduce.weight"])
    except (KeyError, IndexError, ValueError) as error:
        raise WeightsError(f"{folder / HEAD} lacks {error}; expected DiNa-LRM's head") from None
    return ModelConfig(
        tasks=(TASK,),
        backbone=backbone,
        image_size=1024,
        fit="native",
        timestep=100,
        posterior="mean",
        features=features,
        feature_channels=(*[inputs.shape[1]] * (len(features) - 1), condition),
        prompting="none",
        pooling="queries",
        queries=queries,
        query_width=width,
        query_heads=heads,
        adapter=ADAPTER,
    )


def read_head(folder: Path) -> dict[str, Tensor]:
    """Its head's tensors under the names of our ``QueryHead``; code in the file is never run."""
    state = read_state(folder / HEAD, "DiNa-LRM's head")
    return dict(_renamed(name, tensor) for name, tensor in state.items())


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The tensors of the whole model, float32: that head."""
    state = read_head(folder)
    return {f"heads.{TASK.name}.{name}": tensor.float() for name, tensor in state.items()}


def _renamed(name: str, tensor: Tensor) -> tuple[str, Tensor]:
    for pattern, ours in _NAMES:
        name, hits = re.subn(pattern, ours, name)
        if hits:
            break
    name = re.sub(r"^(?:visual|vis)_", "image_", name)
    name = re.sub(r"\.(k|v)\.", lambda match: {"k": ".key.", "v": ".value."}[match[1]], name)
    if name == "queries" or name.endswith(".layer"):  # (1,Q,W) and (1,1,W) there
        tensor = tensor.reshape(-1, tensor.shape[-1]) if name == "queries" else tensor.flatten()
    return name, tensor
