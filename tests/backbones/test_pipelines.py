"""Each class of pipeline, made and saved by diffusers: prompts and features against diffusers' own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from small_pipelines import PROMPTS, small_pipeline
from torch import Tensor

from diffagiqa.backbones.base import Backbone, Prompts
from diffagiqa.backbones.folder import load_backbone
from diffagiqa.backbones.noise import draw_noise
from diffagiqa.errors import BackboneError, ConfigError

KINDS = {
    "StableDiffusionXL": (
        "down_blocks.2.attentions.1",
        "mid_block.attentions.0.transformer_blocks.8",
        "up_blocks.0.attentions.0.transformer_blocks.5",
        "up_blocks.0.attentions.0.transformer_blocks.7",
        "up_blocks.1.attentions.0.transformer_blocks.0.attn2.to_q",
        "up_blocks.1.attentions.0.transformer_blocks.0.attn2",
    ),
    "StableDiffusion3": (
        "condition", "transformer_blocks.1", "transformer_blocks.1.text", "transformer_blocks.12",
    ),
    "ZImage": ("condition", "layers.0", "layers.0.text", "layers.2"),
}  # fmt: skip
SIZE = (96, 160)


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def folder(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_pipeline(kind, tmp_path_factory.mktemp("pipeline") / kind)


@pytest.fixture(scope="module")
def pipeline(kind: str, folder: Path) -> Any:
    return getattr(diffusers, f"{kind}Pipeline").from_pretrained(folder, local_files_only=True)


@pytest.fixture(scope="module")
def backbone(kind: str, folder: Path) -> Backbone:
    return load_backbone(str(folder), KINDS[kind])


def library_prompt(kind: str, pipeline: Any, prompt: str) -> tuple[Tensor, Tensor | None]:
    """(L, D) and (P,) as the pipeline's ``__call__`` would use them."""
    if kind == "ZImage":
        return pipeline.encode_prompt(prompt, do_classifier_free_guidance=False)[0][0], None
    texts = [prompt] * (3 if kind == "StableDiffusion3" else 2)
    text, _, pooled, _ = pipeline.encode_prompt(*texts, do_classifier_free_guidance=False)
    return text[0], pooled[0]


@torch.no_grad()
def test_prompts_are_encoded_as_by_the_pipeline(
    kind: str, pipeline: Any, backbone: Backbone
) -> None:
    for prompt, encoded in zip(PROMPTS, backbone.encode_prompts(PROMPTS), strict=True):
        text, pooled = library_prompt(kind, pipeline, prompt)
        torch.testing.assert_close(encoded.text[: len(text)], text, rtol=1e-5, atol=1e-5)
        assert not encoded.text[len(text) :].any()
        assert encoded.words.shape == encoded.text.shape[:1]
        assert bool(encoded.words.any()) == bool(prompt)
        if pooled is not None:
            torch.testing.assert_close(encoded.pooled, pooled, rtol=1e-5, atol=1e-5)


