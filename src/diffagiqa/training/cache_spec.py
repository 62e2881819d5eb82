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
from diffagiqa.training.data import Rows


def cache_spec(
    rows: Rows, model: DiffAGIQA, backbone: Backbone, options: dict[str, Any], identity: str
) -> dict[str, Any]:
    """All that decides the features; two caches with equal specs hold equal features.

    Pictures count by their contents: a file may be moved, and one that was made anew is another.
    """
    config = model.config
    keys = (
        "image_size", "fit", "timestep", "posterior", "long_prompts", "use_text", "features", "prompting"
    )  # fmt: skip
    prompters = hashlib.sha256()
    for tensor in model.prompters.state_dict().values():
        prompters.update(tensor.cpu().numpy().tobytes())
    pictures = hashlib.sha256()
    damages = rows.damages
    for row, (contents, prompt) in enumerate(zip(rows.picture_hashes, rows.prompts, strict=True)):
        pictures.update(f"{contents}\0{prompt}{damages.get(row, '')}\n".encode())
    spec = {
        "rows": len(rows),
        "pictures": pictures.hexdigest(),
        "pictures_by": "contents",
        "backbone": identity or backbone.name,
        "backbone_dtype": str(backbone.dtype),
        "prompters": prompters.hexdigest(),
        "model": {key: getattr(config, key) for key in keys}
        | {"use_text": [one.use_text for one in model.passes], "pooled_to": pooled_to(config)},
        "options": options,
    } | ({"damaged": len(damages)} if damages else {})
    return json.loads(json.dumps(spec))  # type: ignore[no-any-return]


def pooled_to(config: ModelConfig) -> int | None:
    """The size that larger maps are averaged to before they are kept; None: as they are."""
    return config.pyramid_size if config.pooling == "pyramid" else None


def check_spec(folder: Path, spec: dict[str, Any]) -> None:
    try:
        found = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise TrainingError(f"{folder}/spec.json cannot be read ({error})") from None
    if "pictures_by" not in found:
        raise TrainingError(
            f"{folder} was written by an older version, which knew pictures by name and size alone; "
            "give another --cache folder or delete this one"
        )
    changed = [key for key in spec if spec[key] != found.get(key)]
    if changed:
        raise TrainingError(
            f"{folder} holds features that differ from this run's in {', '.join(changed)}; "
            "give another --cache folder or delete this one"
        )
