"""The small text-to-image model: it learns, resumes, and loads as Stable Diffusion would."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from diffagiqa.errors import ConfigError, DatabaseError, TrainingError
from diffagiqa.pretrain import loop
from diffagiqa.pretrain.config import (
    AutoencoderConfig,
    DenoiserConfig,
    PretrainConfig,
    TextConfig,
)
from diffagiqa.pretrain.denoiser import Role, _roles
from diffagiqa.pretrain.norm import FastGroupNorm
from diffagiqa.pretrain.objectives import DEFECTS, damage
from diffagiqa.pretrain.pictures import Pictures, read_folder
from diffagiqa.pretrain.run import pretrain
from diffagiqa.pretrain.tokenizer import LENGTH, train_tokenizer
from diffagiqa.pretrain.word_labels import AnnotatedCaption, tokenise

TINY = PretrainConfig(
    autoencoder=AutoencoderConfig(
        channels=(12, 16, 24, 32),
        latent_channels=8,
        norm_groups=1,
        crop=32,
        batch=2,
        component_crops=20,
        steps=10,
    ),
    text=TextConfig(vocabulary=600, width=16, layers=1, heads=2),
    denoiser=DenoiserConfig(
        channels=(16, 16, 16, 16),
        heads=2,
        norm_groups=4,
        batch=8,
        sides=(64,),
        learning_rate=4e-3,
        steps=16,
    ),
    made_images=0,
    warmup_steps=5,
    keep_ages=(0.5,),
)
COLOURS = {"red": (220, 30, 30), "green": (20, 200, 40), "blue": (30, 40, 210)}


def pictures() -> Pictures:
    numbers = np.random.default_rng(0)
    images, captions = [], []
    for name, colour in COLOURS.items():
        for _ in range(3):
            image = np.full((64, 64, 3), 255, np.uint8)
            top, left = numbers.integers(0, 32, 2)
            image[top : top + 28, left : left + 28] = colour
            images.append(image)
            captions.append(f"a {name} square")
    return Pictures(images, captions)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pretrain") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "LOG_EVERY", 3)
        before = torch.get_rng_state()
        pretrain(out, pictures(), Pictures([], []), TINY)
        assert torch.equal(torch.get_rng_state(), before)  # the caller's stream is left alone
    return out


@pytest.mark.parametrize("stage", ["autoencoder", "denoiser"])
def test_loss_falls(trained: Path, stage: str) -> None:
    with (trained / f"{stage}.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    last = torch.load(trained / f"{stage}.checkpoint.pt", weights_only=True)
    assert last["step"] >= 10


def test_losses_are_drawn(trained: Path) -> None:
    pytest.importorskip("matplotlib")
    with Image.open(trained / "losses.png") as drawn:
        assert drawn.size == (1320, 440)


def test_components_keep_detail() -> None:
    from diffagiqa.errors import ConfigError as Wrong
    from diffagiqa.pretrain.autoencoder import build_autoencoder
    from diffagiqa.pretrain.linear_start import start_from_components

    smooth = torch.nn.functional.interpolate(
        torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(0)), 64, mode="bicubic"
    )
    vae = build_autoencoder(TINY.autoencoder)
    start_from_components(vae, smooth)
    with torch.no_grad():
        latents = vae.encode(smooth).latent_dist.mean.transpose(0, 1).flatten(1)  # (8, N)
    torch.testing.assert_close(latents.std(1), torch.ones(8), atol=0.15, rtol=0)
    off = torch.corrcoef(latents) - torch.eye(8)
    assert off.abs().max() < 0.15
    with pytest.raises(Wrong, match="cannot start from 8 components"):
        start_from_components(build_autoencoder(replace(TINY.autoencoder, norm_groups=2)), smooth)


def test_folder_loads_as_stable_diffusion(trained: Path) -> None:
    from diffagiqa.pretrain.sampling import grid, load_pipeline, sample

    pipeline = load_pipeline(trained / "backbone")
    unet = pipeline.unet
    assert [type(block).__name__ for block in unet.down_blocks] == [
        *["CrossAttnDownBlock2D"] * 3,
        "DownBlock2D",
    ]
    assert [type(block).__name__ for block in unet.up_blocks] == [
        "UpBlock2D",
        *["CrossAttnUpBlock2D"] * 3,
    ]
    assert unet.config.layers_per_block == 2
    assert pipeline.vae.config.latent_channels == unet.config.in_channels
    one = sample(pipeline, ["a red square", "a blue square"], size=64, steps=2)
    again = sample(pipeline, ["a red square"], size=64, steps=2)
    assert np.abs(np.asarray(one[0], float) - np.asarray(again[0], float)).max() <= 1
    assert grid(one, 2).size == (132, 64)
    assert (trained / "ages" / "050" / "model_index.json").exists()


def test_folder_loads_as_our_backbone(trained: Path) -> None:
    from diffagiqa.backbones.folder import load_backbone
    from diffagiqa.backbones.unet_walk import unet_features

    names = ("mid_block.attentions.0", "up_blocks.2.attentions.0")
    backbone = load_backbone(str(trained / "backbone"), features=names, dtype=torch.float32)
    mean, std = backbone.encode_image(torch.zeros(1, 3, 64, 64))
    assert mean.shape == std.shape == (1, 8, 8, 8)
    text = backbone.encode_text(["a red square"])
    found = unet_features(backbone.unet, mean, 51, text, names)
    assert found["mid_block.attentions.0"].shape == (1, 64, 1, 1)


def test_resumed_run_is_the_same(trained: Path, tmp_path: Path) -> None:
    short = replace(TINY, denoiser=replace(TINY.denoiser, steps=12), warmup_steps=TINY.warmup_steps)
    # The schedule depends on the share done, so stop in the middle by an exception.
    out = tmp_path / "run"
    none = Pictures([], [])
    whole = pretrain(tmp_path / "whole", pictures(), none, short)

    class StopError(Exception):
        pass

    import diffagiqa.pretrain.denoiser as denoiser

    original = denoiser.draw_batch
    calls = 0

    def interrupted(*args: object, **kwargs: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 8:
            raise StopError
        return original(*args, **kwargs)  # type: ignore[arg-type]

    often = replace(short, checkpoint_minutes=1e-9)
    whole_often = tmp_path / "whole" / "backbone"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(denoiser, "draw_batch", interrupted)
        with pytest.raises(StopError):
            pretrain(out, pictures(), none, often)
    resumed = pretrain(out, pictures(), none, often, resume=True)
    assert whole == whole_often
    for part in (
        "unet/diffusion_pytorch_model",
        "text_encoder/model",
        "vae/diffusion_pytorch_model",
    ):
        one, two = (folder / f"{part}.safetensors" for folder in (whole, resumed))
        assert one.read_bytes() == two.read_bytes(), part


def test_a_folder_is_never_overwritten_unasked(trained: Path) -> None:
    with pytest.raises(TrainingError, match="already holds a run"):
        pretrain(trained, pictures(), Pictures([], []), TINY)
    with pytest.raises(TrainingError, match="differs from the options"):
        pretrain(trained, pictures(), Pictures([], []), replace(TINY, seed=5), resume=True)


def test_ratings_are_never_read(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "a.png")
    table = "name,prompt,mos_quality,mos_align\na.png,A  cat,not a number,\nb.png,a dog,1,2\n"
    (tmp_path / "data.csv").write_text(table)
    found = read_folder(tmp_path, exclude=["a dog"])  # b.png is missing, and left out
    assert found.captions == ["A  cat"]
    assert set(vars(found)) == {"images", "captions", "scenes"}
    assert found.scenes == []
    with pytest.raises(DatabaseError, match=r"names a picture that cannot be read: .*b\.png"):
        read_folder(tmp_path, exclude=["a CAT "])
    with pytest.raises(DatabaseError, match="expected a CSV"):
        read_folder(tmp_path / "images")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"name,text\na.png,\n", r"\(no column 'prompt'\)"),
        ("name,prompt\na.png,caf\u00e9\n".encode("latin-1"), "can't decode byte"),
    ],
)
def test_a_table_that_is_none_is_one_sentence(data: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(data)
    with pytest.raises(DatabaseError, match=rf"{reason}.*; expected a CSV in UTF-8"):
        read_folder(tmp_path)


def test_a_table_with_a_mark_of_its_encoding_is_read(tmp_path: Path) -> None:
    """As spreadsheets write it."""
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "a.png")
    (tmp_path / "data.csv").write_text("name,prompt\na.png,a cat\n", encoding="utf-8-sig")
    assert read_folder(tmp_path).captions == ["a cat"]


def test_prompts_are_left_out_as_splits_compare_them(tmp_path: Path) -> None:
    """Width and marks at the ends make no other prompt: a held-out one must not be learnt from."""
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "a.png")
    table = 'name,prompt\na.png,"a cat"\na.png,"A  cat."\na.png,"\uff41 cat"\na.png,"a dog"\n'
    (tmp_path / "data.csv").write_text(table, encoding="utf-8")
    assert read_folder(tmp_path, exclude=['"a cat"']).captions == ["a dog"]


def test_pictures_are_decoded_as_the_scorer_decodes_them(tmp_path: Path) -> None:
    """A plain JPEG gives the pixels that Pillow gives; transparent ones are laid on white."""
    (tmp_path / "images").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (40, 56, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "images" / "a.jpg")
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "images" / "b.png")
    (tmp_path / "images" / "c.jpg").write_bytes(b"\xff\xd8 not a picture")
    (tmp_path / "data.csv").write_text("name,prompt\na.jpg,one\nb.png,two\nc.jpg,three\n")
    plain, clear = read_folder(tmp_path, exclude=["three"]).images
    with Image.open(tmp_path / "images" / "a.jpg") as picture:
        assert np.array_equal(plain, np.asarray(picture.convert("RGB")))
    assert clear.min() == 255
    with pytest.raises(DatabaseError, match=r"c\.jpg .*Repair it, or take its row out"):
        read_folder(tmp_path)


def test_tokenizer_covers_any_text(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(["a red cube on a red sphere"] * 3, 600, tmp_path)
    for text in ["a red cube", "çà 世界 🎨", "\u0661\u200b\ufffd", "emoji👩‍🚀 and ǅ"]:
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.unk_token_id not in ids[1:-1]
        back = tokenizer.decode(ids, skip_special_tokens=True)
        import unicodedata

        wanted = unicodedata.normalize("NFC", text).lower()
        assert "".join(back.split()) == "".join(wanted.split())
    told = [AnnotatedCaption("a"), AnnotatedCaption("red " * 200)]
    assert tokenise(tokenizer, told, LENGTH).ids.shape == (2, 77)
    assert len(tokenizer("red cube")["input_ids"]) == 4


@pytest.mark.parametrize(
    ("shares", "counts"),
    [
        ((0.25, 0.12, 0.63), (8, 4, 20)),
        ((0.42, 0.0, 0.58), (13, 0, 19)),
        ((0.5, 0.01, 0.4), (17, 2, 13)),
    ],
)
def test_a_batch_has_its_shares(shares: tuple[float, ...], counts: tuple[int, ...]) -> None:
    """A share above 0 gets one pair or one picture at least, and a share of 0 nothing."""
    roles = _roles(DenoiserConfig(shares=shares), 32)
    assert tuple(roles.count(role) for role in Role) == counts


def test_damage_grows_with_severity() -> None:
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    for kind in range(1, len(DEFECTS)):
        errors = []
        for severity in (0.0, 0.1, 1.0):
            bad = damage(image, kind, severity, np.random.default_rng(1))
            assert bad.shape == image.shape
            assert bad.dtype == np.uint8
            errors.append(float(np.square(bad.astype(float) - image).mean()))
        assert errors[0] == 0 < errors[1] < errors[2], DEFECTS[kind]


def test_fast_norm_is_group_norm() -> None:
    torch.manual_seed(0)
    plain, fast = nn.GroupNorm(4, 16).double(), FastGroupNorm(4, 16).double()
    nn.init.normal_(plain.weight)
    fast.load_state_dict(plain.state_dict())
    x = torch.randn(3, 16, 5, 6, dtype=torch.float64)
    one, two = x.clone().requires_grad_(), x.clone().requires_grad_()
    grad = torch.randn_like(x)
    plain(one).backward(grad)
    fast(two).backward(grad)
    torch.testing.assert_close(two.grad, one.grad, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(fast.weight.grad, plain.weight.grad, atol=1e-5, rtol=1e-5)


def test_configuration_round_trips(tmp_path: Path) -> None:
    TINY.save(tmp_path / "c.json")
    assert PretrainConfig.load(tmp_path / "c.json") == TINY
    (tmp_path / "c.json").write_text('{"sed": 1}')
    with pytest.raises(ConfigError, match="unknown key sed"):
        PretrainConfig.load(tmp_path / "c.json")
