"""Model folders and backbone folders: strict loading, one clear sentence for what is wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import httpx
import pytest
import torch
from conftest import small_config
from huggingface_hub.errors import GatedRepoError
from huggingface_hub.utils import filter_repo_objects
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig

from diffagiqa.backbones.folder import find_backbone, load_backbone
from diffagiqa.backbones.names import RELEASED_FEATURES
from diffagiqa.errors import BackboneError, ConfigError, WeightsError
from diffagiqa.model.scoring import build_model
from diffagiqa.pretrained import (
    backbone_reference,
    find_model,
    fingerprint,
    load_model,
    locate,
    save_model,
)


@pytest.fixture
def backbone_copy(reference: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(reference / "backbone", tmp_path / "backbone"))


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    save_model(build_model(small_config()), tmp_path / "model")
    return tmp_path / "model"


def test_only_used_parts_are_loaded(reference: Path) -> None:
    mid = load_backbone(str(reference / "backbone"), ("mid_block.attentions.0",))
    assert len(mid.unet.up_blocks) == 0
    whole = load_backbone(str(reference / "backbone"), RELEASED_FEATURES)
    assert len(whole.unet.up_blocks) == 3
    assert not hasattr(whole.image_encoder, "decoder")


def test_weights_come_in_the_asked_type(reference: Path) -> None:
    backbone = load_backbone(str(reference / "backbone"), RELEASED_FEATURES, dtype=torch.bfloat16)
    assert {p.dtype for p in backbone.parameters()} == {torch.bfloat16}
    assert not any(p.requires_grad for p in backbone.parameters())


def test_sharded_and_fp16_variants_load(backbone_copy: Path) -> None:
    unet = backbone_copy / "unet"
    file = unet / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    wanted = load_backbone(str(backbone_copy), RELEASED_FEATURES).unet.state_dict()
    names = sorted(tensors)
    half = len(names) // 2
    save_file({n: tensors[n] for n in names[:half]}, unet / "model-00001-of-00002.safetensors")
    save_file({n: tensors[n] for n in names[half:]}, unet / "model-00002-of-00002.safetensors")
    file.unlink()
    found = load_backbone(str(backbone_copy), RELEASED_FEATURES).unet.state_dict()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    for part in unet.glob("model-*"):
        part.unlink()
    halves = {name: tensor.half() for name, tensor in tensors.items()}
    save_file(halves, unet / "diffusion_pytorch_model.fp16.safetensors")
    found = load_backbone(str(backbone_copy), RELEASED_FEATURES).unet.state_dict()
    assert all(torch.allclose(found[n], wanted[n], atol=1e-3) for n in wanted)


@pytest.mark.parametrize("prefix", ["", "text_model."])
@pytest.mark.parametrize("nested", [False, True])
def test_a_text_encoder_loads_by_short_and_by_long_names(
    prefix: str, nested: bool, backbone_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers keeps the network in ``text_model`` before 5.6, and reads only that; later not."""
    from transformers import CLIPTextModel

    class Nested(CLIPTextModel):
        def __init__(self, config: CLIPTextConfig) -> None:
            super().__init__(config)
            if not hasattr(self, "text_model"):
                self.text_model = torch.nn.Module()
                for name, part in [*self.named_children()]:
                    if name != "text_model":
                        self.text_model.add_module(name, part)
                        delattr(self, name)

    file = backbone_copy / "text_encoder/model.safetensors"
    tensors = {name.removeprefix("text_model."): one for name, one in load_file(file).items()}
    file.unlink()  # an older safetensors maps it into memory and writes in place
    save_file({prefix + n: t for n, t in tensors.items()}, file, metadata={"format": "pt"})
    if nested:
        monkeypatch.setattr("transformers.CLIPTextModel", Nested)
    found = load_backbone(str(backbone_copy), RELEASED_FEATURES).text_encoder.state_dict()
    assert {name.removeprefix("text_model.") for name in found} == set(tensors)
    assert all(torch.equal(found[n], tensors[n.removeprefix("text_model.")]) for n in found)


@pytest.mark.parametrize("part", ["vae", "unet", "text_encoder", "tokenizer", "scheduler"])
def test_a_missing_part_is_named(backbone_copy: Path, part: str) -> None:
    shutil.rmtree(backbone_copy / part)
    with pytest.raises(BackboneError, match=f"has no folder {part}/"):
        load_backbone(str(backbone_copy), RELEASED_FEATURES)


def test_pickled_weights_are_refused(backbone_copy: Path) -> None:
    file = backbone_copy / "unet" / "diffusion_pytorch_model.safetensors"
    file.rename(file.with_suffix(".bin"))
    with pytest.raises(BackboneError, match=r"no \*\.safetensors file"):
        load_backbone(str(backbone_copy), RELEASED_FEATURES)


