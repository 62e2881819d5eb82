"""The method on each class of pipeline: scores, gradients, batches, explanations, memory."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROUNDING
from PIL import Image
from small_pipelines import small_pipeline

from diffagiqa import Scorer
from diffagiqa.backbones import text_encoders
from diffagiqa.backbones.base import Prompts
from diffagiqa.backbones.folder import backbone_defaults, find_backbone, load_backbone
from diffagiqa.backbones.memory import weight_bytes
from diffagiqa.backbones.names import CONDITION, TEXT
from diffagiqa.backbones.noise import draw_noise
from diffagiqa.data.samples import Sample
from diffagiqa.device import WORKING
from diffagiqa.explain import explain
from diffagiqa.model.config import ModelConfig, TaskConfig
from diffagiqa.model.scoring import build_model
from diffagiqa.rows import score_chunks

FEATURES = {
    "StableDiffusionXL": (
        "up_blocks.0.attentions.0.transformer_blocks.7",
        "up_blocks.1.attentions.0.transformer_blocks.0.attn2",
    ),
    "StableDiffusion3": ("transformer_blocks.1", "transformer_blocks.3"),
    "ZImage": ("layers.0", "layers.2"),
}
CASES = [(kind, "pyramid") for kind in FEATURES]
CASES += [("StableDiffusion3", "queries"), ("ZImage", "queries")]
PROMPTS = ["a fox", "", "a city of glass at night"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pipelines")
    return {kind: small_pipeline(kind, root / kind) for kind in FEATURES}


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def scorer(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Scorer:
    kind, pooling = request.param
    return small_scorer(str(folders[kind]), FEATURES[kind], pooling)


def small_scorer(folder: str, features: tuple[str, ...], pooling: str) -> Scorer:
    settings: dict[str, Any] = {}
    if pooling == "queries":
        features = (*features, *(name + TEXT for name in features), CONDITION)
        settings = {"query_heads": 2, "query_width": 16}
    config = ModelConfig(
        tasks=(TaskConfig("perception", use_text=False), TaskConfig("alignment")),
        image_size=96, fit="native", timestep=100, pooling=pooling,
        features=features, feature_channels=(32,) * len(features), pyramid_size=4,
        pyramid_channels=8, attention_channels=2, fusion_channels=(16, 8, 8), head_channels=(8, 8),
        prompter_channels=2, **settings,
    )  # fmt: skip
    return Scorer.untrained(folder, config, device="cpu", dtype="float32")


def images(count: int = 3) -> list[np.ndarray]:
    """Of two shapes."""
    rng = np.random.default_rng(0)
    sizes = [(64, 128), (128, 64), (64, 128)]
    return [rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes[:count]]


def test_a_score_does_not_depend_on_the_batch(scorer: Scorer) -> None:
    """To 1e-5: sums of some 300 products round by sqrt(300) 2^-24, 30 layers by sqrt(30) times that."""
    together = scorer(images(), PROMPTS)
    for image, prompt, score in zip(images(), PROMPTS, together, strict=True):
        alone = scorer(image, prompt)
        for task in scorer.tasks:
            assert score[task] == pytest.approx(alone[task], abs=1e-5, nan_ok=not prompt)


def test_text_counts_where_it_should(scorer: Scorer) -> None:
    image = images()[0]
    with torch.no_grad():  # untrained heads hardly tell features apart
        batch = scorer.prepare(image)[None]
        features = []
        for prompt in ("a fox", "a city of glass " * 9):
            prompts = Prompts.stack(scorer.prompts([prompt]))
            features.append(scorer.runner.intermediates(batch, prompts)["features"][0])
    for name in scorer.config.features:
        if name.endswith((TEXT, CONDITION)):
            continue
        without, beside = (part[name].chunk(2) for part in features)
        # The pass without text is the same beside any prompt, the one with it is not.
        torch.testing.assert_close(without[0], beside[0], rtol=1e-4, atol=1e-5)
        assert (without[1] - beside[1]).abs().max() > 1e-3


def test_scores_survive_the_disk(scorer: Scorer, tmp_path: Path) -> None:
    scorer.save_pretrained(tmp_path)
    again = Scorer.from_pretrained(tmp_path, device="cpu", dtype="float32")
    for task, value in scorer(images()[0], "a fox").scores.items():
        assert again(images()[0], "a fox")[task] == pytest.approx(value, abs=ROUNDING)


def test_gradient_agrees_with_finite_differences(scorer: Scorer) -> None:
    backbone = load_backbone(scorer.backbone.name, scorer.config.features, dtype=torch.float64)
    backbone.checkpoint_activations = True
    torch.manual_seed(0)
    model = build_model(replace(scorer.config, backbone="")).double().eval()
    for prompter in model.prompters.values():
        for parameter in prompter.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    prompts = Prompts.stack(backbone.encode_prompts(["a fox"]))
    noise = draw_noise(0, 0, backbone.latent_shape(64, 64))
    image = torch.rand(1, 3, 64, 64, dtype=torch.float64)
    weight: Any = model.prompters["alignment"].conv1.weight

    def loss() -> torch.Tensor:
        return model(image, prompts, backbone, [noise]).scores["alignment"].sum()  # type: ignore[no-any-return]

    (gradient,) = torch.autograd.grad(loss(), weight)
    assert not any(p.grad is not None for p in backbone.parameters())
    direction = gradient / gradient.norm()
    with torch.no_grad():
        sides = []
        for step in (1e-3, -1e-3):
            weight += step * direction
            sides.append(float(loss()))
            weight -= step * direction
    # Z-Image turns positions in float32 whatever the type, so to that precision.
    slope = (sides[0] - sides[1]) / 2e-3
    assert slope == pytest.approx(float(gradient.norm()), rel=1e-2)
    assert slope > 0


def test_explains(scorer: Scorer) -> None:
    explanation = explain(scorer, images()[0], "a fox")
    assert explanation.quality_map.shape == (64, 128)
    assert explanation.quality_map.std() > 0
    (fox,) = [word for word in explanation.words if word.text == "fox"]
    assert fox.attention.shape == (64, 128)
    assert fox.attention.std() > 0


def test_a_very_long_image_ends_where_positions_do(folders: dict[str, Path]) -> None:
    scorer = small_scorer(str(folders["StableDiffusion3"]), FEATURES["StableDiffusion3"], "pyramid")
    long = np.zeros((4, 20_000, 3), np.uint8)
    assert scorer.prepare(long).shape == (3, 16, 256)  # 16 positions of 16 pixels
    assert set(scorer(long, "a line").scores) == {"perception", "alignment"}


@pytest.mark.parametrize("kind", FEATURES)
def test_memory_is_what_the_loaded_weights_take(kind: str, folders: dict[str, Path]) -> None:
    features = FEATURES[kind]
    sums = weight_bytes(find_backbone(str(folders[kind])), torch.bfloat16, features)
    backbone: Any = load_backbone(str(folders[kind]), features, dtype=torch.bfloat16)
    loaded = sum(tensor.nbytes for tensor in backbone.state_dict().values())
    assert sums["denoiser"] + sums["image encoder"] == loaded
    for number, (_, network) in enumerate(backbone.text_encoders.loaded(torch.device("cpu")), 1):
        own = {p.data_ptr(): p.nbytes for p in network.parameters()}  # tied ones once
        assert sums[f"text encoder {number}"] == sum(own.values())


@pytest.mark.parametrize("kind", FEATURES)
def test_defaults_are_features_of_the_class(kind: str, folders: dict[str, Path]) -> None:
    from diffagiqa.backbones.folder import PIPELINES

    (pipeline,) = [p for p in PIPELINES.values() if p.backbone.__name__ == kind]
    own = pipeline.backbone.defaults
    assert own.image_size == 1024
    assert backbone_defaults(str(folders[kind])) == own
    assert all(
        name.startswith(("up_blocks", "transformer_blocks", "layers")) for name in own.features
    )


def test_the_reference_backbone_is_known_by_its_network(folders: dict[str, Path]) -> None:
    from diffagiqa.backbones.folder import kind_of

    kinds = [kind_of(folder) for folder in folders.values()]
    assert kinds == [
        "UNet2DConditionModel with two text encoders", "SD3Transformer2DModel",
        "ZImageTransformer2DModel",
    ]  # fmt: skip


def rows_of(scorer: Scorer, prompts: list[str]) -> list[dict[str, Any]]:
    samples = [
        Sample(f"{i}.png", prompt, "table", i, data=png(image))
        for i, (image, prompt) in enumerate(zip(images(3) * 2, prompts, strict=True))
    ]
    chunks = [samples[:4], samples[4:]]
    return [row for rows in score_chunks(scorer, chunks, chunk_rows=4) for row in rows]


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("kind", FEATURES)
def test_where_memory_is_short_prompts_come_first(
    kind: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = ["a fox", "a cat", "", "a fox", "a dog", "a fox"]
    plain = small_scorer(str(folders[kind]), FEATURES[kind], "pyramid")
    wanted = [row["alignment"] for row in rows_of(plain, prompts)]
    free = weight_bytes(folders[kind], torch.float32)
    texts = sum(size for part, size in free.items() if part.startswith("text"))
    held: list[bool] = []
    for there, short in ((WORKING + texts - 1, True), (WORKING + texts, False)):
        monkeypatch.setattr(text_encoders, "free_memory", lambda device, there=there: there)
        scorer = small_scorer(str(folders[kind]), FEATURES[kind], "pyramid")
        encoders = scorer.backbone.text_encoders
        assert encoders is not None
        encode_image = scorer.backbone.encode_image
        monkeypatch.setattr(
            scorer.backbone, "encode_image",
            lambda images, then=encode_image, text=encoders: (
                held.append(text.in_memory) or then(images)
            ),
        )  # fmt: skip
        assert scorer.prompts.first is short
        assert [row["alignment"] for row in rows_of(scorer, prompts)] == wanted
    assert held == [False] * 4 + [True] * 4  # two chunks of images of two shapes, twice


def test_memory_that_runs_out_frees_text_encoders_and_then_halves_batches(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = small_scorer(str(folders["StableDiffusion3"]), FEATURES["StableDiffusion3"], "pyramid")
    encoders = scorer.backbone.text_encoders
    assert encoders is not None
    encode_image, sizes = scorer.backbone.encode_image, []

    def encode(images: torch.Tensor) -> Any:
        sizes.append(len(images))
        if encoders.in_memory or len(images) > 2:
            raise torch.cuda.OutOfMemoryError("no room")
        return encode_image(images)

    monkeypatch.setattr(scorer.backbone, "encode_image", encode)
    assert len(scorer(images()[::2], "a cat and a fox")) == 2
    assert sizes == [4, 4, 2, 2]  # two prompters; tried again whole before it is halved
    assert encoders.apart(scorer.device)


@pytest.mark.parametrize("kind", FEATURES)
def test_text_encoders_too_large_for_the_device_are_sent_layer_by_layer(
    kind: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("accelerate")
    scorer = small_scorer(str(folders[kind]), FEATURES[kind], "pyramid")
    (wanted,) = scorer.backbone.encode_prompts(["a red fox"])
    other = small_scorer(str(folders[kind]), FEATURES[kind], "pyramid")
    encoders = other.backbone.text_encoders
    assert encoders is not None
    loaded = encoders.loaded

    def full(device: torch.device) -> Any:
        if not encoders.offload:
            raise torch.cuda.OutOfMemoryError("no room")
        return loaded(device)

    monkeypatch.setattr(encoders, "loaded", full)
    (prompt,) = other.prompts(["a red fox"])
    torch.testing.assert_close(prompt.text, wanted.text)
    assert all(p.is_meta for _, network in loaded(other.device) for p in network.parameters())
