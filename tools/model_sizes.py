"""Memory of published backbones by their configurations; random weights of their sizes for trials.

python tools/model_sizes.py                       # the table in docs/which-model.md
python tools/model_sizes.py sdxl /tmp/sdxl        # a folder of random weights
    python tools/model_sizes.py sd35-medium /tmp/sd35 --without text_encoder_3
python tools/model_sizes.py sdxl /tmp/sdxl --score # seconds and memory of one image, once written
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from diffagiqa.backbones.folder import PIPELINES, kind_of
from diffagiqa.backbones.memory import weight_bytes
from diffagiqa.bench.sizes import fill, write_tokenizer

CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
          "num_attention_heads": 12, "projection_dim": 768, "hidden_act": "quick_gelu"}  # fmt: skip
CLIP_H = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23,
          "num_attention_heads": 16, "projection_dim": 512, "hidden_act": "gelu"}  # fmt: skip
CLIP_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32,
          "num_attention_heads": 20, "projection_dim": 1280, "hidden_act": "gelu"}  # fmt: skip
T5_XXL = {"d_model": 4096, "d_ff": 10240, "d_kv": 64, "num_layers": 24, "num_heads": 64,
          "vocab_size": 32128, "feed_forward_proj": "gated-gelu"}  # fmt: skip
QWEN3_4B = {"hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36, "head_dim": 128,
            "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 151936}  # fmt: skip
SDXL = {"sample_size": 128, "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 10), "attention_head_dim": (5, 10, 20),
        "cross_attention_dim": 2048, "use_linear_projection": True,
        "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816}  # fmt: skip
SD35 = {"sample_size": 128, "attention_head_dim": 64, "joint_attention_dim": 4096,
        "pooled_projection_dim": 2048, "qk_norm": "rms_norm"}  # fmt: skip
SD35_MEDIUM = SD35 | {"num_layers": 24, "num_attention_heads": 24, "caption_projection_dim": 1536,
                      "pos_embed_max_size": 384, "dual_attention_layers": tuple(range(13))}  # fmt: skip
SD35_LARGE = SD35 | {"num_layers": 38, "num_attention_heads": 38, "caption_projection_dim": 2432,
                     "pos_embed_max_size": 192}  # fmt: skip

Texts = tuple[tuple[str, dict[str, Any]], ...]
Size = tuple[str, str, dict[str, Any], int, Texts]
"""Folder and class of the denoiser, its configuration, latent channels, text encoders."""
SD3_TEXTS: Texts = (
    ("CLIPTextModelWithProjection", CLIP_L),
    ("CLIPTextModelWithProjection", CLIP_G),
    ("T5EncoderModel", T5_XXL),
)
SIZES: dict[str, Size] = {
    "sd15": ("unet", "UNet2DConditionModel",
             {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}, 4,
             (("CLIPTextModel", CLIP_L),)),
    "sd21": ("unet", "UNet2DConditionModel",
             {"sample_size": 96, "cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20),
              "use_linear_projection": True}, 4, (("CLIPTextModel", CLIP_H),)),
    "sdxl": ("unet", "UNet2DConditionModel", SDXL, 4,
             (("CLIPTextModel", CLIP_L), ("CLIPTextModelWithProjection", CLIP_G))),
    "sd35-medium": ("transformer", "SD3Transformer2DModel", SD35_MEDIUM, 16, SD3_TEXTS),
    "sd35-large": ("transformer", "SD3Transformer2DModel", SD35_LARGE, 16, SD3_TEXTS),
    "z-image": ("transformer", "ZImageTransformer2DModel", {}, 16, (("Qwen3Model", QWEN3_4B),)),
}  # fmt: skip


def networks(name: str) -> dict[str, Callable[[], Any]]:
    """By folder, what builds each network."""
    import diffusers
    import transformers

    place, network, config, channels, texts = SIZES[name]
    vae = {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2,
           "down_block_types": ("DownEncoderBlock2D",) * 4,
           "up_block_types": ("UpDecoderBlock2D",) * 4, "latent_channels": channels}  # fmt: skip
    if channels == 16:
        vae |= {"use_quant_conv": False, "use_post_quant_conv": False, "shift_factor": 0.0609}
    built: dict[str, Callable[[], Any]] = {
        place: lambda: getattr(diffusers, network)(**config),
        "vae": lambda: diffusers.AutoencoderKL(**vae),  # type: ignore[attr-defined]
    }
    for number, (kind, settings) in enumerate(texts, 1):
        encoder = getattr(transformers, kind)
        folder = "text_encoder" + (f"_{number}" if number > 1 else "")
        built[folder] = partial(_text_encoder, encoder, settings)
    return built


def _text_encoder(network: Any, settings: dict[str, Any]) -> Any:
    return network(network.config_class(**settings))


def write(name: str, folder: Path, *, weights: bool, without: tuple[str, ...] = ()) -> None:
    """A folder in diffusers format; ``weights`` are random, in float16, one network after the other."""
    generator = torch.Generator().manual_seed(0)
    for part, build in networks(name).items():
        if part in without:
            continue
        with torch.device("meta"):
            network = build()
        if weights:
            fill(network, generator)
            network.save_pretrained(folder / part)
        elif hasattr(network, "save_config"):
            network.save_config(folder / part)
        else:
            network.config.save_pretrained(folder / part)
        if part.startswith("text_encoder"):
            write_tokenizer(folder / part.replace("text_encoder", "tokenizer"))
    flow = SIZES[name][0] == "transformer"
    scheduler = {"shift": 3.0} if flow else {"beta_start": 0.00085, "beta_end": 0.012,
                                             "beta_schedule": "scaled_linear"}  # fmt: skip
    (folder / "scheduler").mkdir(exist_ok=True)
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))


def table() -> None:
    """Print memory in GB by part and precision, up to the last default feature."""
    print(
        "| backbone | image encoder | network, up to the last default feature | text encoders | float32 |"
    )
    for name in SIZES:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            write(name, folder, weights=False)
            backbone = PIPELINES[kind_of(folder)].backbone
            sums = weight_bytes(folder, torch.bfloat16)
        texts = sum(size for part, size in sums.items() if part.startswith("text"))
        kept = sums["image encoder"] + sums["denoiser"]
        cells = [sums["image encoder"], sums["denoiser"], texts, 2 * kept]
        print(
            "| "
            + " | ".join([f"{name} ({backbone.__name__})", *(f"{c / 1e9:.2f}" for c in cells)])
            + " |"
        )


def score(folder: Path) -> None:
    """Load in bfloat16 and score one image of the default size, printing seconds and peak memory."""
    from diffagiqa import Scorer
    from diffagiqa.backbones.base import Prompts

    began = time.perf_counter()

    def say(what: str) -> None:
        nonlocal began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # kB on Linux
        print(f"{what}: {time.perf_counter() - began:.1f} s, peak {peak:.1f} GB", flush=True)
        began = time.perf_counter()

    scorer = Scorer.untrained(str(folder), device="cpu", dtype="bfloat16")
    say("load")
    prompts = Prompts.stack(scorer.prompts(["a red fox in a green suit"]))
    say("text encoders and prompt")
    scorer.backbone.free_text_encoders()
    size = scorer.config.image_size
    image = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    noises = scorer.runner.noises(size, size)
    with torch.inference_mode():
        for stage, _ in scorer.model.stages(image, prompts, scorer.backbone, noises):
            say(stage)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="?", choices=SIZES)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--without", nargs="*", default=())
    parser.add_argument("--score", action="store_true")
    given = parser.parse_args()
    if given.name is None:
        table()
    elif given.score:
        score(given.folder)
    else:
        write(given.name, given.folder, weights=True, without=tuple(given.without))