def test_truncated_and_misshapen_weights_are_named(backbone_copy: Path) -> None:
    file = backbone_copy / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    name = "encoder.conv_in.weight"
    save_file(tensors | {name: tensors[name][:, :2].contiguous()}, file)
    with pytest.raises(BackboneError, match=r"encoder\.conv_in\.weight .* has shape"):
        load_backbone(str(backbone_copy), RELEASED_FEATURES)
    save_file({n: t for n, t in tensors.items() if n != name}, file)
    with pytest.raises(BackboneError, match=r"lacks 1 tensor .* encoder\.conv_in\.weight"):
        load_backbone(str(backbone_copy), RELEASED_FEATURES)
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(BackboneError, match="cannot be read as safetensors"):
        load_backbone(str(backbone_copy), RELEASED_FEATURES)


@pytest.mark.parametrize(
    ("file", "changes", "sentence"),
    [
        (
            "unet/config.json",
            {"layers_per_block": 10**9},
            "layers_per_block 1000000000; expected 32",
        ),
        ("unet/config.json", {"layers_per_block": [1, [99]]}, "expected 32 at most"),
        ("unet/config.json", {"down_block_types": ["Evil"] * 3}, "nothing that can be built"),
        ("unet/config.json", {"block_out_channels": "wide"}, "nothing that can be built"),
        ("vae/config.json", {"act_fn": 7}, "nothing that can be built"),
        ("text_encoder/config.json", {"num_hidden_layers": 10**6}, "expected 128 at most"),
        ("text_encoder/config.json", {"num_hidden_layers": 3}, "lacks 16 tensors"),
        ("text_encoder/config.json", {"hidden_act": "__import__"}, "cannot be loaded"),
        ("text_encoder/config.json", {"hidden_size": "x"}, "cannot be loaded"),
        (
            "scheduler/scheduler_config.json",
            {"num_train_timesteps": 10**12},
            "expected 10000 at most",
        ),
        (
            "scheduler/scheduler_config.json",
            {"beta_schedule": "rm -rf"},
            "nothing that can be built",
        ),
        ("scheduler/scheduler_config.json", {"beta_start": "0"}, "nothing that can be built"),
        ("scheduler/scheduler_config.json", {"beta_end": 4.0}, "leaves the range of 0 to 1"),
        ("tokenizer/tokenizer.json", {"model": 1}, "tokenizer in .* cannot be loaded"),
    ],
)
def test_hostile_backbone_configurations_are_one_sentence(
    backbone_copy: Path, file: str, changes: dict[str, object], sentence: str
) -> None:
    place = backbone_copy / file
    place.write_text(json.dumps(json.loads(place.read_text()) | changes))
    with pytest.raises(BackboneError, match=sentence) as caught:
        load_backbone(str(backbone_copy), RELEASED_FEATURES)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_endless_backbone_configurations_are_refused(backbone_copy: Path) -> None:
    file = backbone_copy / "unet" / "config.json"
    for text, sentence in (("[" * 100_000, "cannot be read"), (" " * 1_000_001, "over 1 MB")):
        file.write_text(text)
        with pytest.raises(BackboneError, match=sentence):
            load_backbone(str(backbone_copy), RELEASED_FEATURES)


def test_the_hub_is_asked_for_what_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = ["unet/config.json", "unet/diffusion_pytorch_model.safetensors"]
    others = ["v1-5-pruned.safetensors", "unet/diffusion_pytorch_model.bin"]
    others += ["unet/diffusion_pytorch_model.non_ema.safetensors", "safety_checker/config.json"]

    def snapshot_download(
        name: str, revision: str | None, allow_patterns: list[str], ignore_patterns: list[str]
    ) -> str:
        wanted = filter_repo_objects(
            [*files, *others], allow_patterns=allow_patterns, ignore_patterns=ignore_patterns
        )
        assert list(wanted) == files
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    twins = [*files, "unet/diffusion_pytorch_model.fp16.safetensors"]
    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_files", lambda *_, **__: twins)
    others.append(twins[-1])
    assert find_backbone("somebody/sd15") == tmp_path
    others.clear()
    halves = [files[0], twins[-1]]  # what has no twin in full precision is fetched
    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_files", lambda *_, **__: halves)
    files[:] = halves
    assert find_backbone("somebody/sd15") == tmp_path


def test_a_licence_to_accept_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    response = httpx.Response(403, request=httpx.Request("GET", "https://huggingface.co"))

    def gated(*_: object, **__: object) -> None:
        raise GatedRepoError("403", response=response)

    monkeypatch.setattr("huggingface_hub.snapshot_download", gated)
    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_files", gated)
    with pytest.raises(BackboneError, match=r"accept its licence.*/somebody/sd35"):
        find_backbone("somebody/sd35")


