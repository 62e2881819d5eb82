"""DiNa-LRM's public layout: agreement with its own code, and what a mangled checkpoint is told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROUNDING
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from diffagiqa import Scorer
from diffagiqa.backbones.base import Prompts
from diffagiqa.backbones.noise import Noise
from diffagiqa.cli.main import app
from diffagiqa.errors import ConfigError, DiffAGIQAError
from diffagiqa.jobs.model_spec import ModelSpec

DINA = Path(__file__).parent / "reference_dina"
BACKBONE = str(DINA / "backbone")
LAYERS = (4, 8, 12)


@pytest.fixture(scope="module")
def vectors() -> Mapping[str, np.ndarray]:
    with np.load(DINA / "expected.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer.from_pretrained(
        DINA / "checkpoint_folder", backbone=BACKBONE, device="cpu", dtype="float32"
    )


def close(ours: torch.Tensor, theirs: np.ndarray) -> None:
    """Within 1e-4 of the largest."""
    wanted = torch.from_numpy(theirs)
    torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-4 * float(wanted.abs().max()))


@pytest.mark.parametrize("number", [0, 1])
@torch.no_grad()
def test_agrees_with_its_own_code_at_every_step(
    scorer: Scorer, vectors: Mapping[str, np.ndarray], number: int
) -> None:
    backbone: Any = scorer.backbone
    image = scorer.prepare(DINA / f"image{number}.png")[None]
    prompts = Prompts.stack(scorer.prompts([str(vectors["prompts"][number])]))
    close(prompts.text[:, ::8], vectors[f"prompt_embeds_{number}"])
    mean, std = backbone.encode_image(2 * image - 1)
    close(mean, vectors[f"posterior_mean_{number}"])
    assert prompts.pooled is not None
    close(prompts.pooled, vectors[f"pooled_{number}"])
    for level in (0.1, 0.4):
        name = f"{number}_u{level}"
        timestep = round(1000 * level)
        assert backbone.sigma(timestep) == pytest.approx(vectors[f"sigma_{name}"], rel=1e-6)
        noise = Noise(None, torch.from_numpy(vectors[f"noise_{name}"]), timestep)
        features = scorer.model.features((mean, std), prompts, backbone, noise)
        for layer in LAYERS:
            block = f"transformer_blocks.{layer - 1}"
            tokens = {end: features[block + end].flatten(2).mT for end in ("", ".text")}
            close(tokens[""][:, ::8], vectors[f"visual{layer}_{name}"])
            close(tokens[".text"][:, ::16], vectors[f"text{layer}_{name}"])
        score = scorer.model(image, prompts, backbone, [noise]).scores["preference"]
        close(20 * score[:, None] - 10, vectors[f"score_{name}"])


def test_mos_is_the_score_that_it_prints(scorer: Scorer) -> None:
    (score,) = scorer([DINA / "image0.png"], "a city of glass")
    raw = 20 * score["preference"] - 10
    assert score.mos["preference"] == pytest.approx((raw + 10) / 10)
    assert scorer.tasks == ("preference",)


def test_any_size_is_scored_and_the_batch_does_not_matter(scorer: Scorer) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, size, np.uint8) for size in [(70, 90, 3), (64, 96, 3)] * 2]
    assert [scorer.prepare(image).shape[1:] for image in images[:2]] == [(64, 96), (64, 96)]
    together = scorer(images, ["a fox", "a blue car", "a", "a fox"])
    for image, prompt, score in zip(
        images, ["a fox", "a blue car", "a", "a fox"], together, strict=True
    ):
        alone = scorer(image, prompt)["preference"]
        assert score["preference"] == pytest.approx(alone, abs=ROUNDING)
    assert scorer(images[0], "a fox")["preference"] != scorer(images[0], "a")["preference"]


def test_several_draws_and_timesteps_are_averaged(scorer: Scorer) -> None:
    def load(**options: Any) -> Scorer:
        return Scorer.from_pretrained(
            DINA / "checkpoint_folder", backbone=BACKBONE, device="cpu", dtype="float32", **options
        )

    image = DINA / "image1.png"
    early, late = (load(timesteps=[t])(image, "a fox")["preference"] for t in (100, 400))
    both = load(timesteps=[100, 400])
    assert both(image, "a fox")["preference"] == pytest.approx((early + late) / 2, abs=1e-6)
    assert early == scorer(image, "a fox")["preference"]
    draws = load(noise_draws=2)
    assert len(draws.runner.noises(64, 64)) == 2
    assert len({both.fingerprint, draws.fingerprint, scorer.fingerprint}) == 3
    assert load(seed=1)(image, "a fox")["preference"] != early
    spec = ModelSpec(str(DINA / "checkpoint_folder"), BACKBONE, timesteps=(100, 400))
    assert spec.describe().fingerprint == both.fingerprint  # a driver names it without loading it


def test_the_command_scores_with_it(scorer: Scorer, tmp_path: Path) -> None:
    arguments = ["score", str(DINA / "image0.png"), "--prompt", "a fox", "--json", "--quiet",
                 "--model", str(DINA / "checkpoint_folder"), "--backbone", BACKBONE]  # fmt: skip
    options = ["--device", "cpu", "--dtype", "float32", "--prompt-cache", str(tmp_path)]
    result = CliRunner().invoke(app, [*arguments, *options])
    assert result.exit_code == 0, result.output
    row = json.loads(result.stdout.splitlines()[0])
    wanted = scorer(DINA / "image0.png", "a fox")
    assert row["preference"] == pytest.approx(wanted["preference"], abs=1e-6)
    assert row["preference_mos"] == pytest.approx(wanted.mos["preference"], abs=1e-6)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1
    wrong = CliRunner().invoke(app, [*arguments, "--timesteps", "early"])
    assert isinstance(wrong.exception, ConfigError)
    assert "write whole numbers" in str(wrong.exception)


def test_converted_it_is_a_model_folder_with_the_same_scores(
    scorer: Scorer, tmp_path: Path
) -> None:
    arguments = ["convert", str(DINA / "checkpoint_folder"), str(tmp_path / "ours")]
    result = CliRunner().invoke(app, [*arguments, "--backbone", BACKBONE])
    assert result.exit_code == 0, result.output
    files = {file.relative_to(tmp_path / "ours").as_posix() for file in (tmp_path).rglob("*.*")}
    assert files == {"config.json", "model.safetensors", "adapter/adapter_config.json",
                     "adapter/adapter_model.safetensors"}  # fmt: skip
    image = DINA / "image0.png"
    wanted = scorer(image, "a fox")["preference"]
    ours = Scorer.from_pretrained(tmp_path / "ours", device="cpu", dtype="float32")
    assert ours(image, "a fox")["preference"] == wanted
    ours.save_pretrained(tmp_path / "again")
    again = Scorer.from_pretrained(tmp_path / "again", device="cpu", dtype="float32")
    assert again(image, "a fox")["preference"] == wanted


def test_the_adapter_is_part_of_the_score(tmp_path: Path) -> None:
    folder = shutil.copytree(DINA / "checkpoint_folder", tmp_path / "model")
    file = folder / "checkpoint" / "backbone_lora" / "adapter_model.safetensors"
    save_file({n: torch.zeros_like(t) for n, t in load_file(file).items()}, file)
    changed = Scorer.from_pretrained(folder, backbone=BACKBONE, device="cpu", dtype="float32")
    whole = Scorer.from_pretrained(
        DINA / "checkpoint_folder", backbone=BACKBONE, device="cpu", dtype="float32"
    )
    image = DINA / "image0.png"
    assert changed(image, "a")["preference"] != whole(image, "a")["preference"]


def test_prompts_are_kept_on_disk(tmp_path: Path, scorer: Scorer) -> None:
    def load() -> Scorer:
        return Scorer.from_pretrained(
            DINA / "checkpoint_folder", backbone=BACKBONE, device="cpu", dtype="float32",
            prompt_cache=tmp_path / "prompts",
        )  # fmt: skip

    first = load()
    first.prompts.ahead(["a fox", "a cat", "a fox"])
    assert len(list((tmp_path / "prompts").rglob("*.safetensors"))) == 2
    assert not first.backbone.text_encoders.in_memory
    image = DINA / "image0.png"
    second = load()
    scores = [second(image, prompt)["preference"] for prompt in ("a fox", "a cat")]
    assert not second.backbone.text_encoders.in_memory  # never read
    assert scores == [scorer(image, prompt)["preference"] for prompt in ("a fox", "a cat")]
    for file in (tmp_path / "prompts").rglob("*.safetensors"):
        file.write_bytes(b"damaged")
    assert load()(image, "a fox")["preference"] == scores[0]


def mangle_json(path: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        file = folder / path
        values = json.loads(file.read_text())
        change(values)
        file.write_text(json.dumps(values))

    return apply


def mangle_head(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        file = folder / "checkpoint" / "rm_head.pt"
        state = torch.load(file, weights_only=True)
        change(state)
        torch.save(state, file)

    return apply


def mangle_adapter(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        file = folder / ADAPTER / "adapter_model.safetensors"
        state = load_file(file)
        change(state)
        save_file(state, file)

    return apply


ADAPTER = "checkpoint/backbone_lora"
LORA = "base_model.model.transformer_blocks.0.attn.to_q"
FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no JSON": (lambda f: (f / "config.json").write_text("{"), "no configuration of DiNa-LRM"),
    "no layers": (
        mangle_json("config.json", lambda c: c["model"].pop("visual_head_idx")),
        "expected model.backbone_model_id, visual_head_idx",
    ),
    "layers of text": (
        mangle_json("config.json", lambda c: c["model"].update(visual_head_idx=["four"])),
        r"names layers .* expected whole numbers",
    ),
    "a logistic": (
        mangle_json("config.json", lambda c: c["model"].update(use_logistic=True)),
        "use_logistic True; only False",
    ),
    "no LoRA in it": (
        mangle_json("config.json", lambda c: c["model"].update(use_lora=False)),
        "use_lora False; only True",
    ),
    "heads that divide nothing": (
        mangle_json("config.json", lambda c: c["model"]["reward_head"].update(num_attn_heads=7)),
        "7 heads; expected a multiple",
    ),
    "a deeper layer than there is": (
        mangle_json("config.json", lambda c: c["model"].update(visual_head_idx=[4, 8, 99])),
        "has no feature transformer_blocks.98",
    ),
    "the head is code": (
        lambda f: (f / "checkpoint" / "rm_head.pt").write_bytes(b"cos\nsystem\n(S'true'\ntR."),
        "never unpickled",
    ),
    "a tensor is missing": (mangle_head(lambda s: s.pop("head.weight")), "missing .*score.weight"),
    "a tensor too many": (
        mangle_head(lambda s: s.update(surprise=torch.zeros(1))), "unexpected .*surprise",
    ),
    "a tensor of another shape": (
        mangle_head(lambda s: s.update({"head.weight": torch.zeros(1, 7)})), r"has shape \(1, 7\)",
    ),
    "the queries are missing": (mangle_head(lambda s: s.pop("query_tokens")), "lacks 'queries'"),
    "no adapter": (lambda f: shutil.rmtree(f / ADAPTER), "adapter_config.json cannot be read"),
    "another kind of adapter": (
        mangle_json(f"{ADAPTER}/adapter_config.json", lambda c: c.update(peft_type="IA3")),
        "describes no LoRA",
    ),
    "an adapter with DoRA": (
        mangle_json(f"{ADAPTER}/adapter_config.json", lambda c: c.update(use_dora=True)),
        "uses use_dora, which is not understood",
    ),
    "rank zero": (
        mangle_json(f"{ADAPTER}/adapter_config.json", lambda c: c.update(r=0)),
        "has r 0 and lora_alpha 8",
    ),
    "half an adapter": (
        mangle_adapter(lambda s: s.pop(f"{LORA}.lora_A.weight")), "one half of transformer_blocks.0",
    ),
    "an adapter of another width": (
        mangle_adapter(lambda s: s.update({f"{LORA}.lora_A.weight": torch.zeros(4, 33)})),
        "adapts transformer_blocks.0.attn.to_q by",
    ),
    "an adapter of another network": (
        mangle_adapter(
            lambda s: s.update(
                {f"base_model.model.x.lora_{half}.weight": torch.zeros(2, 2) for half in "AB"}
            )
        ),
        "adapts x, which the backbone lacks",
    ),
    "an adapter with other tensors": (
        mangle_adapter(lambda s: s.update(bias=torch.zeros(1))), "holds bias; expected LoRA",
    ),
    "an adapter cut off": (
        lambda f: (f / ADAPTER / "adapter_model.safetensors").write_bytes(b"\x08\0\0\0"),
        "cannot be read",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_mangled_checkpoint_gets_one_sentence(fault: str, tmp_path: Path) -> None:
    folder = shutil.copytree(DINA / "checkpoint_folder", tmp_path / "model")
    mangle, message = FAULTS[fault]
    mangle(folder)
    with pytest.raises(DiffAGIQAError, match=message) as caught:
        Scorer.from_pretrained(folder, backbone=BACKBONE, device="cpu", dtype="float32")
    assert "\n" not in str(caught.value)
