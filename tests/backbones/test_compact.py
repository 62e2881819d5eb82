"""The default's backbone: rules for sizes, words and batches, gradients, and the originals' numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from diffagiqa.backbones.base import Prompts
from diffagiqa.backbones.compact import (
    EACH_WORD,
    FUNCTION_WORDS,
    CompactBackbone,
    deviation_within,
    load_compact,
    whole_size,
    word_spans,
)
from diffagiqa.backbones.prompt_fit import word_statistics
from diffagiqa.backbones.tensors import read_tensors
from diffagiqa.errors import BackboneError, ConfigError

FOLDER = Path(__file__).parents[2] / "src/diffagiqa/weights/compact"
PROMPT = "a red fox in the snow, oil painting"


@pytest.fixture(scope="module")
def backbone() -> CompactBackbone:
    return load_compact(FOLDER)


def images(count: int, height: int = 64, width: int = 96) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, 3, height, width, generator=generator) * 2 - 1


def features_of(backbone, batch, prompts, names=None):
    stacked = Prompts.stack(prompts)
    names = names or backbone.feature_names()
    return backbone.features(backbone.encode_image(batch), stacked, None, 0, names)


def test_features_have_the_promised_channels_and_order(backbone):
    prompts = backbone.encode_prompts([PROMPT])
    names = list(reversed(backbone.feature_names()))
    found = features_of(backbone, images(1), prompts, names)
    assert list(found) == names
    assert tuple(maps.shape[1] for maps in found.values()) == backbone.feature_channels(names)
    assert all(maps.isfinite().all() for maps in found.values())


@pytest.mark.parametrize("size", [(32, 32), (32, 1024), (512, 64)])
def test_any_shape_of_image(backbone, size):
    prompts = backbone.encode_prompts([PROMPT])
    names = ["whole.head", "detail.head", "detail.5.std", "fit.detail"]
    found = features_of(backbone, images(1, *size), prompts, names)
    assert found["detail.head"].shape[2:] == (size[0] // 32, size[1] // 32)
    small = whole_size(*size)
    assert found["whole.head"].shape[2:] == (small[0] // 32, small[1] // 32)
    assert found["detail.5.std"].shape == (1, 112, 4, 4)


def test_an_image_does_not_feel_its_neighbours(backbone):
    prompts = backbone.encode_prompts([PROMPT, "two cups", ""])
    with torch.inference_mode():
        together = features_of(backbone, images(3), prompts)
        for i in range(3):
            alone = features_of(backbone, images(3)[i : i + 1], prompts[i : i + 1])
            for name, maps in alone.items():
                torch.testing.assert_close(together[name][i : i + 1], maps, rtol=1e-5, atol=1e-5)


def test_the_empty_prompt_fits_nothing(backbone):
    names = ["fit.prompt", "fit.words", "fit.whole", "fit.detail"]
    for empty in (backbone.no_text(16), *backbone.encode_prompts(["", "!?"])):
        found = features_of(backbone, images(1), [empty], names)
        assert all((maps == 0).all() for maps in found.values())


def test_gradients_reach_the_image():
    backbone = load_compact(FOLDER, dtype=torch.float64)
    prompts = backbone.encode_prompts([PROMPT])
    names = ["whole.7", "detail.5", "detail.3.std", "fit.prompt", "fit.words", "fit.detail"]
    generator = torch.Generator().manual_seed(1)
    image = images(1, 64, 64).double().requires_grad_()
    weights: dict[str, torch.Tensor] = {}

    def value(pixels: torch.Tensor) -> torch.Tensor:
        maps = features_of(backbone, pixels, prompts, names)
        for name, m in maps.items():
            weights.setdefault(name, torch.randn(m.shape, generator=generator, dtype=m.dtype))
        return sum((maps[name] * weights[name]).sum() for name in names)

    (gradient,) = torch.autograd.grad(value(image), image)
    direction = torch.randn(image.shape, generator=generator, dtype=torch.float64)
    step = 1e-8  # ReLU6 has corners: small enough that hardly any unit crosses one
    with torch.no_grad():
        rise = (value(image + step * direction) - value(image - step * direction)) / (2 * step)
    expected = (gradient * direction).sum()
    # Along a random direction the slope is about as large as the gradient is long.
    assert abs(rise - expected) <= 1e-3 * gradient.norm()


def test_weights_are_frozen(backbone):
    backbone.train()
    assert not backbone.training
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


def test_sentences_agree_with_the_original(backbone):
    # sentence-transformers/all-MiniLM-L6-v2 in float32: first numbers of the unit vector.
    expected = [-0.0538, -0.0108, 0.0279, 0.0471, 0.0380, 0.0498, 0.0214, 0.0169]
    (found,) = backbone.encode_prompts([PROMPT])
    np.testing.assert_allclose(found.pooled[: len(expected)].numpy(), expected, atol=1e-3)


def test_the_text_encoder_is_the_bert_that_transformers_computes():
    from transformers import BertConfig, BertModel

    config = BertConfig(
        num_hidden_layers=6, hidden_size=384, num_attention_heads=12, intermediate_size=1536
    )
    bert = BertModel(config, add_pooling_layer=False).double().eval()
    weights = dict(read_tensors(FOLDER / "text" / "model.safetensors", torch.float64))
    bert.load_state_dict(weights, strict=False)  # position_ids, in some versions
    ours = load_compact(FOLDER, dtype=torch.float64).text_encoder
    ids = torch.randint(0, 30522, (2, 17), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours(ids), bert(ids).last_hidden_state, rtol=1e-9, atol=1e-9)


def test_words_are_encoded_alone_and_grammar_is_marked(backbone):
    (prompt,) = backbone.encode_prompts([PROMPT])
    spans = word_spans(PROMPT)
    words = [PROMPT[start:end] for start, end in spans]
    assert words == ["a", "red", "fox", "in", "the", "snow", "oil", "painting"]
    assert prompt.words.tolist()[:8] == [word not in FUNCTION_WORDS for word in words]
    assert not prompt.words[8:].any()
    (alone,) = backbone.encode_prompts(["fox"])
    torch.testing.assert_close(prompt.text[2], alone.pooled)
    each = features_of(backbone, images(1), [prompt], [EACH_WORD])[EACH_WORD]
    assert each.shape == (1, 16, 2, 3)
    assert (each[:, 8:] == 0).all()


def test_long_prompts_are_cut_or_taken_in_pieces(backbone):
    start = "a red fox in snow " * 60
    short, long = (start + end for end in ("", "beside a blue car"))
    cut = backbone.encode_prompts([short, long])
    torch.testing.assert_close(cut[0].pooled, cut[1].pooled)
    pieces = backbone.encode_prompts([short, long], "chunk")
    assert (pieces[0].pooled - pieces[1].pooled).norm() > 0.01


def test_statistics_of_words():
    generator = torch.Generator().manual_seed(2)
    cosines = torch.rand(2, 2, 5, generator=generator, dtype=torch.float64) * 2 - 1
    words = torch.tensor([[True, False, True, True, False], [False] * 5])
    found = word_statistics(cosines, words)
    chosen = cosines[0][:, words[0]].numpy()
    expected = np.concatenate([chosen.mean(1), chosen.min(1), chosen.max(1), chosen.std(1)])
    np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-6)
    assert (found[1] == 0).all()


def test_deviation_within_cells():
    maps = torch.randn(1, 2, 8, 12, generator=torch.Generator().manual_seed(3)).double()
    found = deviation_within(maps)
    cells = (
        maps.numpy().reshape(1, 2, 4, 2, 4, 3).transpose(0, 1, 2, 4, 3, 5).reshape(1, 2, 4, 4, 6)
    )
    np.testing.assert_allclose(found.numpy(), np.sqrt(cells.var(-1) + 1e-4))


def test_what_is_missing_is_said(tmp_path, backbone):
    with pytest.raises(BackboneError, match="cannot be loaded"):
        load_compact(tmp_path)
    with pytest.raises(ConfigError, match=r"detail\.9"):
        backbone.feature_channels(["detail.9"])
