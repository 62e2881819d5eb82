"""The nodes. ComfyUI's IMAGE is a float tensor (B, H, W, 3) in [0, 1]."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from diffagiqa.errors import ConfigError
from diffagiqa.integrations.reward import Reward
from diffagiqa.scorer import Scorer

CATEGORY = "image/quality"
MODEL = "DIFFAGIQA_MODEL"


class LoadModel:
    """A model folder or hub id, empty for the model in the package -> a scorer."""

    CATEGORY, FUNCTION = CATEGORY, "load"
    RETURN_TYPES: ClassVar = (MODEL,)
    RETURN_NAMES: ClassVar = ("model",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 (ComfyUI's name)
        return {
            "required": {"model": ("STRING", {"default": ""})},
            "optional": {
                "backbone": ("STRING", {"default": ""}),
                "seed": ("INT", {"default": 0, "min": 0, "max": 2**31 - 1}),
            },
        }

    def load(self, model: str, backbone: str = "", seed: int = 0) -> tuple[Scorer]:
        return (Scorer.from_pretrained(model or None, backbone=backbone or None, seed=seed),)


class ScoreImages:
    """Images and their prompt -> mean quality and alignment of the batch, and a line per image."""

    CATEGORY, FUNCTION, OUTPUT_NODE = CATEGORY, "score", True
    RETURN_TYPES: ClassVar = ("FLOAT", "FLOAT", "STRING")
    RETURN_NAMES: ClassVar = ("perception", "alignment", "table")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return _image_inputs()

    def score(self, model: Scorer, images: Tensor, prompt: str) -> dict[str, Any]:
        _, scores = _reward(model, images, prompt)
        lines = [
            "  ".join([f"{i}", *(f"{task} {scores[task][i]:.3f}" for task in model.tasks)])
            for i in range(len(images))
        ]
        table = "\n".join(lines)
        means = [
            float(scores[task].mean()) if task in scores else float("nan")
            for task in ("perception", "alignment")
        ]
        return {"ui": {"text": [table]}, "result": (*means, table)}


class KeepBest:
    """The ``keep`` images of a batch with the highest weighted score, best first."""

    CATEGORY, FUNCTION = CATEGORY, "keep"
    RETURN_TYPES: ClassVar = ("IMAGE", "FLOAT")
    RETURN_NAMES: ClassVar = ("images", "best score")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        inputs = _image_inputs()
        inputs["required"]["keep"] = ("INT", {"default": 1, "min": 1, "max": 4096})
        weight = {"default": 0.5, "min": 0.0, "max": 1.0, "step": 0.05}
        inputs["optional"] = {"alignment_weight": ("FLOAT", weight)}
        return inputs

    def keep(
        self,
        model: Scorer,
        images: Tensor,
        prompt: str,
        keep: int = 1,
        alignment_weight: float = 0.5,
    ) -> tuple[Tensor, float]:
        weights = {"perception": 1 - alignment_weight, "alignment": alignment_weight}
        if not set(weights) <= set(model.tasks):
            weights = dict.fromkeys(model.tasks, 1.0)
        rewards, _ = _reward(model, images, prompt, weights)
        order = rewards.argsort(descending=True)[:keep].to(images.device)
        return images[order], float(rewards.max())


def _image_inputs() -> dict[str, Any]:
    text = ("STRING", {"multiline": True, "forceInput": False, "default": ""})
    return {"required": {"model": (MODEL,), "images": ("IMAGE",), "prompt": text}}


def _reward(
    model: Scorer, images: Tensor, prompt: str, weights: dict[str, float] | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    if images.ndim != 4 or images.shape[-1] < 3:
        raise ConfigError(
            f"images have shape {tuple(images.shape)}; expected ComfyUI's (B, H, W, 3)"
        )
    pictures = images[..., :3].permute(0, 3, 1, 2)
    return Reward(model, weights)(pictures, [prompt] * len(pictures))


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
