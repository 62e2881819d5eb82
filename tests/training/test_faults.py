"""What goes wrong in a long run ends in one sentence, with the checkpoints before it whole."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_up import made_up_rows, small_config, thirds

from diffagiqa.backbones.base import Backbone
from diffagiqa.errors import TrainingError
from diffagiqa.pretrained import load_model, save_model
from diffagiqa.training.checkpoint import load_state, save_folder, save_state
from diffagiqa.training.objective import Objective
from diffagiqa.training.train import initial_model, make_model, train

QUIET = lambda text: None  # noqa: E731


def test_nan_loss_keeps_the_checkpoint(
    tmp_path: Path, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = made_up_rows(tmp_path / "pictures", 12)
    config = small_config(epochs=3)
    whole, calls = Objective.__call__, 0

    def breaks_in_the_second_epoch(*arguments):  # type: ignore[no-untyped-def]
        nonlocal calls
        calls += 1
        loss = whole(*arguments)
        return loss * float("nan") if calls == 4 else loss

    monkeypatch.setattr(Objective, "__call__", breaks_in_the_second_epoch)
    with pytest.raises(TrainingError, match=r"the loss is nan at step 3 \(epoch 1; first images"):
        train(config, rows, thirds(12), tmp_path / "run", backbone=backbone, log=QUIET)
    assert load_state(tmp_path / "run" / "state.pt")["progress"]["epoch"] == 1
    assert load_model(tmp_path / "run" / "best").config.task_names == rows.task_names
    monkeypatch.undo()
    fitted = train(
        config, rows, thirds(12), tmp_path / "run", resume=True, backbone=backbone, log=QUIET
    )
    assert len(fitted.history) == 3


def test_nan_gradient_is_named(tmp_path: Path, backbone: Backbone) -> None:
    rows = made_up_rows(tmp_path, 12)
    config = small_config(epochs=1)
    broken = initial_model(replace(config.model, tasks=rows.tasks), 0)
    torch.nn.init.constant_(broken.heads["alignment"].regressor[6].weight, float("inf"))
    save_model(broken, tmp_path / "start")
    config = replace(config, init=str(tmp_path / "start"))
    with pytest.raises(TrainingError, match=r"the (loss|gradient) is (nan|inf) at step 0"):
        train(config, rows, thirds(12), backbone=backbone, log=QUIET)


def test_a_start_of_other_layers_is_refused_before_training(
    tmp_path: Path, backbone: Backbone
) -> None:
    config = small_config()
    tasks = made_up_rows(tmp_path, 2).tasks
    start = initial_model(replace(config.model, tasks=tasks), 0)
    save_model(start, tmp_path / "start")
    other = small_config({"pyramid_channels": 4}, init=str(tmp_path / "start"))
    found = start.config.pyramid_channels
    with pytest.raises(TrainingError, match=f"it was made with pyramid_channels {found}: set what"):
        make_model(other, tasks, backbone)


def test_a_start_is_trained_as_the_run_is_configured(tmp_path: Path, backbone: Backbone) -> None:
    tasks = made_up_rows(tmp_path, 2).tasks
    start = initial_model(replace(small_config().model, tasks=tasks), 0)
    save_model(start, tmp_path / "start")
    model_changes = {"use_text": False, "backbone": "./backbone"}
    config = small_config(model_changes, init=str(tmp_path / "start"))
    model = make_model(config, tasks, backbone)
    assert model.config.backbone == "backbone"  # ./ would be the model's own folder
    save_model(model, tmp_path / "saved")
    saved = load_model(tmp_path / "saved")
    assert model.passes == saved.passes != start.passes
    for name, values in start.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], values, rtol=0, atol=0)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 kB; only the administrator may make one."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)],
        capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("no small file system can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_full_disk_keeps_the_old_model(tiny_disk: Path) -> None:
    model = initial_model(small_config().model, 0)
    small = initial_model(
        small_config({"pyramid_channels": 4, "fusion_channels": (8, 8, 8)}).model, 0
    )
    save_folder(small, tiny_disk / "best")
    before = (tiny_disk / "best" / "model.safetensors").read_bytes()
    with pytest.raises(
        TrainingError, match=r"disk is full: .*best could not be written, the one wr"
    ):
        save_folder(
            initial_model(small_config({"pyramid_channels": 64}).model, 0), tiny_disk / "best"
        )
    assert (tiny_disk / "best" / "model.safetensors").read_bytes() == before
    assert sorted(f.name for f in tiny_disk.iterdir()) == ["best"]
    state = {"model": model.state_dict()}
    with pytest.raises(TrainingError, match="disk is full"):
        save_state({"filler": torch.zeros(10**6), **state}, tiny_disk / "state.pt")
    assert sorted(f.name for f in tiny_disk.iterdir()) == ["best"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_full_disk_keeps_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every write to /dev/full fails with ENOSPC, as on a full disk."""
    file = tmp_path / "state.pt"
    save_state({"step": 1}, file)
    monkeypatch.setattr("uuid.uuid4", lambda: uuid.UUID(int=0))
    os.symlink("/dev/full", tmp_path / ".state.pt.00000000.part")
    monkeypatch.setattr("diffagiqa.training.checkpoint.discard_parts", lambda file: None)
    with pytest.raises(
        TrainingError,
        match=r"disk is full.*the one written before is whole; free some space and go on",
    ):
        save_state({"step": 2, "weights": torch.zeros(10**6)}, file)
    assert load_state(file) == {"step": 1}


