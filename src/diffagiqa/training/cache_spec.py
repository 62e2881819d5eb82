"""What a feature cache was computed from, so that it is never taken for another."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from diffagiqa.backbones.base import Backbone
from diffagiqa.errors import TrainingError
from diffagiqa.model.config import ModelConfig
from diffagiqa.model.scoring import DiffAGIQA
from diffagiqa.training.data import TrainingData


def cache_spec(
    data: TrainingData, model: DiffAGIQA, backbone: Backbone, options: dict[str, Any], identity: str
) -> dict[str, Any]:
    """All that decides the features; two caches with equal specs hold equal features.

    Images count by their contents: a file may be moved, and one that was made anew is another.
    """
    config = model.config
    keys = (
        "image_size", "fit", "timestep", "further_timesteps", "posterior", "long_prompts", "use_text",
        "features", "prompting",
    )  # fmt: skip
    prompters = hashlib.sha256()
    for tensor in model.prompters.state_dict().values():
        prompters.update(tensor.cpu().numpy().tobytes())
    images = hashlib.sha256()
    damages = data.damages
    for row, (contents, prompt) in enumerate(zip(data.image_hashes, data.prompts, strict=True)):
        images.update(f"{contents}\0{prompt}{damages.get(row, '')}\n".encode())
    spec = {
        "rows": len(data),
        "images": images.hexdigest(),
        "backbone": identity or backbone.name,
        "backbone_dtype": str(backbone.dtype),
        "prompters": prompters.hexdigest(),
        "model": {key: getattr(config, key) for key in keys}
        | {"use_text": [step.use_text for step in model.passes], "pooled_to": pooled_to(config)},
        "options": options,
    } | ({"damaged": len(damages)} if damages else {})
    return json.loads(json.dumps(spec))  # type: ignore[no-any-return]


def pooled_to(config: ModelConfig) -> int | None:
    """The size that larger maps are averaged to before they are kept; None: as they are."""
    return config.pyramid_size if config.pooling == "pyramid" else None


def check_spec(folder: Path, spec: dict[str, Any]) -> None:
    try:
        before = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise TrainingError(f"{folder}/spec.json cannot be read ({error})") from None
    changed = [key for key in spec if spec[key] != before.get(key)]
    if changed:
        raise TrainingError(
            f"{folder} holds features that differ from this run's in {', '.join(changed)}; "
            "give another --cache folder or delete this one"
        )
