"""Parts of a folder in diffusers format: configurations, networks with their weights, tokenizers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from diffagiqa.backbones.tensors import read_tensors
from diffagiqa.data.samples import reason_of
from diffagiqa.data.wording import counted
from diffagiqa.errors import BackboneError, DiffAGIQAError

HOW = (
    "expected a folder in diffusers format (vae/, unet/ or transformer/, text_encoder/, tokenizer/, "
    "scheduler/) with safetensors weights"
)

# Building has no weights yet and costs what there is to build: a line of JSON must not cost hours.
_MOST = {
    "layers_per_block": 32,
    "transformer_layers_per_block": 32,
    "num_hidden_layers": 128,
    "num_layers": 128,
    "n_layers": 128,
    "n_refiner_layers": 32,
    "pos_embed_max_size": 2048,
    "sample_size": 4096,
    "axes_lens": 65_536,
    "num_train_timesteps": 10_000,
}

# Before 5.6 transformers reads a CLIP text encoder's tensors by their long names alone; since, it writes
# the short ones, and reads both.
_LONG_NAMES = {r"^(embeddings|encoder|final_layer_norm)\.": r"text_model.\1."}


def read_config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    """The JSON object in a file, bounded. Raises ``BackboneError`` for anything else."""
    file = folder / name
    try:
        if file.stat().st_size > 1_000_000:
            raise BackboneError(f"{file} is over 1 MB; this is no configuration of a backbone")
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BackboneError(f"{file} cannot be read ({reason_of(error)}); {HOW}") from None
    if not isinstance(config, dict):
        raise BackboneError(f"{file} holds no JSON object; {HOW}")
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


def build(make: Callable[[], Any], folder: Path) -> Any:
    """A network on the meta device, without weights."""
    try:
        with torch.device("meta"):
            return make()
    except DiffAGIQAError:
        raise
    except Exception as error:  # what diffusers raises depends on which value is wrong
        raise _no_network(folder, error) from None


def build_vae_encoder(folder: Path) -> Any:
    """A VAE without its decoder, on the meta device."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    config = read_config(folder)

    def make() -> Any:
        vae = AutoencoderKL.from_config(config)
        vae.decoder = vae.post_quant_conv = None
        return vae

    return build(make, folder)


def build_text_encoder(folder: Path, network: Any) -> Any:
    """A text encoder of a class of transformers', on the meta device."""
    config = read_config(folder)
    return build(lambda: network(network.config_class.from_dict(config)), folder)


def fill(module: Any, folder: Path, device: torch.device | str, dtype: torch.dtype) -> Any:
    """Read just the tensors that a module on the meta device has, in their final type and place."""
    from safetensors import SafetensorError

    check_weights(module, folder)  # the headers say what is wrong before gigabytes are read
    wanted = module.state_dict()
    found: dict[str, torch.Tensor] = {}
    for file in weight_files(folder):
        try:
            # Channels last is what convolutions want, most of all low-precision ones.
            found |= read_tensors(file, dtype, names=wanted, device=device, channels_last=True)
        except (SafetensorError, OSError) as error:
            raise _unreadable(file, error) from None
    module.load_state_dict(found, assign=True)
    return module


def check_weights(module: Any, folder: Path) -> None:
    """Raise ``BackboneError`` where the files in ``folder`` lack tensors of a module, or have others."""
    from safetensors import SafetensorError, safe_open

    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    shapes: dict[str, tuple[int, ...]] = {}
    for file in weight_files(folder):
        try:
            with safe_open(file, framework="pt") as tensors:
                for name in wanted.keys() & set(tensors.keys()):
                    shapes[name] = tuple(tensors.get_slice(name).get_shape())
        except (SafetensorError, OSError) as error:
            raise _unreadable(file, error) from None
    if missing := sorted(wanted.keys() - shapes.keys()):
        raise _lacking(folder, missing)
    for name, shape in shapes.items():
        if shape != wanted[name]:
            raise BackboneError(
                f"tensor {name} in {folder} has shape {shape}; its configuration expects {wanted[name]}"
            )


def _unreadable(file: Path, error: Exception) -> BackboneError:
    return BackboneError(f"{file} cannot be read as safetensors ({error})")


