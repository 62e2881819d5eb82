"""A Stable Diffusion model in diffusers format -> a frozen ``Backbone``; only what is used is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from diffagiqa.errors import BackboneError
from diffagiqa.model.backbone import Backbone
from diffagiqa.model.features import drop_unused
from diffagiqa.weights.tensors import read_tensors

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
_HOW = (
    "expected a folder in diffusers format (vae/, unet/, text_encoder/, tokenizer/, scheduler/) "
    "with safetensors weights"
)


def load_backbone(
    name_or_path: str,
    features: Sequence[str],
    *,
    revision: str | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Backbone:
    """Load the parts of a Stable Diffusion 1.x or 2.x model that the named features need.

    ``name_or_path``: local folder, or hub id (``revision`` pins it). Weights go straight into
    ``dtype`` on ``device``; the VAE decoder and all U-Net modules after the last feature are never
    read. Raises ``BackboneError`` with what is missing and where to put it.
    """
    folder = find_backbone(name_or_path, revision)
    for part in ("vae", "unet", "text_encoder", "tokenizer", "scheduler"):
        if not (folder / part).is_dir():
            raise BackboneError(f"{folder} has no folder {part}/; {_HOW}")
    unet = _load_unet(folder / "unet", features, device, dtype)
    encoder, quant_conv, scaling, shift = _load_vae_encoder(folder / "vae", device, dtype)
    return Backbone(
        vae_encoder=encoder,
        quant_conv=quant_conv,
        unet=unet,
        text_encoder=_load_text_encoder(folder / "text_encoder", device, dtype),
        tokenizer=_load_tokenizer(folder / "tokenizer"),
        alphas_cumprod=_alphas_cumprod(folder / "scheduler"),
        scaling_factor=scaling,
        shift_factor=shift,
        name=name_or_path,
    )


def find_backbone(name_or_path: str, revision: str | None = None) -> Path:
    """The local folder of a backbone, fetched from the hub where ``name_or_path`` is a hub id."""
    folder = Path(name_or_path).expanduser()
    if folder.is_dir():
        return folder
    if name_or_path.startswith((".", "/", "~")) or name_or_path.count("/") != 1:
        raise BackboneError(f"backbone folder {name_or_path} does not exist; {_HOW}")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        return Path(snapshot_download(name_or_path, revision=revision, allow_patterns=_PATTERNS))
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError, ValueError):
        at = f" at revision {revision}" if revision else ""
        raise BackboneError(
            f"backbone {name_or_path}{at} is neither a local folder nor in the hub cache, and the hub "
            f"did not give it; fetch it where there is a network (hf download {name_or_path} "
            f"--local-dir FOLDER) and give FOLDER as the backbone"
        ) from None


def _load_unet(
    folder: Path, features: Sequence[str], device: torch.device | str, dtype: torch.dtype
) -> nn.Module:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    def build() -> nn.Module:
        unet = UNet2DConditionModel.from_config(_config(folder))
        drop_unused(unet, features)
        return unet  # type: ignore[no-any-return]

    return _load_module(build, folder, device, dtype)


def _load_vae_encoder(
    folder: Path, device: torch.device | str, dtype: torch.dtype
) -> tuple[nn.Module, nn.Module | None, float, float]:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    config = _config(folder)

    def build() -> nn.Module:
        vae = AutoencoderKL.from_config(config)
        vae.decoder = vae.post_quant_conv = None
        return vae  # type: ignore[no-any-return]

    vae: Any = _load_module(build, folder, device, dtype)
    return (
        vae.encoder,
        vae.quant_conv,
        float(vae.config.scaling_factor),
        float(vae.config.shift_factor or 0.0),
    )


def _load_text_encoder(folder: Path, device: torch.device | str, dtype: torch.dtype) -> nn.Module:
    from transformers import CLIPTextModel
    from transformers.utils import logging as hf_logging

    _config(folder)
    files = _weight_files(folder)
    variant = "fp16" if files[0].name.endswith(".fp16.safetensors") else None
    bars = hf_logging.is_progress_bar_enabled()
    hf_logging.disable_progress_bar()
    try:
        model: Any = CLIPTextModel.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, variant=variant, local_files_only=True
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise BackboneError(f"the text encoder in {folder} cannot be loaded ({error})") from None
    finally:
        if bars:
            hf_logging.enable_progress_bar()
    return model.to(device)  # type: ignore[no-any-return]


def _load_tokenizer(folder: Path) -> Any:
    from transformers import CLIPTokenizerFast  # type: ignore[attr-defined]

    try:
        return CLIPTokenizerFast.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise BackboneError(f"the tokenizer in {folder} cannot be loaded ({error})") from None


def _alphas_cumprod(folder: Path) -> torch.Tensor:
    """The training schedule, (T,), from the scheduler's configuration."""
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    config = _config(folder, "scheduler_config.json")
    known = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas")
    return DDPMScheduler(**{k: config[k] for k in known if k in config}).alphas_cumprod


def _load_module(
    build: Callable[[], nn.Module], folder: Path, device: torch.device | str, dtype: torch.dtype
) -> nn.Module:
    """Build on the meta device, then read just the tensors that the module has, in their final type."""
    from safetensors import SafetensorError

    with torch.device("meta"):
        module = build()
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
        raise BackboneError(
            f"{folder} lacks {len(missing)} tensors its configuration asks for, first {missing[0]}"
        )
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
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BackboneError(f"{file} cannot be read ({error}); {_HOW}") from None
    if not isinstance(config, dict):
        raise BackboneError(f"{file} holds no JSON object; {_HOW}")
    return config
