"""Checkpoints that a kill, a full disk or a power cut leaves whole: written beside, then renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from diffagiqa.data.atomic import discard_parts, whole_file
from diffagiqa.errors import TrainingError
from diffagiqa.model.scoring import DiffAGIQA
from diffagiqa.pretrained import CONFIG, TRAINING_IMAGES, WEIGHTS, save_model

STATE = "state.pt"


def save_state(state: dict[str, Any], file: Path) -> None:
    """Write the whole state of a run (weights, averages, optimiser, counters, history) at once."""
    write_whole(file, lambda stream: torch.save(state, stream))


def load_state(file: Path, instead: str = "start again in another folder") -> dict[str, Any]:
    """Read what ``save_state`` wrote; only tensors and plain values are unpickled.

    ``instead``: what to do where it is damaged.
    """
    import pickle

    try:
        return torch.load(file, map_location="cpu", weights_only=True)  # type: ignore[no-any-return]
    except FileNotFoundError:
        raise TrainingError(
            f"{file} does not exist, so there is nothing to resume; start without --resume"
        ) from None
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise TrainingError(f"{file} is damaged ({str(error)[:200]}); {instead}") from None


def save_folder(
    model: DiffAGIQA, folder: Path, training_images: NDArray[np.uint64] | None = None
) -> None:
    """Write a model folder (``Scorer.from_pretrained`` reads it), replacing an older one at once.

    ``training_images``: perceptual hashes of what the model has seen.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    with _whole(folder):
        shutil.rmtree(partial, ignore_errors=True)
        try:
            save_model(model, partial)
            files = [CONFIG, WEIGHTS]
            if training_images is not None:
                files.append(TRAINING_IMAGES)
                text = "".join(f"{image:016x}\n" for image in training_images.tolist())
                (partial / TRAINING_IMAGES).write_text(text, encoding="utf-8")
            for name in files:
                with (partial / name).open("rb+") as stream:
                    os.fsync(stream.fileno())
            if not folder.exists():
                os.replace(partial, folder)
                return
            # The configuration is the same all run long, so replacing the weights is the one change.
            for name in files:
                os.replace(partial / name, folder / name)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def write_whole(file: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Write a file so that at every moment the old or the new one is there, whole."""
    with _whole(file):
        discard_parts(file)
        with whole_file(file) as stream:
            write(stream)


def write_text(file: Path, text: str) -> None:
    write_whole(file, lambda stream: stream.write(text.encode()))


@contextlib.contextmanager
def _whole(target: Path) -> Iterator[None]:
    """Turn a failed write into one sentence that says what is still there."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        before = "the one written before is whole" if target.exists() else "none was there before"
        if _is_full(error):
            raise TrainingError(
                f"the disk is full: {target} could not be written, {before}; "
                "free some space and go on with --resume"
            ) from error
        raise TrainingError(
            f"{target} could not be written ({error}), {before}; "
            "check the folder and go on with --resume"
        ) from error


def _is_full(error: BaseException | None) -> bool:
    """PyTorch and safetensors hide the system's error in texts and causes of their own."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "No space left on device" in str(error) or "os error 28" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
