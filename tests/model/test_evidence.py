"""Evidence of words: the cross-attention's own products, pooled over places, masked to words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from diffagiqa.backbones.unet import Backbone
from diffagiqa.backbones.unet_walk import unet_features
from diffagiqa.errors import ConfigError
from diffagiqa.model.config import ModelConfig, TaskConfig
from diffagiqa.model.evidence import (
    WORD_STATISTICS,
    evidence,
    queries_and_keys,
    unet_evidence,
    unet_token_maps,
    word_statistics,
)
from diffagiqa.model.scoring import build_model, scoring_noise

WORDS = ("up_blocks.1.attentions.1", "up_blocks.2.attentions.0")


def small_config(**changes: object) -> ModelConfig:
    values = {
        "backbone": "reference",
        "image_size": 128,
        "tasks": (TaskConfig("perception", use_text=False), TaskConfig("alignment")),
        "features": ("latents", "down_blocks.0.resnets.0"),
        "feature_channels": (4, 32),
        "pooling": "statistics",
        "prompting": "none",
        "words": WORDS,
        "words_size": 128,
        "pyramid_channels": 8,
        "fusion_channels": (8, 8, 8),
        "fusion_groups": 2,
        "head_channels": (8, 8),
    } | changes
    return ModelConfig(**values)  # type: ignore[arg-type]


def test_evidence_in_float64() -> None:
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(2, 6, 3, dtype=torch.float64, generator=generator)
    keys = torch.randn(2, 4, 3, dtype=torch.float64, generator=generator)
    maps = np.einsum("bpe,ble->bpl", queries.numpy(), keys.numpy())
    wanted = np.log(np.exp(2 * maps).mean(1)) / 2
    np.testing.assert_allclose(evidence(queries, keys).numpy(), wanted, rtol=1e-12)
    # It lies between the mean and the best place, and a map repeated over more places gives the same.
    assert (wanted >= maps.mean(1)).all()
    assert (wanted <= maps.max(1)).all()
    torch.testing.assert_close(evidence(queries.repeat(1, 3, 1), keys), evidence(queries, keys))
    # Keys for all pictures alike are compared with each picture's places.
    torch.testing.assert_close(evidence(queries, keys[0])[1], evidence(queries[1:], keys[:1])[0])


def test_products_are_those_that_the_attention_softmaxes(backbone: Backbone) -> None:
    """With our products, the layer's own values and output give the layer's own result (one head)."""
    import copy

    attention = copy.deepcopy(backbone.unet.up_blocks[1].attentions[1].transformer_blocks[0].attn2)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(1, 9, attention.to_q.in_features, generator=generator)
    text = backbone.encode_text(["a red fox"])
    attention.heads, attention.scale = 1, attention.to_q.out_features**-0.5
    with torch.no_grad():
        queries, keys = queries_and_keys(attention, hidden, text)
        weights = (queries @ keys.transpose(1, 2)).softmax(-1)
        own = attention.to_out[0](weights @ attention.to_v(text))
        torch.testing.assert_close(
            own, attention(hidden, encoder_hidden_states=text), atol=1e-5, rtol=1e-4
        )


def test_evidence_is_taken_where_the_unet_computes_it(backbone: Backbone) -> None:
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    text = backbone.encode_text(["a red fox"])
    seen: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    handles = [
        backbone.unet.get_submodule(name)
        .transformer_blocks[0]
        .attn2.register_forward_hook(
            lambda module, inputs, named, _output, name=name: seen.update(
                {name: queries_and_keys(module, inputs[0], named["encoder_hidden_states"])}
            ),
            with_kwargs=True,
        )
        for name in WORDS
    ]
    with torch.no_grad():
        unet_features(backbone.unet, latents, 1, text, WORDS)
        for handle in handles:
            handle.remove()
        found = unet_evidence(backbone.unet, latents, 1, text, WORDS)
        maps = unet_token_maps(backbone.unet, latents, 1, text, WORDS)
    for name, one, places in zip(WORDS, found, maps, strict=True):
        torch.testing.assert_close(one, evidence(*seen[name]), rtol=1e-4, atol=1e-5)
        queries, keys = seen[name]  # places row by row
        torch.testing.assert_close(
            places.flatten(2), keys @ queries.transpose(1, 2), rtol=1e-4, atol=1e-5
        )


def test_the_small_pass_is_given_clean_latents_of_the_shrunk_picture(backbone: Backbone) -> None:
    """Pillow shrinks as the model does: bilinear, over all pixels that a smaller one covers."""
    picture = np.random.default_rng(0).random((128, 128), dtype=np.float32)
    small = np.asarray(Image.fromarray(picture).resize((64, 64), Image.Resampling.BILINEAR))
    model = build_model(small_config(words_size=64))
    with torch.no_grad():
        found = model.small_latents(torch.tensor(picture).expand(1, 3, 128, 128), backbone)
        mean, _ = backbone.encode_image(torch.tensor(2 * small - 1).expand(1, 3, 64, 64))
    torch.testing.assert_close(found, 0.18215 * mean, rtol=1e-3, atol=1e-4)


def test_statistics_see_words_alone() -> None:
    one = torch.tensor([[9.0, 2.0, -1.0, 0.5, -7.0], [1.0, 1.0, 1.0, 1.0, 1.0]])
    mask = torch.tensor([[False, True, True, True, False], [False] * 5])
    found = word_statistics(one, mask)
    assert found.shape == (2, WORD_STATISTICS)
    values = torch.tensor([2.0, -1.0, 0.5])
    chances = values.sigmoid()
    wanted = [
        values.mean(), values.std(correction=0), values.min(), torch.tensor(0.5), chances.mean(),
        (1 - chances).sum(), values.sigmoid().log().mean(), torch.tensor(4.0).log(),
    ]  # fmt: skip
    torch.testing.assert_close(found[0], torch.stack(wanted), atol=1e-5, rtol=1e-5)
    assert found[1].eq(0).all()  # the empty prompt
    changed = one.clone()
    changed[0, [0, 4]] = 100.0
    assert torch.equal(word_statistics(changed, mask)[0], found[0])
    assert word_statistics(one[:1], mask[:1] & (one[:1] > 1))[0, 3] == 2  # a single word


def test_words_of_a_prompt(backbone: Backbone) -> None:
    prompts = backbone.encode_prompts(["a red fox, dusk", ""])
    ids = backbone.tokenizer("a red fox, dusk")["input_ids"]
    texts = backbone.tokenizer.convert_ids_to_tokens(ids)
    wanted = [any(c.isalnum() for c in text) for text in texts]
    wanted[0] = wanted[-1] = False  # start and end
    assert prompts.words[0, : len(ids)].tolist() == wanted
    assert not prompts.words[0, len(ids) :].any()
    assert not prompts.words[1].any()
    assert prompts.text.shape[:2] == prompts.words.shape


def test_a_prompt_moves_the_told_task_alone(backbone: Backbone) -> None:
    torch.manual_seed(0)
    model = build_model(small_config()).eval()
    noise = scoring_noise(model.config, backbone, 0)
    images = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    images.requires_grad_(True)
    one = model(images, backbone.encode_prompts(["a fox", "two red cats"]), backbone, noise)
    two = model(images, backbone.encode_prompts(["a car", "dusk"]), backbone, noise)
    assert torch.equal(one["perception"], two["perception"])
    assert not torch.equal(one["alignment"], two["alignment"])
    levels = model.word_features(images, backbone.encode_prompts(["a", "b"]), backbone)
    (gradient,) = torch.autograd.grad(sum(level.sum() for level in levels), images)
    assert gradient.abs().sum() > 0  # a reward reaches the picture through its words, too


def test_both_tasks_share_the_large_pass(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build_model(small_config()).eval()
    batches = []
    original = backbone.unet.conv_in.forward
    monkeypatch.setattr(
        backbone.unet.conv_in, "forward", lambda x: batches.append(len(x)) or original(x)
    )
    noise = scoring_noise(model.config, backbone, 0)
    with torch.no_grad():
        model(torch.rand(3, 3, 128, 128), backbone.encode_prompts(["a"] * 3), backbone, noise)
    assert batches == [3, 3]  # the small pass for words, and one large one for both tasks


def test_words_need_statistics() -> None:
    with pytest.raises(ConfigError, match='they go with pooling "statistics"'):
        small_config(pooling="plain")
    with pytest.raises(ConfigError, match="multiple of 64"):
        small_config(words_size=100)
