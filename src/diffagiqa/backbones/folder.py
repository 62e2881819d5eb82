"""A folder or hub id -> a frozen ``Backbone``; only what is used is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from diffagiqa.backbones.base import Backbone
from diffagiqa.backbones.compact import load_compact
from diffagiqa.backbones.hub import fetch, is_hub_id
from diffagiqa.backbones.tensors import read_tensors
from diffagiqa.backbones.unet import StableDiffusion
from diffagiqa.backbones.unet_walk import drop_unused
from diffagiqa.data.samples import reason_of
from diffagiqa.data.wording import counted
from diffagiqa.errors import BackboneError, DiffAGIQAError

_PATTERNS = [
    "model_index.json",
    "scheduler/*.json",
    "tokenizer/*",
    "text_encoder/config.json",
    "text_encoder/*.safetensors*",
    "unet/config.json",
    "unet/*.safetensors*",
    "vae/config.json",
    "vae/*.safetensors*",
]
_NEVER_READ = ["*.non_ema.*"]
_HOW = (
    "expected a folder in diffusers format (vae/, unet/, text_encoder/, tokenizer/, scheduler/) "
    "with safetensors weights"
)

# Building has no weights yet and costs what there is to build: a line of JSON must not cost hours.
_MOST = {
    "layers_per_block": 32,
    "transformer_layers_per_block": 32,
    "num_hidden_layers": 128,
    "num_train_timesteps": 10_000,
}

# Before 5.6 transformers reads a text encoder's tensors by their long names alone; since, it writes
# the short ones, and reads both.
_LONG_NAMES = {r"^(embeddings|encoder|final_layer_norm)\.": r"text_model.\1."}


COMPACT = Path(__file__).parents[1] / "weights" / "compact"


def load_backbone(
    name_or_path: str,
    features: Sequence[str] | None = None,
    *,
    revision: str | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Backbone:
    """Load the parts of a frozen model that the named features need; None: the backbone's defaults.

    ``name_or_path``: local folder, or hub id (``revision`` pins it). Weights go straight into
    ``dtype`` on ``device``; what comes after the last feature is never read. Raises
    ``BackboneError`` with what is missing and where to put it.
    """
    folder = find_backbone(name_or_path, revision)
    load = LOADERS[kind_of(folder)]
    return load(folder, features, name=name_or_path, device=device, dtype=dtype)


def kind_of(folder: Path) -> str:
    """The entry of ``LOADERS`` for a folder: the class of its network, by the network's configuration."""
    if (folder / "compact.json").is_file():
        return "compact"
    for part in ("unet", "transformer"):
        if (folder / part / "config.json").is_file():
            name = str(_config(folder / part).get("_class_name", "UNet2DConditionModel"))
            if part == "unet" and (folder / "text_encoder_2").is_dir():
                name += " with two text encoders"
            if name not in LOADERS:
                raise BackboneError(
                    f"{folder} holds a {name[:80]}; expected one of {', '.join(LOADERS)}"
                )
            return name
    return "UNet2DConditionModel"  # whose loader says what is missing


def load_stable_diffusion(
    folder: Path,
    features: Sequence[str] | None,
    *,
    name: str,
    device: torch.device | str,
    dtype: torch.dtype,
) -> StableDiffusion:
    """Stable Diffusion 1.x or 2.x, without VAE decoder and without what follows the last feature."""
    for part in ("vae", "unet", "text_encoder", "tokenizer", "scheduler"):
        if not (folder / part).is_dir():
            raise BackboneError(f"{folder} has no folder {part}/; {_HOW}")
    unet = _load_unet(folder / "unet", features or StableDiffusion.defaults.features, device, dtype)
    vae = _load_vae_encoder(folder / "vae", device, dtype)
    return StableDiffusion(
        vae_encoder=vae.encoder,
        quant_conv=vae.quant_conv,
        unet=unet,
        text_encoder=_load_text_encoder(folder / "text_encoder", device, dtype),
        tokenizer=_load_tokenizer(folder / "tokenizer"),
        alphas_cumprod=_alphas_cumprod(folder / "scheduler"),
        scaling_factor=float(vae.config.scaling_factor),
        shift_factor=float(vae.config.shift_factor or 0.0),
        name=name,
    )


LOADERS: dict[str, Callable[..., Backbone]] = {
    "UNet2DConditionModel": load_stable_diffusion,
    "compact": load_compact,
}
"""By the network's class; a new backbone is a class and an entry here."""


def find_backbone(name_or_path: str, revision: str | None = None) -> Path:
    """The local folder of a backbone: a folder, a hub id to fetch, or "compact", the package's own."""
    if name_or_path == "compact":
        return COMPACT
    folder = Path(name_or_path).expanduser()
    if folder.is_dir():
        return folder
    if not is_hub_id(name_or_path):
        raise BackboneError(f"backbone folder {name_or_path} does not exist; {_HOW}")
    return fetch(
        name_or_path,
        revision,
        patterns=_PATTERNS,
        never=_NEVER_READ,
        what="backbone",
        error=BackboneError,
    )


def _load_unet(
    folder: Path, features: Sequence[str], device: torch.device | str, dtype: torch.dtype
) -> nn.Module:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    def build() -> nn.Module:
        unet = UNet2DConditionModel.from_config(_config(folder))
        drop_unused(unet, features)
        return unet  # type: ignore[no-any-return]

    return _load_module(build, folder, device, dtype)