def test_damaged_state(tmp_path: Path) -> None:
    file = tmp_path / "state.pt"
    save_state({"weights": torch.zeros(1000)}, file)
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(TrainingError, match=r"state.pt is damaged"):
        load_state(file)
    with pytest.raises(TrainingError, match="nothing to resume"):
        load_state(tmp_path / "none.pt")


@pytest.mark.parametrize("frozen", [False, True])
def test_unreadable_picture(tmp_path: Path, backbone: Backbone, frozen: bool) -> None:
    """Found before training starts; or left out, and said."""
    rows = made_up_rows(tmp_path / "pictures", 12)
    (tmp_path / "pictures" / "004.png").write_bytes(b"not an image")
    config = small_config(epochs=1, freeze_prompters=frozen)
    with pytest.raises(TrainingError, match=r"row 4 cannot be read: .*004.png.*--unreadable skip"):
        train(config, rows, thirds(12), tmp_path / "stops", backbone=backbone, log=QUIET)
    said: list[str] = []
    config = replace(config, unreadable="skip")
    train(config, rows, thirds(12), tmp_path / "skips", backbone=backbone, log=said.append)
    assert "train: 1 of 8 rows left out, their images unreadable" in said


def test_a_picture_that_breaks_while_training(tmp_path: Path, backbone: Backbone) -> None:
    """The run stops with its name; the checkpoint of the epoch before is whole and resumes."""
    rows = made_up_rows(tmp_path / "pictures", 12)
    picture = tmp_path / "pictures" / "004.png"
    content = picture.read_bytes()
    config = small_config(epochs=3)

    def breaks_after_the_first_epoch(text: str) -> None:
        if text.startswith("epoch   0"):
            picture.write_bytes(b"")

    with pytest.raises(TrainingError, match=r"004\.png is empty"):
        train(
            config, rows, thirds(12), tmp_path / "run", backbone=backbone,
            log=breaks_after_the_first_epoch,
        )  # fmt: skip
    picture.write_bytes(content)
    fitted = train(
        config, rows, thirds(12), tmp_path / "run", resume=True, backbone=backbone, log=QUIET
    )
    assert len(fitted.history) == 3


def test_too_few_rows(tmp_path: Path, backbone: Backbone) -> None:
    rows = made_up_rows(tmp_path, 3)
    with pytest.raises(TrainingError, match="1 row to train on makes no batch of at least two"):
        train(small_config(), rows, {"train": [0], "validation": [1]}, backbone=backbone, log=QUIET)
