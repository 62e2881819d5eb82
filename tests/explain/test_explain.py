"""Explanations: attention against the U-Net's own, maps against scores, words against their places."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from conftest import ROUNDING, encode_text, small_config, spread_out
from PIL import Image

from diffagiqa import Scorer
from diffagiqa.assets import demo_images
from diffagiqa.backbones.base import Prompts
from diffagiqa.backbones.folder import load_backbone
from diffagiqa.backbones.text import token_ids
from diffagiqa.backbones.unet import StableDiffusion
from diffagiqa.backbones.unet_walk import cross_attention, unet_features
from diffagiqa.cli.explain import _show
from diffagiqa.cli.main import run
from diffagiqa.explain import Explanation, WordEffect, explain
from diffagiqa.explain.explanation import word_maps
from diffagiqa.explain.figures import overlay, visible
from diffagiqa.explain.spatial import activation_map, window_map
from diffagiqa.explain.words import split_words, without
from diffagiqa.model.config import ModelConfig
from diffagiqa.model.scoring import build_model


class Drawn(NamedTuple):
    image: np.ndarray
    prompt: str


@pytest.fixture(scope="session")
def scorer(small_scorer: Scorer) -> Scorer:
    return small_scorer


@pytest.fixture(scope="session")
def made() -> Drawn:
    image = demo_images()[0]
    with Image.open(image.path) as file:
        return Drawn(np.asarray(file.convert("RGB").resize((128, 128))), image.prompt)


def test_probabilities_are_those_of_the_attention_layer(backbone: StableDiffusion) -> None:
    """With our probabilities, the layer's own values and output give the layer's own result."""
    transformer = backbone.unet.mid_block.attentions[0]
    block = transformer.transformer_blocks[0]
    channels = transformer.norm.num_channels
    hidden = torch.randn(1, channels, 4, 4, generator=torch.Generator().manual_seed(0))
    text = encode_text(backbone, ["a red fox"])
    seen: dict[str, torch.Tensor] = {}
    before = block.norm2.register_forward_pre_hook(lambda _, inputs: seen.update(tokens=inputs[0]))
    handle = block.attn2.register_forward_hook(
        lambda _, inputs, output: seen.update(input=inputs[0], output=output)
    )
    with torch.no_grad():
        transformer(hidden, encoder_hidden_states=text)
        handle.remove()
        before.remove()
        attention = block.attn2
        query, key, value = (
            layer(x).unflatten(2, (attention.heads, -1)).transpose(1, 2)
            for layer, x in (
                (attention.to_q, seen["input"]), (attention.to_k, text), (attention.to_v, text),
            )
        )  # fmt: skip
        weights = (query @ key.transpose(-1, -2) * attention.scale).softmax(-1)
        own = attention.to_out[0]((weights @ value).transpose(1, 2).flatten(2))
        ours = cross_attention(block, seen["tokens"], text, hidden)
    torch.testing.assert_close(own, seen["output"], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(ours.flatten(2).transpose(1, 2), weights.mean(1))


def test_attention_sums_to_one_and_leaves_nothing_behind(scorer: Scorer) -> None:
    unet = scorer.backbone.unet
    text = encode_text(scorer.backbone, ["a fox"])
    latents = torch.zeros(1, 4, 16, 16)
    names = scorer.backbone.word_features(scorer.config.features)
    for maps in unet_features(unet, latents, 51, text, names).values():
        assert maps.shape[:2] == (1, 77)
        torch.testing.assert_close(maps.sum(1), torch.ones(1, *maps.shape[-2:]))
    assert not any(module._forward_hooks for module in unet.modules())


@pytest.mark.parametrize("long_prompts", ["truncate", "chunk", "released"])
def test_tokens_of_words_are_where_the_encoding_has_them(scorer: Scorer, long_prompts: str) -> None:
    """The ids at a word's positions are those of the word alone, in short and in long prompts."""
    tokenizer = scorer.backbone.tokenizer
    for prompt in ("a red fox, in front of the fox", "x " * 90 + "fox"):
        words = split_words(prompt)
        spans = [(word.start, word.end) for word in words]
        positions = scorer.backbone.word_positions(prompt, spans, long_prompts)
        pieces, length = token_ids(tokenizer, prompt, long_prompts)
        ids = pieces.flatten()[:length]
        for word, tokens in zip(words, positions, strict=True):
            alone = tokenizer(word.text, add_special_tokens=False)["input_ids"]
            read = [int(ids[token]) for token in tokens]
            assert read == alone or (read == [] and long_prompts == "truncate")
    assert (positions[-1] == []) == (long_prompts == "truncate")


