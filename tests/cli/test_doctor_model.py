"""``doctor --model``: what is said of models and backbones before they are downloaded or run."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from diffagiqa.cli.doctor_model import licence_of, memory_check, model_checks
from diffagiqa.cli.main import app
from diffagiqa.device import WORKING

sys.path.insert(0, str(Path(__file__).parents[1] / "backbones"))
from small_pipelines import small_pipeline

DINA = Path(__file__).parents[1] / "reference_dina"


@pytest.fixture(scope="module")
def sd3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_pipeline("StableDiffusion3", tmp_path_factory.mktemp("pipeline") / "sd3")


def states(name: Path, there: float = 1e12) -> dict[str, tuple[str, str]]:
    checks = model_checks(str(name), torch.bfloat16, there)
    return {check.topic: (check.state, f"{check.found}; {check.advice}") for check in checks}


def small_dina(folder: Path, backbone: Path) -> Path:
    shutil.copytree(DINA / "checkpoint_folder", folder)
    config = json.loads((folder / "config.json").read_text())
    config["model"]["backbone_model_id"] = str(backbone)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_a_backbone_by_itself(tmp_path: Path) -> None:
    small_pipeline("ZImage", tmp_path / "z")
    found = states(tmp_path / "z")
    assert found["backbone"][0] == found["memory"][0] == "ok"
    assert "ZImage; licence Apache-2.0, if it is the original" in found["backbone"][1]
    assert "weights in bfloat16: 0.0 GB" in found["memory"][1]


def test_a_model_and_its_backbone(tmp_path: Path) -> None:
    model = small_dina(tmp_path / "dina", DINA / "backbone")
    found = states(model)
    assert found["model"][0] == found["backbone"][0] == "ok"
    assert "preference, images of 1024 pixels" in found["model"][1]
    (model / "checkpoint" / "rm_head.pt").unlink()
    assert states(model)["model"] == (
        "missing",
        f"{model}: preference, images of 1024 pixels, on {DINA / 'backbone'}; "
        "not fetched: checkpoint/rm_head.pt; ",
    )


def test_configurations_alone_say_what_is_to_be_fetched(sd3: Path, tmp_path: Path) -> None:
    shutil.copytree(sd3, tmp_path / "sd3", ignore=shutil.ignore_patterns("*.safetensors"))
    found = states(tmp_path / "sd3", there=WORKING)
    assert found["backbone"][0] == "missing", found
    assert "its weights are not here" in found["backbone"][1]
    assert found["memory"][0] == "bad"


def test_a_file_that_does_not_fit_is_named(sd3: Path, tmp_path: Path) -> None:
    shutil.copytree(sd3, tmp_path / "sd3")
    file = tmp_path / "sd3" / "transformer" / "config.json"
    config = json.loads(file.read_text()) | {"num_attention_heads": 2}
    file.write_text(json.dumps(config))
    state, text = states(tmp_path / "sd3")["backbone"]
    assert state == "bad"
    assert "its configuration expects" in text


def test_memory_against_what_there_is() -> None:
    sums = {"image encoder": 10**9, "denoiser": 4 * 10**9, "text encoder 1": 10 * 10**9}
    verdicts = [memory_check(sums, "bfloat16", there).state for there in (24e9, 16e9, 8e9, 0)]
    assert verdicts == ["ok", "note", "bad", "ok"]
    assert "5.0 GB, and 10.0 GB of text encoders" in memory_check(sums, "bfloat16", 24e9).found


def test_the_licence_in_a_model_card(tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    assert licence_of(tmp_path) == ""
    card.write_text("---\nlicense: other\nlicense_name: stabilityai-ai-community\n---\n# A\n")
    assert licence_of(tmp_path) == "stabilityai-ai-community"
    card.write_text("---\nlicense: apache-2.0\n---\n")
    assert licence_of(tmp_path) == "apache-2.0"
    card.write_text("# license: none")
    assert licence_of(tmp_path) == ""


def test_the_command(tmp_path: Path) -> None:
    model = small_dina(tmp_path / "dina", DINA / "backbone")
    result = CliRunner().invoke(app, ["doctor", "--model", str(model), "--json"])
    topics = {check["topic"]: check["state"] for check in json.loads(result.output)}
    assert (topics["model"], topics["backbone"]) == ("ok", "ok")
    missing = CliRunner().invoke(app, ["doctor", "--model", str(tmp_path / "no"), "--json"])
    assert missing.exit_code == 1