def bytes_of(network: nn.Module, dtype: torch.dtype) -> int:
    """What the weights of a network would take in ``dtype``; tied ones count once."""
    distinct = {id(tensor): tensor for tensor in network.state_dict(keep_vars=True).values()}
    return sum(tensor.numel() for tensor in distinct.values()) * dtype.itemsize


def read_text_encoder(folder: Path, network: Any, dtype: torch.dtype) -> nn.Module:
    """A text encoder of a class of transformers' with its weights, frozen, in the CPU's memory."""
    from transformers.utils import logging as hf_logging

    read_config(folder)
    files = weight_files(folder)
    variant = "fp16" if ".fp16" in files[0].name else None
    bars = hf_logging.is_progress_bar_enabled()
    hf_logging.disable_progress_bar()
    clip = network.config_class.model_type == "clip_text_model"
    loaded: Any
    try:
        loaded = network.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, variant=variant, local_files_only=True,
            output_loading_info=True, key_mapping=_LONG_NAMES if clip else None,
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
    return model.eval().requires_grad_(False)  # type: ignore[no-any-return]


def send_layers(network: Any, device: torch.device) -> None:
    """Let every layer's weights go to ``device`` when it runs, and back after it; in place."""
    from accelerate import cpu_offload

    direct = dict(network.named_parameters(recurse=False))  # of no layer, so they stay there
    cpu_offload(network, device)
    for name, parameter in direct.items():
        network.register_parameter(name, nn.Parameter(parameter.to(device), False))


def read_tokenizer(folder: Path, tokenizer: Any) -> Any:
    """A tokenizer of a class of transformers'; code in the folder is never run."""
    try:
        return tokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # tokenizers raises a bare Exception
        reason = reason_of(error)
        raise BackboneError(f"the tokenizer in {folder} cannot be loaded ({reason})") from None


def read_alphas(folder: Path) -> torch.Tensor:
    """The training schedule, (T,), from the scheduler's configuration."""
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    known = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas")
    alphas = _schedule(folder, DDPMScheduler, known).alphas_cumprod
    if not bool(((alphas > 0) & (alphas <= 1)).all()):
        raise BackboneError(f"the noise schedule in {folder} leaves the range of 0 to 1; {HOW}")
    return alphas  # type: ignore[no-any-return]


def read_sigmas(folder: Path) -> torch.Tensor:
    """The noise levels of flow matching, (T,) in [0, 1], from the scheduler's configuration."""
    from diffusers.schedulers.scheduling_flow_match_euler_discrete import (
        FlowMatchEulerDiscreteScheduler,
    )

    known = ("num_train_timesteps", "shift", "use_dynamic_shifting")
    sigmas = _schedule(folder, FlowMatchEulerDiscreteScheduler, known).sigmas
    if not bool(((sigmas >= 0) & (sigmas <= 1)).all()):
        raise BackboneError(f"the noise levels in {folder} leave the range of 0 to 1; {HOW}")
    return sigmas  # type: ignore[no-any-return]


def _schedule(folder: Path, scheduler: Any, known: Sequence[str]) -> Any:
    config = read_config(folder, "scheduler_config.json")
    try:
        return scheduler(**{key: config[key] for key in known if key in config})
    except Exception as error:
        raise _no_network(folder, error) from None


def _no_network(folder: Path, error: Exception) -> BackboneError:
    return BackboneError(
        f"the configuration in {folder} describes nothing that can be built ({reason_of(error)}); {HOW}"
    )


def _lacking(folder: Path, missing: Sequence[str]) -> BackboneError:
    return BackboneError(
        f"{folder} lacks {counted(len(missing), 'tensor')} its configuration asks for, first {missing[0]}"
    )


def weight_files(folder: Path) -> list[Path]:
    """Full-precision safetensors where there are any, else the fp16 variant; sharded or not."""
    files = sorted(folder.glob("*.safetensors"))
    plain = [file for file in files if ".fp16" not in file.name and ".non_ema" not in file.name]
    chosen = plain or [file for file in files if ".fp16" in file.name]
    if not chosen:
        raise BackboneError(f"{folder} has no *.safetensors file; {HOW}")
    return chosen