def test_word_maps_average_the_draws(reference: Path) -> None:
    config = small_config(noise_draws=2)
    scorer = Scorer.untrained(config.backbone, config, device="cpu", dtype="float32")
    image = torch.rand(3, 128, 128, generator=torch.Generator().manual_seed(0))
    words = split_words("a red fox")
    both = word_maps(scorer, image, "a red fox", words)
    noises = scorer.runner.noises(128, 128)
    singly = []
    for noise in noises:
        scorer.runner.noises = lambda *_, noise=noise: [noise]
        singly.append(word_maps(scorer, image, "a red fox", words))
    for number, together in enumerate(both):
        mean = (singly[0][number] + singly[1][number]) / 2
        np.testing.assert_allclose(together, mean, rtol=1e-4, atol=1e-7)
    assert not np.allclose(singly[0][0], singly[1][0], rtol=1e-4)


@pytest.mark.parametrize(
    ("prompt", "word", "left"),
    [
        ("a red fox", "red", "a fox"),
        ("snow, a fox", "snow", "a fox"),
        ("a fox, red, big", "red", "a fox, big"),
        ("fox", "fox", ""),
    ],
)
def test_leaving_out(prompt: str, word: str, left: str) -> None:
    found = next(w for w in split_words(prompt) if w.text == word)
    assert without(prompt, found) == left


def test_the_activation_map(scorer: Scorer, made: Drawn) -> None:
    image = scorer.prepare(made.image)
    lost = activation_map(scorer, image, made.prompt, "perception")
    assert lost.shape == (128, 128)
    assert lost.abs().max() == 1
    torch.testing.assert_close(lost, activation_map(scorer, image, made.prompt, "perception"))


def test_explanation(scorer: Scorer, made: Drawn) -> None:
    found = explain(scorer, made.image, made.prompt)
    score = scorer(made.image, made.prompt)
    assert found.map_method == "activation"
    assert found.scores["alignment"] == pytest.approx(score["alignment"], abs=ROUNDING)
    assert [made.prompt[w.start : w.end] for w in found.words] == [w.text for w in found.words]
    word = found.words[0]
    left = without(made.prompt, split_words(made.prompt)[0])
    expected = score["alignment"] - scorer(made.image, left)["alignment"]
    assert word.drop == pytest.approx(expected, abs=2 * ROUNDING)
    assert word.attention.shape == (128, 128)
    assert found.to_dict()["prompt"] == made.prompt
    assert found.sentence


def test_missing_words_are_named() -> None:
    blank = np.zeros((4, 4))
    words = tuple(
        WordEffect(text, 0, 1, drop, blank)
        for text, drop in (("red", -0.1), ("fox", 0.2), ("left of", -0.3))
    )
    image = np.zeros((4, 4, 3), np.uint8)
    found = Explanation(image, "...", {}, "perception", "activation", blank, words)
    assert found.sentence == "'left of' and 'red' seem not to be shown."
    assert Explanation(image, "", {}, "perception", "activation", blank, ()).sentence == ""


@pytest.mark.parametrize(
    ("drops", "sentence"),
    [
        ((0.1, -0.2), "'b' seems not to be shown."),
        ((-0.1, -0.2, -0.3), "'c', 'b' and 'a' seem not to be shown."),
        ((-0.2, -0.3, -0.4, -0.5, -0.1), "'d', 'c', 'b' and 2 more words seem not to be shown."),
        ((-0.2, -0.3, -0.4, -0.5), "'d', 'c', 'b' and 1 more word seem not to be shown."),
        ((0.1, 0.2), "No word of the prompt seems to be missing."),
        ((0.0, 0.0), "This model's alignment score does not depend on the words of the prompt."),
    ],
)
def test_the_sentence_counts_what_it_does_not_name(drops: tuple[float, ...], sentence: str) -> None:
    found = explanation_of(*drops)
    assert found.sentence == sentence
    assert "not to be shown" not in replace(found, doubtful=True).sentence