def library_features(
    kind: str, pipeline: Any, latents: Tensor, prompts: list[str], sigma: float
) -> dict[str, Tensor]:
    """What hooks catch in diffusers' own forward, one image after the other, as tokens (B, N, C)."""
    caught: dict[str, list[Tensor]] = {name: [] for name in KINDS[kind]}
    network = pipeline.unet if kind == "StableDiffusionXL" else pipeline.transformer

    def catch(name: str, choose: Any) -> Any:
        return lambda module, inputs, output: caught[name].append(choose(output))

    hooks = []
    count = latents.shape[-2] * latents.shape[-1] // 4
    for name in KINDS[kind]:
        choose: Any = lambda output: output  # noqa: E731
        module_name = name.removesuffix(".text")
        if kind == "StableDiffusionXL":
            if ".transformer_blocks." not in name:
                module_name += ".transformer_blocks.0.ff.net.0"
        elif name == "condition":
            module_name = "t_embedder" if kind == "ZImage" else "time_text_embed"
        elif kind == "StableDiffusion3":
            choose = (lambda o: o[0]) if name.endswith(".text") else (lambda o: o[1])
        elif name.endswith(".text"):
            choose = lambda o: o[:, -(-count // 32) * 32 :]  # noqa: E731
        else:
            choose = lambda o: o[:, :count]  # noqa: E731
        hooks.append(network.get_submodule(module_name).register_forward_hook(catch(name, choose)))
    for one, prompt in zip(latents, prompts, strict=True):
        text, pooled = library_prompt(kind, pipeline, prompt)
        if kind == "StableDiffusionXL":
            height, width = (8 * side for side in one.shape[-2:])
            sizes = torch.tensor([[height, width, 0, 0, height, width]])
            conditions = {"text_embeds": pooled[None], "time_ids": sizes}
            network(one[None], 51, text[None], added_cond_kwargs=conditions)
        elif kind == "StableDiffusion3":
            network(one[None], text[None], pooled[None], torch.tensor([1000 * sigma]))
        else:
            network([one[:, None]], torch.tensor([1 - sigma]), [text])
    for hook in hooks:
        hook.remove()
    return {name: caught[name] for name in caught}  # type: ignore[misc]


@torch.no_grad()
def test_features_equal_those_that_hooks_catch(kind: str, pipeline: Any, backbone: Any) -> None:
    check_features(kind, pipeline, backbone)


@torch.no_grad()
def test_stable_diffusion_3_has_no_second_attention_and_no_norms_of_queries(tmp_path: Path) -> None:
    kind = "StableDiffusion3"
    folder = small_pipeline(kind, tmp_path / "sd3", dual_attention_layers=(), qk_norm=None)
    pipeline = diffusers.StableDiffusion3Pipeline.from_pretrained(folder, local_files_only=True)
    check_features(kind, pipeline, load_backbone(str(folder), KINDS[kind]))


def check_features(kind: str, pipeline: Any, backbone: Any) -> None:
    names = KINDS[kind]
    generator = torch.Generator().manual_seed(3)
    latents = torch.randn(3, *backbone.latent_shape(*SIZE), generator=generator)
    encoded = backbone.encode_prompts(PROMPTS)
    longest = max(len(prompt.text) for prompt in encoded)
    if kind == "ZImage":  # prompts of unlike length may share a pass
        encoded = [
            Prompts(*(torch.cat([part, part.new_zeros(longest - len(part), *part.shape[1:])])
                      for part in (prompt.text, prompt.words)))
            for prompt in encoded
        ]  # fmt: skip
    prompts = Prompts.stack(encoded)
    sigma = 0.25
    if kind == "StableDiffusionXL":
        ones = torch.ones_like(latents)
        noise = draw_noise(0, 0, tuple(latents.shape[1:]), "mean")
        walked = backbone.features((latents, ones), prompts, noise, 51, names)
        latents = backbone.noisy_latents(latents, ones, noise, 51)
    else:
        walked = backbone.walked(latents, prompts, sigma, names)
    caught = library_features(kind, pipeline, latents, list(PROMPTS), sigma)
    assert list(walked) == list(names)
    assert backbone.feature_channels(names) == tuple(f.shape[1] for f in walked.values())
    for name in names:
        for ours, theirs in zip(walked[name], caught[name], strict=True):
            tokens = ours.flatten(1).T  # (N,C)
            theirs = theirs.reshape(-1, theirs.shape[-1])
            torch.testing.assert_close(tokens[: len(theirs)], theirs, rtol=1e-4, atol=1e-5)
            assert not tokens[len(theirs) :].any()


def test_noisy_latents_are_the_schedulers(kind: str, pipeline: Any, backbone: Any) -> None:
    shape = backbone.latent_shape(*SIZE)
    clean, eps = torch.randn(2, 1, *shape, generator=torch.Generator().manual_seed(4)).unbind()
    vae = pipeline.vae.config
    mean = clean / vae.scaling_factor + (vae.shift_factor or 0)
    noise = draw_noise(0, 0, shape, "mean")
    object.__setattr__(noise, "diffusion", eps)
    ours = backbone.noisy_latents(mean, torch.ones_like(mean), noise, 100)
    scheduler = pipeline.scheduler
    if kind == "StableDiffusionXL":
        theirs = scheduler.add_noise(clean, eps, torch.tensor([100]))
    else:
        time = scheduler.timesteps[(scheduler.timesteps - 100).abs().argmin()]
        theirs = scheduler.scale_noise(clean, time[None], eps)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_images_are_encoded_as_by_the_pipelines_vae(pipeline: Any, backbone: Any) -> None:
    images = torch.rand(2, 3, *SIZE, generator=torch.Generator().manual_seed(5)) * 2 - 1
    mean, std = backbone.encode_image(images)
    posterior = pipeline.vae.encode(images).latent_dist
    torch.testing.assert_close(mean, posterior.mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(std, posterior.std, rtol=1e-5, atol=1e-5)


def test_only_what_the_features_need_is_read(kind: str, folder: Path) -> None:
    first = KINDS[kind][1]
    cut: Any = load_backbone(str(folder), [first])
    network = cut.unet if kind == "StableDiffusionXL" else cut.transformer
    names = {name for name, _ in network.named_parameters()}
    later = {"StableDiffusionXL": ("up_blocks.", "mid_block.resnets.1", "conv_out"),
             "StableDiffusion3": ("transformer_blocks.2", "proj_out", "norm_out"),
             "ZImage": ("layers.1", "all_final_layer")}[kind]  # fmt: skip
    assert not [name for name in names if name.startswith(later)]
    assert not hasattr(cut, "decoder")
    encoders = cut.text_encoders
    assert not encoders.in_memory  # text encoders wait for a prompt
    cut.encode_prompts(["a fox"])
    assert encoders.in_memory
    encoders.free()
    assert not encoders.in_memory


def test_an_unknown_feature_is_named(kind: str, folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no feature transformer_blocks\.99"):
        load_backbone(str(folder), ["transformer_blocks.99"])


def test_stable_diffusion_3_goes_without_t5(tmp_path: Path) -> None:
    folder = small_pipeline("StableDiffusion3", tmp_path / "sd3")
    pipeline = diffusers.StableDiffusion3Pipeline.from_pretrained(
        folder, text_encoder_3=None, tokenizer_3=None, local_files_only=True
    )
    pipeline.save_pretrained(tmp_path / "without")
    backbone = load_backbone(str(tmp_path / "without"), ["transformer_blocks.1"])
    (prompt,) = backbone.encode_prompts(["a fox"])
    text, pooled = library_prompt("StableDiffusion3", pipeline, "a fox")
    torch.testing.assert_close(prompt.text, text, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(prompt.pooled, pooled, rtol=1e-5, atol=1e-6)


def test_long_prompts_are_cut_and_nothing_else(kind: str, backbone: Backbone) -> None:
    long = "fox " * 200
    if kind == "StableDiffusionXL":
        (prompt,) = backbone.encode_prompts([long], "chunk")
        assert len(prompt.text) > 77
        assert len(prompt.text) % 77 == 0
        return
    with pytest.raises(ConfigError, match="long_prompts"):
        backbone.encode_prompts([long], "chunk")
    (prompt,) = backbone.encode_prompts([long])
    assert len(prompt.text) <= {"StableDiffusion3": 333, "ZImage": 512}[kind]


def test_a_folder_that_lacks_a_part_says_which(folder: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(folder, tmp_path / "broken")
    shutil.rmtree(tmp_path / "broken" / "vae")
    with pytest.raises(BackboneError, match="has no folder vae/"):
        load_backbone(str(tmp_path / "broken"))


def test_weights_can_stay_on_the_cpu(kind: str, folder: Path, backbone: Any) -> None:
    pytest.importorskip("accelerate")
    moved: Any = load_backbone(str(folder), KINDS[kind], offload=True)
    network = moved.unet if kind == "StableDiffusionXL" else moved.transformer
    images = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(6))
    noise = draw_noise(0, 0, backbone.latent_shape(*SIZE))
    features = []
    with torch.no_grad():
        for one in (backbone, moved):
            prompts = Prompts.stack(one.encode_prompts(["a fox"]))
            features.append(
                one.features(one.encode_image(images), prompts, noise, 100, KINDS[kind])
            )
    assert any(p.is_meta for p in network.parameters())
    for name in KINDS[kind]:
        torch.testing.assert_close(features[1][name], features[0][name])


@torch.no_grad()
def test_word_maps_are_the_attention_that_diffusers_computes(
    kind: str, pipeline: Any, backbone: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "StableDiffusionXL":
        pytest.skip("of U-Nets, in test_unet.py")
    prompt, (rows, columns) = "a red fox", (6, 10)
    latents = torch.randn(
        1, *backbone.latent_shape(*SIZE), generator=torch.Generator().manual_seed(8)
    )
    (encoded,) = backbone.encode_prompts([prompt])
    names = backbone.word_features([KINDS[kind][-1]])
    walked = backbone.walked(latents, Prompts.stack([encoded]), 0.25, [*names, KINDS[kind][-1]])
    attend, calls = torch.nn.functional.scaled_dot_product_attention, []

    def watch(query: Tensor, key: Tensor, *rest: Any, **options: Any) -> Tensor:
        calls.append((query, key))
        return attend(query, key, *rest, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watch)
    library_features(kind, pipeline, latents, [prompt], 0.25)
    image, text = {"StableDiffusion3": (60, 333), "ZImage": (64, 32)}[kind]  # 60 filled up to 64
    joint = [(query, key) for query, key in calls if query.shape[2] == image + text]
    assert len(joint) >= len(names) > 1
    for name, (query, key) in zip(names, joint, strict=False):
        scores = query[:, :, : rows * columns] @ key[:, :, -text:].mT / query.shape[-1] ** 0.5
        weights = scores.softmax(-1).mean(1)[0].T.unflatten(1, (rows, columns))
        torch.testing.assert_close(walked[name][0, :text], weights, rtol=1e-4, atol=1e-6)


def test_words_are_found_among_the_tokens(kind: str, backbone: Any) -> None:
    prompt = "a red fox"
    fox, red, nothing = backbone.word_positions(prompt, [(6, 9), (2, 5), (0, 0)])
    (encoded,) = backbone.encode_prompts([prompt])
    assert fox
    assert red
    assert not nothing
    assert not set(fox) & set(red)
    assert encoded.words[fox].all()
    assert not backbone.word_positions("fox " * 600, [(2390, 2393)])[0]