def _load_vae_encoder(folder: Path, device: torch.device | str, dtype: torch.dtype) -> Any:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    config = _config(folder)

    def build() -> nn.Module:
        vae = AutoencoderKL.from_config(config)
        vae.decoder = vae.post_quant_conv = None
        return vae  # type: ignore[no-any-return]

    return _load_module(build, folder, device, dtype)


def _load_text_encoder(folder: Path, device: torch.device | str, dtype: torch.dtype) -> nn.Module:
    from transformers import CLIPTextModel
    from transformers.utils import logging as hf_logging

    _config(folder)
    files = _weight_files(folder)
    variant = "fp16" if files[0].name.endswith(".fp16.safetensors") else None
    bars = hf_logging.is_progress_bar_enabled()
    hf_logging.disable_progress_bar()
    loaded: Any
    try:
        loaded = CLIPTextModel.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, variant=variant, local_files_only=True,
            output_loading_info=True, key_mapping=_LONG_NAMES,
        )  # fmt: skip
    except Exception as error:  # the files may be anybody's
        reason = reason_of(error)
        raise BackboneError(f"the text encoder in {folder} cannot be loaded ({reason})") from None
    finally:
        if bars:
            hf_logging.enable_progress_bar()
    model, found = loaded
    if missing := sorted(found["missing_keys"]):  # transformers would fill them with random numbers
        raise _lacking(folder, missing)
    return model.to(device)  # type: ignore[no-any-return]


def _load_tokenizer(folder: Path) -> Any:
    from transformers import CLIPTokenizerFast  # type: ignore[attr-defined]

    try:
        return CLIPTokenizerFast.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # tokenizers raises a bare Exception
        reason = reason_of(error)
        raise BackboneError(f"the tokenizer in {folder} cannot be loaded ({reason})") from None


def _alphas_cumprod(folder: Path) -> torch.Tensor:
    """The training schedule, (T,), from the scheduler's configuration."""
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    config = _config(folder, "scheduler_config.json")
    known = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas")
    try:
        found = DDPMScheduler(**{k: config[k] for k in known if k in config}).alphas_cumprod
    except Exception as error:
        raise _no_network(folder, error) from None
    if not bool(((found > 0) & (found <= 1)).all()):
        raise BackboneError(f"the noise schedule in {folder} leaves the range of 0 to 1; {_HOW}")
    return found  # type: ignore[no-any-return]


def _no_network(folder: Path, error: Exception) -> BackboneError:
    return BackboneError(
        f"the configuration in {folder} describes nothing that can be built ({reason_of(error)}); {_HOW}"
    )


def _lacking(folder: Path, missing: Sequence[str]) -> BackboneError:
    return BackboneError(
        f"{folder} lacks {counted(len(missing), 'tensor')} its configuration asks for, first {missing[0]}"
    )


def _load_module(
    build: Callable[[], nn.Module], folder: Path, device: torch.device | str, dtype: torch.dtype
) -> nn.Module:
    """Build on the meta device, then read just the tensors that the module has, in their final type."""
    from safetensors import SafetensorError

    try:
        with torch.device("meta"):
            module = build()
    except DiffAGIQAError:
        raise
    except Exception as error:  # what diffusers raises depends on which value is wrong
        raise _no_network(folder, error) from None
    wanted = module.state_dict()
    found: dict[str, torch.Tensor] = {}
    for file in _weight_files(folder):
        try:
            # Channels last is what convolutions want, most of all low-precision ones.
            found |= read_tensors(file, dtype, names=wanted, device=device, channels_last=True)
        except (SafetensorError, OSError) as error:
            raise BackboneError(f"{file} cannot be read as safetensors ({error})") from None
    missing = sorted(wanted.keys() - found.keys())
    if missing:
        raise _lacking(folder, missing)
    for name, tensor in found.items():
        if tensor.shape != wanted[name].shape:
            raise BackboneError(
                f"tensor {name} in {folder} has shape {tuple(tensor.shape)}; "
                f"its configuration expects {tuple(wanted[name].shape)}"
            )
    module.load_state_dict(found, assign=True)
    return module


def _weight_files(folder: Path) -> list[Path]:
    """Full-precision safetensors where there are any, else the fp16 variant; sharded or not."""
    files = sorted(folder.glob("*.safetensors"))
    plain = [file for file in files if ".fp16" not in file.name and ".non_ema" not in file.name]
    chosen = plain or [file for file in files if ".fp16" in file.name]
    if not chosen:
        raise BackboneError(f"{folder} has no *.safetensors file; {_HOW}")
    return chosen


def _config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    file = folder / name
    try:
        if file.stat().st_size > 1_000_000:
            raise BackboneError(f"{file} is over 1 MB; this is no configuration of a backbone")
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BackboneError(f"{file} cannot be read ({reason_of(error)}); {_HOW}") from None
    if not isinstance(config, dict):
        raise BackboneError(f"{file} holds no JSON object; {_HOW}")
    for key, most in _MOST.items():
        if any(number > most for number in _numbers(config.get(key))):
            raise BackboneError(
                f"{file} has {key} {str(config[key])[:80]}; expected {most} at most"
            )
    return config


def _numbers(value: Any) -> list[float]:
    """The numbers in a value, or in lists of lists of them."""
    if isinstance(value, list):
        return [number for item in value for number in _numbers(item)]
    return [value] if isinstance(value, (int, float)) else []
