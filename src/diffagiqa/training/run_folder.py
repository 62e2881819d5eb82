"""The folder of one run: configuration, versions, split, metrics, curves, best and last model.

config.json     the TrainingConfig            metrics.csv   one row per epoch
versions.json   libraries, git commit, host   curves.png    loss and SRCC over epochs
split.json      rows of each part, by name    tensorboard/  the same, live
best/  last/    model folders                 state.pt      everything that --resume needs
"""

from __future__ import annotations

import csv
import io
import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffagiqa.data.image_hash import perceptual_hashes
from diffagiqa.data.splits import PARTS, table_hash
from diffagiqa.errors import TrainingError
from diffagiqa.model.scoring import DiffAGIQA
from diffagiqa.pretrained import DEFAULT_MODEL, find_model, training_images
from diffagiqa.training.checkpoint import (
    STATE,
    load_state,
    save_folder,
    save_state,
    write_text,
    write_whole,
)
from diffagiqa.training.config import TrainingConfig
from diffagiqa.training.data import TrainingData
from diffagiqa.training.measures import labelled_table

Parts = Mapping[str, Sequence[int]]
"""Rows of "train", "validation" and "test", by position; a ``Split`` names them by image."""


class RunFolder:
    """Writes what a run leaves behind; nothing here decides a result.

    Of several processes each opens it, and only the main one writes.
    """

    def __init__(
        self, folder: Path, config: TrainingConfig, resume: bool = False, main: bool = True
    ) -> None:
        self.folder = folder
        self.best = folder / "best"
        self.config = config
        self.resumed = resume
        self._board: Any = None
        self.training_images: NDArray[np.uint64] | None = None
        check_free(folder, resume)
        if resume:
            self._check_same(folder / "config.json")
        if not main:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainingError(f"{folder} cannot be made ({error}); give another folder") from None
        self._write("config.json", config.to_json())

    def describe(self, rows: TrainingData, split: Parts) -> None:
        """Write versions and split, so that anyone can rerun this; a resumed run has the same rows."""
        table = labelled_table(rows)
        table.insert(0, "part", "")
        for name, part in split.items():
            table.loc[list(part), "part"] = name
        labels = table[table["part"] != ""].to_csv(index=False)
        rated = table[: len(rows.originals)]  # the others have names and prompts of these
        names = {part: tuple(rated["image"][rated["part"] == part]) for part in PARTS}
        kind = self.config.split
        seed = None if kind == "official" else self.config.split_seed
        saved = {"kind": kind, "seed": seed, "table_hash": table_hash(rated), **names}
        files = {"rows.csv": labels, "split.json": json.dumps(saved, indent=1) + "\n"}
        for name, text in files.items():
            self._check_unchanged(name, text)
        for name, text in files.items():
            self._write(name, text)
        self._write("versions.json", json.dumps(versions(), indent=2) + "\n")

        self.training_images = self._seen(rows, split)

    def _seen(self, data: TrainingData, split: Parts) -> NDArray[np.uint64]:
        """Perceptual hashes of the images trained on and chosen by, and of those of ``init``."""
        rows = [row for name in ("train", "validation") for row in split.get(name, ())]
        sources = dict.fromkeys(data.samples[row].source for row in rows)
        hashes = [perceptual_hashes(sources)]
        if self.config.init is not None:
            hashes.append(training_images(init_folder(self.config.init)))
        return np.unique(np.concatenate(hashes))

    def save(self, state: dict[str, Any], last: DiffAGIQA) -> None:
        save_folder(last, self.folder / "last", self.training_images)
        save_state(state, self.folder / STATE)

    def save_best(self, model: DiffAGIQA) -> None:
        save_folder(model, self.best, self.training_images)

    def load(self) -> dict[str, Any]:
        instead = "start again in another folder, from the model in best/ with --init if you like"
        return load_state(self.folder / STATE, instead)

    def log(self, history: Sequence[Mapping[str, float]]) -> None:
        """Write ``metrics.csv`` anew (so a resumed run has no row twice), TensorBoard and the curves."""
        columns = list(dict.fromkeys(key for row in history for key in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
        self._write("metrics.csv", text.getvalue())
        self._log_tensorboard(history[-1])

    def draw(self, history: Sequence[Mapping[str, float]]) -> None:
        """``curves.png``: training loss, and validation SRCC by task, over epochs."""
        try:
            from matplotlib.figure import Figure
        except ImportError:
            return  # the CSV holds the same; the train extra brings matplotlib
        measured = [name for name in history[-1] if name.endswith("_srcc")]
        figure = Figure(figsize=(9 if measured else 4.5, 3.6), layout="constrained")
        left, *rest = figure.subplots(1, 2 if measured else 1, squeeze=False)[0]
        epochs = [row["epoch"] for row in history]
        left.plot(epochs, [row["loss"] for row in history])
        left.set(xlabel="epoch", ylabel="training loss")
        for right in rest:
            for name in measured:
                values = [row.get(name, float("nan")) for row in history]
                right.plot(epochs, values, label=name[:-5])
            right.set(xlabel="epoch", ylabel="validation SRCC")
            right.legend()
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=120)
        write_whole(self.folder / "curves.png", lambda stream: stream.write(png.getvalue()))

    def close(self) -> None:
        if self._board is not None:
            self._board.close()

    def _log_tensorboard(self, row: Mapping[str, float]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        if self._board is None:
            logs = str(self.folder / "tensorboard")
            self._board = SummaryWriter(logs, purge_step=int(row["epoch"]))
        for name, value in row.items():
            if name != "epoch":
                self._board.add_scalar(name, value, int(row["epoch"]))
        self._board.flush()

    def _check_same(self, written: Path) -> None:
        try:
            before = TrainingConfig.from_json(written.read_text(encoding="utf-8"), str(written))
        except OSError as error:
            raise TrainingError(
                f"{self.folder} holds no run to resume ({error}); start without --resume"
            ) from None
        old, new = json.loads(before.to_json()), json.loads(self.config.to_json())
        changed = [key for key in new if new[key] != old[key] and key != "workers"]
        if changed:
            raise TrainingError(
                f"{self.folder} was begun with another {', '.join(changed)}; "
                "resume with the same values, or start in another folder"
            )

    def _check_unchanged(self, name: str, text: str) -> None:
        file = self.folder / name
        if self.resumed and file.is_file() and file.read_bytes() != text.encode():
            raise TrainingError(
                f"{self.folder} was begun with other images, labels or parts than {name} has now; "
                "resume with the same table, or start in another folder"
            )

    def _write(self, name: str, text: str) -> None:
        write_text(self.folder / name, text)


def check_free(folder: Path, resume: bool) -> None:
    """Raise ``TrainingError`` where a folder holds a run already, which ``resume`` allows."""
    if not resume and (folder / STATE).exists():
        raise TrainingError(
            f"{folder} holds a run already; give --resume to go on with it, or another folder"
        )


def init_folder(init: str) -> Path:
    """The folder of the model that ``TrainingConfig.init`` names."""
    return DEFAULT_MODEL if init == "default" else find_model(init)


def versions() -> dict[str, str]:
    """Libraries, Python, processor and the commit of this code, where there is one."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {"python": platform.python_version(), "machine": platform.machine()}
    for name in ("diffagiqa", "torch", "diffusers", "transformers", "accelerate", "numpy", "scipy"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    versions["git_commit"] = _git_commit()
    return versions


def _git_commit() -> str:
    options = ["describe", "--always", "--dirty", "--abbrev=40"]
    command = ["git", "-C", str(Path(__file__).parent), *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip() or "unknown"
