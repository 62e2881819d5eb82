"""The released checkpoint: what converts, what is ignored, what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from diffagiqa.convert import convert_released
from diffagiqa.errors import WeightsError
from diffagiqa.pretrained import load_model, save_model


def state(reference: Path) -> dict[str, torch.Tensor]:
    return torch.load(reference / "upstream_small.pth", weights_only=True)  # type: ignore[no-any-return]


def write(state: object, tmp_path: Path) -> Path:
    file = tmp_path / "released.pth"
    torch.save(state, file)
    return file


def test_meta_net_and_the_sixth_attention_are_ignored(reference: Path) -> None:
    ignored = convert_released(reference / "upstream_small.pth").ignored
    assert "image_prompts.meta_net.0.weight" in ignored
    assert "cross_attentions.5.gamma" in ignored
    assert not any(name.startswith("image_prompts.meta_net_2") for name in ignored)


def test_a_checkpoint_without_meta_net_converts(reference: Path, tmp_path: Path) -> None:
    kept = {k: v for k, v in state(reference).items() if ".meta_net." not in k}
    config = convert_released(write(kept, tmp_path), backbone="./sd15").model.config
    assert (config.prompting, config.backbone) == ("shared", "sd15")  # ./ is a model's own folder


def test_both_heads_convert(reference: Path) -> None:
    both = convert_released(reference / "upstream_small.pth", tasks=("perception", "alignment"))
    assert both.model.config.task_names == ("perception", "alignment")
    assert both.model.config.long_prompts == "released"
    with pytest.raises(WeightsError, match="no task authenticity"):
        convert_released(reference / "upstream_small.pth", tasks=("authenticity",))


def test_converted_model_survives_the_disk(reference: Path, tmp_path: Path) -> None:
    model = convert_released(reference / "upstream_small.pth").model
    save_model(model, tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert again.config == model.config
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def test_missing_and_unexpected_tensors_are_named(reference: Path, tmp_path: Path) -> None:
    broken = state(reference)
    del broken["quality_head.8.bias"]
    broken["surprise.weight"] = torch.zeros(1)
    with pytest.raises(WeightsError) as caught:
        convert_released(write(broken, tmp_path))
    assert "missing heads.perception.regressor.6.bias" in str(caught.value)
    assert "unexpected surprise.weight" in str(caught.value)
    del broken["fusion_quality.0.weight"]
    with pytest.raises(WeightsError, match=r"lacks tensor fusion_quality\.0\.weight"):
        convert_released(write(broken, tmp_path))


class _Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("/tmp/diffagiqa-was-here"),))  # type: ignore[return-value]


def test_code_is_never_unpickled(tmp_path: Path) -> None:
    file = tmp_path / "hostile.pth"
    with file.open("wb") as stream:
        pickle.dump(_Hostile(), stream)
    with pytest.raises(WeightsError, match="never unpickled"):
        convert_released(file)
    with pytest.raises(WeightsError, match="never unpickled"):
        convert_released(write({"a": _Hostile()}, tmp_path))
    assert not Path("/tmp/diffagiqa-was-here").exists()


def test_shapes_that_no_layer_has(reference: Path, tmp_path: Path) -> None:
    for name, shape in (
        ("pyramid_extractors.2.branches.0.0.weight", (7,)),
        ("quality_head.2.weight", ()),
        ("fusion_quality.3.weight", (8, 0, 3, 3)),
    ):
        broken = state(reference) | {name: torch.zeros(shape)}
        with pytest.raises(WeightsError, match="shapes that no layer has"):
            convert_released(write(broken, tmp_path))


def test_only_dense_tensors_that_the_file_holds(reference: Path, tmp_path: Path) -> None:
    name = "quality_head.2.weight"
    for tensor in (torch.zeros(1).expand(60_000, 60_000), torch.zeros(4, 4).to_sparse()):
        with pytest.raises(WeightsError, match="expected dense tensors by name"):
            convert_released(write(state(reference) | {name: tensor}, tmp_path))


def test_safetensors_that_are_none(tmp_path: Path) -> None:
    file = tmp_path / "released.safetensors"
    file.write_bytes(b"\xff" * 100)
    with pytest.raises(WeightsError, match="is no plain state dict"):
        convert_released(file)


@pytest.mark.parametrize(
    "content", [b"", b"not a checkpoint", b"PK\x03\x04broken", b"\x80\x02.", b"\x80\x02}q\x00(0u."]
)
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "released.pth"
    file.write_bytes(content)
    with pytest.raises(WeightsError):
        convert_released(file)
    with pytest.raises(WeightsError, match="cannot be read"):
        convert_released(tmp_path / "absent.pth")
    with pytest.raises(WeightsError, match="holds no state dict"):
        convert_released(write([1, 2], tmp_path))
