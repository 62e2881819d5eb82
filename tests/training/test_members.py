"""A run of several members goes on after a stop; its ``best/`` is only ever the folded network."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up import made_up_rows, small_config, thirds

from diffagiqa.backbones.unet import Backbone
from diffagiqa.errors import TrainingError
from diffagiqa.pretrained import load_model
from diffagiqa.training.data import Rows
from diffagiqa.training.merge import merge
from diffagiqa.training.run_folder import RunFolder
from diffagiqa.training.train import train

COUNT = 12
CONFIG = small_config(
    {"pooling": "statistics"}, epochs=2, freeze_prompters=True, members=3, flip=False
)
QUIET = lambda text: None  # noqa: E731
WEIGHTS = "best/model.safetensors"


def run(
    folder: Path, rows: Rows, backbone: Backbone, *, resume: bool = False, **more: Any
) -> torch.nn.Module:
    return train(
        CONFIG, rows, thirds(COUNT), folder, cache=folder.with_name("features"), resume=resume,
        device="cpu", backbone=backbone, log=QUIET, **more,
    ).model  # fmt: skip


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    return made_up_rows(tmp_path / "pictures", COUNT)


def test_a_finished_run_resumes_to_itself(tmp_path: Path, rows: Rows, backbone: Backbone) -> None:
    place = tmp_path / "run"
    model = run(place, rows, backbone)
    parts = [load_model(place / f"members/{i:02d}/best") for i in range(3)]
    found = load_model(place / "best").state_dict()
    for name, value in merge(parts).state_dict().items():
        assert torch.equal(found[name], value), name
    assert len({tuple(part.heads["perception"].state_dict()["regressor.0.bias"].tolist())
                for part in parts}) == 3  # fmt: skip
    written = (place / WEIGHTS).read_bytes()
    shutil.rmtree(place / "best")  # as where it was killed before the last step
    again = run(place, rows, backbone, resume=True)
    assert (place / WEIGHTS).read_bytes() == written
    assert model.config == again.config
    run(place, rows, backbone, resume=True)
    assert (place / WEIGHTS).read_bytes() == written
    # Such a folder of an older version holds the first member's state and the merged network alone.
    shutil.rmtree(place / "members")
    with pytest.raises(TrainingError, match="kept no folders of members; delete it, or start in"):
        run(place, rows, backbone, resume=True)


def test_each_member_goes_on_where_it_was(
    tmp_path: Path, rows: Rows, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(whole, rows, backbone)
    saved = RunFolder.save
    calls: list[str] = []

    def stops(self: RunFolder, *others: Any) -> None:
        saved(self, *others)
        calls.append(self.folder.name)
        if calls == ["broken", "broken", "01"]:
            raise KeyboardInterrupt

    monkeypatch.setattr(RunFolder, "save", stops)
    with pytest.raises(KeyboardInterrupt):
        run(broken, rows, backbone)
    assert not (broken / "best").exists()
    calls.clear()
    run(broken, rows, backbone, resume=True)
    assert calls == ["01", "02", "02"]  # an epoch each
    assert (broken / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()