def explanation_of(*drops: float) -> Explanation:
    """Of a black image whose words, a, b, ..., change the score by so much."""
    blank = np.zeros((4, 4), np.float32)
    words = tuple(
        WordEffect(text, 0, 1, drop, blank) for text, drop in zip("abcdefg", drops, strict=False)
    )
    image, scores = np.zeros((4, 4, 3), np.uint8), {"perception": 0.25}
    return Explanation(image, "a b", scores, "perception", "activation", blank, words)


def test_doubt_is_said_in_figure_and_words() -> None:
    pytest.importorskip("matplotlib")
    sure = explanation_of(0.1, -0.2)
    assert sure.warnings == ()
    assert sure.alt_text.startswith("An image for the prompt \u201ca b\u201d: perception 0.25.")
    found = replace(sure, unfamiliar="image+size", doubtful=True)
    assert len(found.warnings) == 3
    title = found.figure().get_suptitle()
    for warning in found.warnings:
        assert warning in found.alt_text
        assert warning in title.replace("\n", " ")
        assert warning not in sure.figure().get_suptitle()


@pytest.mark.parametrize("count", [1, 7, 40])
@pytest.mark.parametrize("size", [(64, 64), (32, 160), (160, 32)])
def test_figures_hold_any_image_and_number_of_words(count: int, size: tuple[int, int]) -> None:
    pytest.importorskip("matplotlib")
    rng = np.random.default_rng(0)
    words = tuple(
        WordEffect(f"word{i}", 0, 1, float(rng.normal()), rng.random(size)) for i in range(count)
    )
    image = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
    found = Explanation(image, "p " * 300, {}, "perception", "activation", rng.random(size), words)
    figure = found.figure()
    figure.canvas.draw()
    # Nothing is drawn beyond the edges, or squeezed to nothing by the layout.
    width, height = figure.get_size_inches() * figure.dpi
    axes = [axis for part in figure.subfigs for axis in part.axes if axis.axison or axis.images]
    for axis in axes:
        box = axis.get_tightbbox()
        assert -2 <= box.x0 < box.x1 <= width + 2
        assert -2 <= box.y0 < box.y1 <= height + 2
        assert min(axis.bbox.width, axis.bbox.height) > 12
    named = {label.get_text() for axis in axes for label in axis.get_yticklabels()}
    assert {word.text for word in words} <= named


def test_a_doubtful_alignment_score_is_said(tiny_model: Path) -> None:
    scorer = Scorer.from_pretrained(tiny_model, device="cpu", dtype="float32")
    image = np.zeros((64, 64, 3), np.uint8)
    assert not explain(scorer, image, "a fox", words=False).doubtful
    scorer.model.config = replace(scorer.config, doubtful=("alignment",))
    assert explain(scorer, image, "a fox", words=False).doubtful