def test_wrong_places_say_what_to_fetch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="does not exist"):
        find_backbone(str(tmp_path / "absent"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BackboneError, match=r"at revision 0000.*hf download nobody/nothing"):
        find_backbone("nobody/nothing", revision="0" * 40)
    with pytest.raises(WeightsError, match="hf download nobody/nothing"):
        find_model("nobody/nothing")
    with pytest.raises(WeightsError, match="is no model folder"):
        find_model(str(tmp_path))


def test_weights_that_do_not_fit_are_named(model_folder: Path) -> None:
    file = model_folder / "model.safetensors"
    tensors = load_file(file)
    del tensors["pyramid.attentions.0.gamma"]
    save_file(tensors | {"extra": torch.zeros(1)}, file)
    with pytest.raises(
        WeightsError, match=r"missing pyramid\.attentions\.0\.gamma; unexpected extra"
    ):
        load_model(model_folder)
    config = json.loads((model_folder / "config.json").read_text())
    (model_folder / "config.json").write_text(json.dumps(config | {"evil": "code"}))
    with pytest.raises(ConfigError, match="unknown configuration key evil"):
        load_model(model_folder)
    (model_folder / "config.json").write_text(" " * 2_000_000)
    with pytest.raises(WeightsError, match="over 1 MB"):
        load_model(model_folder)


def test_half_precision_folder_reads_back_as_float32(tmp_path: Path) -> None:
    model = build_model(small_config())
    for name, buffer in model.named_buffers():
        if name.endswith("num_batches_tracked"):
            buffer.fill_(100_001)  # no number of float16
        if name.endswith("running_var"):
            buffer[0] = 1e6  # neither is this
    save_model(model, tmp_path, half=True)
    again = load_model(tmp_path)
    for name, tensor in again.state_dict().items():
        assert tensor.dtype == model.state_dict()[name].dtype
        assert torch.allclose(tensor.double(), model.state_dict()[name].double(), atol=1e-3)


def test_a_full_disk_is_the_systems_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        save_model(build_model(small_config()), tmp_path)
    assert caught.value.filename == str(tmp_path / "model.safetensors")


def test_relative_backbone_stays_in_the_model_folder(tmp_path: Path) -> None:
    inside = backbone_reference(small_config(backbone="./backbone"), tmp_path)
    assert inside == str(tmp_path.resolve() / "backbone")
    with pytest.raises(WeightsError, match="leads out"):
        backbone_reference(small_config(backbone="./../../etc"), tmp_path)


def test_fingerprint_follows_weights_and_config(model_folder: Path) -> None:
    before = fingerprint(model_folder)
    assert before == fingerprint(model_folder)
    config = model_folder / "config.json"
    config.write_text(config.read_text().replace('"timestep": 51', '"timestep": 52'))
    assert fingerprint(model_folder) != before


def test_fingerprint_follows_names_texts_and_the_backbone(
    model_folder: Path, backbone_copy: Path
) -> None:
    seen = {locate(model_folder, backbone=str(backbone_copy)).fingerprint}
    merges = backbone_copy / "tokenizer" / "merges.txt"
    merges.write_text("a b\n")
    seen.add(locate(model_folder, backbone=str(backbone_copy)).fingerprint)
    merges.rename(merges.with_name("other.txt"))
    seen.add(locate(model_folder, backbone=str(backbone_copy)).fingerprint)
    assert len(seen) == 3


def test_shift_and_schedule_are_those_of_the_configuration(backbone_copy: Path) -> None:
    file = backbone_copy / "vae" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"shift_factor": 0.25}))
    file = backbone_copy / "scheduler" / "scheduler_config.json"
    betas = [0.5] * 60
    file.write_text(json.dumps(json.loads(file.read_text()) | {"trained_betas": betas}))
    loaded = load_backbone(str(backbone_copy), ("mid_block.attentions.0",))
    assert loaded.image_encoder.shift_factor == 0.25
    assert loaded.alphas_cumprod[:3].tolist() == [0.5, 0.25, 0.125]


def test_full_precision_goes_before_the_fp16_variant(backbone_copy: Path) -> None:
    unet = backbone_copy / "unet"
    tensors = load_file(unet / "diffusion_pytorch_model.safetensors")
    zeros = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    save_file(zeros, unet / "diffusion_pytorch_model.fp16.safetensors")
    loaded = load_backbone(str(backbone_copy), ("mid_block.attentions.0",)).unet
    assert torch.equal(loaded.conv_in.weight, tensors["conv_in.weight"])


def test_fingerprint_of_large_files_is_that_of_a_copy(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diffagiqa.pretrained.LARGE", 100)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    copy = shutil.copytree(model_folder, tmp_path / "copy")
    before = fingerprint(model_folder)
    assert fingerprint(copy) == before
    file = copy / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert fingerprint(copy) != before
