"""The nodes. ComfyUI's IMAGE is a float tensor (B, H, W, 3) in [0, 1]."""

from __future__ import annotations

import math
from typing import Any, ClassVar
from weakref import WeakValueDictionary

from torch import Tensor

from diffagiqa.checks import MAX_SEED
from diffagiqa.errors import ConfigError
from diffagiqa.integrations.reward import Reward
from diffagiqa.rows import notice_of
from diffagiqa.scorer import Scorer

CATEGORY = "image/quality"
MODEL = "DIFFAGIQA_MODEL"
RANK_BY = ("trusted scores", "all scores", "perception", "alignment")

_loaded: WeakValueDictionary[tuple[str, str, int], Scorer] = WeakValueDictionary()
"""Scorers that ComfyUI still holds: it keeps them with a node's outputs, and lets go when it is told to
free memory; nothing here keeps them longer."""


class LoadModel:
    """A model folder or hub id, empty for the model in the package -> a scorer, loaded once."""

    CATEGORY, FUNCTION = CATEGORY, "load"
    RETURN_TYPES: ClassVar = (MODEL,)
    RETURN_NAMES: ClassVar = ("model",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 (ComfyUI's name)
        return {
            "required": {"model": ("STRING", {"default": ""})},
            "optional": {
                "backbone": ("STRING", {"default": ""}),
                # ComfyUI would give an input called "seed" another value, and so load the model
                # anew, on each run.
                "scoring_seed": ("INT", {"default": 0, "min": 0, "max": MAX_SEED}),
            },
        }

    def load(self, model: str, backbone: str = "", scoring_seed: int = 0) -> tuple[Scorer]:
        asked = model, backbone, scoring_seed
        if (scorer := _loaded.get(asked)) is None:
            scorer = Scorer.from_pretrained(
                model or None, backbone=backbone or None, seed=scoring_seed
            )
            _loaded[asked] = scorer
        return (scorer,)


class ScoreImages:
    """Images and their prompt -> mean quality and alignment of the batch, and a line per image.

    Without a prompt the alignment is NaN; a score that the model does not stand behind has a "?".
    """

    CATEGORY, FUNCTION, OUTPUT_NODE = CATEGORY, "score", True
    RETURN_TYPES: ClassVar = ("FLOAT", "FLOAT", "STRING")
    RETURN_NAMES: ClassVar = ("perception", "alignment", "table")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return _image_inputs()

    def score(self, model: Scorer, images: Tensor, prompt: str) -> dict[str, Any]:
        config = model.config
        _, scores = Reward(model)(_batch(images), [prompt] * len(images))
        shown = {
            task: task + "?" * (task in config.doubtful)
            for task in config.task_names
            if not scores[task].isnan().any()
        }
        lines = [
            "  ".join([f"{i}", *(f"{name} {scores[task][i]:.3f}" for task, name in shown.items())])
            for i in range(len(images))
        ]
        table = "\n".join([*lines, *filter(None, [notice_of(config)])])
        means = [
            float(scores[task].mean()) if task in shown else math.nan
            for task in ("perception", "alignment")
        ]
        return {"ui": {"text": [table]}, "result": (*means, table)}


class KeepBest:
    """The ``keep`` images of a batch with the highest score, best first."""

    CATEGORY, FUNCTION = CATEGORY, "keep"
    RETURN_TYPES: ClassVar = ("IMAGE", "FLOAT")
    RETURN_NAMES: ClassVar = ("images", "best score")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        inputs = _image_inputs()
        inputs["required"]["keep"] = ("INT", {"default": 1, "min": 1, "max": 4096})
        inputs["optional"] = {"rank_by": (list(RANK_BY), {"default": RANK_BY[0]})}
        return inputs

    def keep(
        self,
        model: Scorer,
        images: Tensor,
        prompt: str,
        keep: int = 1,
        rank_by: str = RANK_BY[0],
    ) -> tuple[Tensor, float]:
        if rank_by == "trusted scores":
            tasks = model.config.trusted
        else:
            tasks = (rank_by,) if rank_by in model.tasks else model.tasks
        weights = dict.fromkeys(tasks, 1.0)
        rewards, _ = Reward(model, weights)(_batch(images), [prompt] * len(images))
        order = rewards.argsort(descending=True)[:keep].to(images.device)
        return images[order], float(rewards.max())


def _image_inputs() -> dict[str, Any]:
    text = ("STRING", {"multiline": True, "forceInput": False, "default": ""})
    return {"required": {"model": (MODEL,), "images": ("IMAGE",), "prompt": text}}


def _batch(images: Tensor) -> Tensor:
    """ComfyUI's (B, H, W, 3 or more) -> (B, 3, H, W)."""
    if images.ndim != 4 or images.shape[-1] < 3:
        raise ConfigError(
            f"images have shape {tuple(images.shape)}; expected ComfyUI's (B, H, W, 3)"
        )
    return images[..., :3].permute(0, 3, 1, 2)


NODE_CLASS_MAPPINGS = {
    "DiffAGIQALoadModel": LoadModel,
    "DiffAGIQAScore": ScoreImages,
    "DiffAGIQAKeepBest": KeepBest,
}
NODE_DISPLAY_NAME_MAPPINGS = {
    "DiffAGIQALoadModel": "Load Diff-AGIQA model",
    "DiffAGIQAScore": "Score images (Diff-AGIQA)",
    "DiffAGIQAKeepBest": "Keep best images (Diff-AGIQA)",
}
