"""The result of one repeat, kept beside what decided it, so that it is never reported as another's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from diffagiqa.errors import TrainingError
from diffagiqa.training.checkpoint import write_text
from diffagiqa.training.data import TrainingData

RESULT = "result.json"
_DECIDED = "decided_by"


def read_result(folder: Path, decided: Mapping[str, Any]) -> dict[str, Any] | None:
    """The result of a finished repeat; None where the folder holds none.

    ``decided``: what the figures depend on, by name. Raises ``TrainingError`` where the result came of
    something else, or does not say of what.
    """
    file = folder / RESULT
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"{file} cannot be read ({error}); delete {folder} to have it made anew"
        ) from None
    before = result.pop(_DECIDED, None)
    if before is None:
        raise TrainingError(
            f"{file} does not say what it was made with, as an older version wrote it; "
            f"delete {folder} to have it made anew, or start in another folder"
        )
    new = json.loads(json.dumps(decided))
    changed = [key for key in {**before, **new} if before.get(key) != new.get(key)]
    if changed:
        raise TrainingError(
            f"{file} was made with another {', '.join(changed)}; give the same again, delete {folder} to "
            "have it made anew, or start in another folder"
        )
    return result  # type: ignore[no-any-return]


def write_result(
    folder: Path, result: Mapping[str, Any], decided: Mapping[str, Any]
) -> dict[str, Any]:
    """Write it, and return it as ``read_result`` will."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / RESULT, json.dumps({**result, _DECIDED: decided}, indent=1) + "\n")
    return json.loads(json.dumps(result))  # type: ignore[no-any-return]


def rows_hash(data: TrainingData) -> str:
    """Of all that rows are: images by their contents, prompts, labels, scales, generators, copies."""
    digest = hashlib.sha256(data.labels.numpy().tobytes())
    facts = [
        [asdict(task) for task in data.tasks],
        data.sources.tolist(),
        data.prompts,
        [sample.generator for sample in data.samples],
        [asdict(made) for made in data.augmentations],
        [asdict(group) for group in data.groups],
        data.image_hashes,
    ]
    digest.update(json.dumps(facts).encode())
    return digest.hexdigest()


def parts_hash(split: Mapping[str, Sequence[int]]) -> str:
    """Of which rows are in which part."""
    text = json.dumps({name: list(part) for name, part in split.items()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