def test_the_command_warns_as_score_does(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    picture = str(tmp_path / "a.png")
    assert run(["explain", picture, "--model", str(tiny_model), "--device", "cpu"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "no prompt, so only what is not about it" in said
    assert "perception loses most" in said
    assert "--out why.png draws" in said
    found = Explanation(
        np.zeros((4, 4, 3), np.uint8), "p", {}, "perception", "activation", np.zeros((4, 4)), (),
        unfamiliar="image",
    )  # fmt: skip
    _show(found)
    assert "Unlike the images this model was trained on" in capsys.readouterr().out


def test_gradients_flow_after_a_plain_score(scorer: Scorer, made: Drawn) -> None:
    """The prompt's embedding is kept between calls; one made while scoring must serve a loss, too."""
    scorer(made.image, "a prompt of this test alone")
    images = scorer.prepare(made.image)[None].requires_grad_(True)
    scorer.loss(images, "a prompt of this test alone").backward()
    assert images.grad is not None


def test_figure_takes_hostile_prompts(scorer: Scorer, made: Drawn) -> None:
    pytest.importorskip("matplotlib")
    found = explain(scorer, made.image, r"a $\frac{ <script> % fox")
    figure = found.figure()
    figure.canvas.draw()
    assert len(figure.subfigs) == 2


def test_overlay_is_readable_in_grey() -> None:
    """The hotter a place, the lighter, on a plain picture: order survives without colour."""
    pytest.importorskip("matplotlib")
    heat = visible(np.linspace(-1, 1, 64)[None].repeat(64, 0))
    drawn = overlay(np.full((64, 64, 3), 60, np.uint8), heat)
    light = drawn.astype(float) @ [0.299, 0.587, 0.114]
    assert light[0, 63] > light[0, 48] > light[0, 40]


def test_a_single_place_can_be_seen_and_hides_no_other() -> None:
    values = np.full((128, 128), -1.0)
    values[40, 60] = 1.0
    alone = visible(values)
    assert alone[40, 60] == 1
    assert 20 < (alone > 0.5).sum() < 100  # 8 x 8 of 128 x 128
    values[100, 20] = 0.5
    assert visible(values)[100, 20] > 0.4
    assert not visible(np.full((128, 128), -1.0)).any()


@pytest.fixture(scope="module")
def windowed() -> Scorer:
    """Untrained heads on the package's backbone."""
    backbone = load_backbone("compact")
    names = ("detail.3", "detail.5.std", "fit.words")
    config = ModelConfig(
        backbone="compact", fit="native", image_size=256, features=names, prompting="none",
        feature_channels=backbone.feature_channels(names), pyramid_size=2, pyramid_channels=8,
        pyramid_kernels=(1,), attention_channels=1, fusion_channels=(16, 8, 8), head_channels=(8, 8),
    )  # fmt: skip
    return spread_out(Scorer(build_model(config).eval(), backbone))


def test_windows_are_scored_alone(windowed: Scorer) -> None:
    """With one window, and it the whole image, the score is the image's own; the map is flat."""
    image = torch.rand(3, 96, 160, generator=torch.Generator().manual_seed(0))
    found = window_map(windowed, image, "a fox", "perception", windows=3)
    assert found.shape == (96, 160)
    assert found.std() > 0
    encoded = windowed.backbone.encode_image(2 * image[None] - 1)
    whole = windowed.backbone.crop(encoded, 0.0, 0.0, 1.0)
    assert all(torch.equal(one, other) for one, other in zip(whole, encoded, strict=True))
    quarter = windowed.backbone.crop(encoded, 0.5, 0.75, 0.25)
    for part, maps in zip(quarter, encoded, strict=True):
        assert part.shape[2] == max(1, round(maps.shape[2] / 4))
    prompts = Prompts.stack(windowed.prompts(["a fox"]))
    corner = windowed.backbone.crop(encoded, 0.75, 0.75, 0.25)
    with torch.no_grad():
        features = windowed.model.features(corner, prompts, windowed.backbone, None)
        score = windowed.model.score_features(features)["perception"]
    assert found[-1, -1] - found[0, 0] == pytest.approx(
        float(first_window(windowed, encoded, prompts) - score), abs=2 * ROUNDING
    )


def first_window(scorer: Scorer, encoded: tuple[torch.Tensor, ...], prompts: Prompts) -> float:
    with torch.no_grad():
        corner = scorer.backbone.crop(encoded, 0.0, 0.0, 0.25)
        features = scorer.model.features(corner, prompts, scorer.backbone, None)
        return float(scorer.model.score_features(features)["perception"])


def test_every_word_is_explained_from_one_encoding(windowed: Scorer) -> None:
    """The drops are differences of plain scores, and each word has a map of its own."""
    image = torch.rand(3, 128, 160, generator=torch.Generator().manual_seed(1))
    found = explain(windowed, image, "a red fox on the moon")
    assert [word.text for word in found.words] == ["red", "fox", "moon"]
    assert found.map_method == "windows"
    for word in found.words:
        left = without(found.prompt, split_words(found.prompt)[found.words.index(word)])
        expected = found.scores["alignment"] - windowed(image, left)["alignment"]
        assert word.drop == pytest.approx(expected, abs=2 * ROUNDING)
        assert word.attention.shape == (128, 160)
        assert word.attention.std() > 0
