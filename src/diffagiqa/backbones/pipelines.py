"""Folders of diffusers' pipelines -> backbones, one function per class; only what is used is read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from diffagiqa.backbones import parts
from diffagiqa.backbones.adapter import merge_adapter
from diffagiqa.backbones.base import Backbone
from diffagiqa.backbones.flow import FlowTransformer, keep_blocks
from diffagiqa.backbones.mmdit import StableDiffusion3
from diffagiqa.backbones.sdxl import StableDiffusionXL
from diffagiqa.backbones.text_encoders import TextEncoders
from diffagiqa.backbones.unet import StableDiffusion
from diffagiqa.backbones.unet_walk import drop_unused
from diffagiqa.backbones.vae import ImageEncoder
from diffagiqa.backbones.zimage import ZImage
from diffagiqa.errors import BackboneError


class Pipeline:
    """One folder in diffusers format: its networks without weights, and the backbone with them."""

    backbone: type[Backbone]
    denoiser: str
    """Folder of the network that gives the features."""
    encoders: tuple[tuple[str, str, str], ...]
    """Of every text encoder the folder's ending and the classes of network and tokenizer."""
    optional: tuple[str, ...] = ()
    """Endings of text encoders that a folder may lack."""
    exact_vae = False
    """Whether the image encoder overflows in float16, unless its configuration says that it does not."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("vae", self.denoiser, "scheduler", *self._text_folders()):
            if not (folder / name).is_dir():
                raise BackboneError(f"{folder} has no folder {name}/; {parts.HOW}")

    def _text_folders(self) -> list[str]:
        endings = [ending for ending, *_ in self._encoders()]
        return [f"{kind}{ending}" for ending in endings for kind in ("text_encoder", "tokenizer")]

    def _encoders(self) -> list[tuple[str, str, str]]:
        return [
            encoder
            for encoder in self.encoders
            if encoder[0] not in self.optional
            or (self.folder / f"text_encoder{encoder[0]}").is_dir()
        ]

    def networks(self, features: Sequence[str] | None = None) -> dict[str, Any]:
        """Its networks up to the last feature, on the meta device, by what they are."""
        vae = parts.build_vae_encoder(self.folder / "vae")
        texts = enumerate(self._text_networks(), 1)
        named = {f"text encoder {number}": network for number, network in texts}
        return {"image encoder": vae, "denoiser": self.build(features), **named}

    def _text_networks(self) -> list[Any]:
        import transformers

        return [
            parts.build_text_encoder(
                self.folder / f"text_encoder{ending}", getattr(transformers, network)
            )
            for ending, network, _ in self._encoders()
        ]

    def check(self, features: Sequence[str] | None = None) -> None:
        """Raise ``BackboneError`` for the first file that is missing, or does not fit its configuration.

        Reads the headers of weights, no weights.
        """
        networks = self.networks(features)
        parts.check_weights(networks["image encoder"], self.folder / "vae")
        parts.check_weights(networks["denoiser"], self.folder / self.denoiser)
        for ending, *_ in self._encoders():
            parts.weight_files(self.folder / f"text_encoder{ending}")
        for tokenizer in self.text_encoders(torch.float32).tokenizers:
            assert tokenizer is not None
        parts.read_config(self.folder / "scheduler", "scheduler_config.json")

    def build(self, features: Sequence[str] | None) -> Any:
        """The denoiser up to the last feature, on the meta device."""
        raise NotImplementedError

    def load(
        self,
        features: Sequence[str] | None,
        *,
        name: str,
        device: torch.device | str,
        dtype: torch.dtype,
        adapter: Path | None = None,
        offload: bool = False,
    ) -> Any:
        """The backbone, its weights in ``dtype`` on ``device``; ``adapter``: a LoRA to merge.

        ``offload``: weights stay in the memory of the CPU, and go to ``device`` layer by layer.
        """
        home = "cpu" if offload else device
        denoiser = self.build(features)
        parts.fill(denoiser, self.folder / self.denoiser, home, dtype)
        if adapter is not None:
            merge_adapter(denoiser, adapter)
        vae = parts.build_vae_encoder(self.folder / "vae")
        exact = self.exact_vae and dtype == torch.float16 and vae.config.force_upcast
        parts.fill(vae, self.folder / "vae", home, torch.float32 if exact else dtype)
        texts = self.text_encoders(dtype, offload)
        backbone = self.assemble(denoiser, vae, texts, name, torch.device(device))
        if offload:
            for network in (denoiser, vae.encoder, vae.quant_conv):
                if network is not None:
                    parts.send_layers(network, torch.device(device))
            backbone.execution_device = torch.device(device)
        return backbone

    def assemble(
        self, denoiser: Any, vae: Any, texts: TextEncoders, name: str, device: torch.device
    ) -> Any:
        """The backbone of its loaded parts."""
        raise NotImplementedError

    def text_encoders(self, dtype: torch.dtype, offload: bool = False) -> TextEncoders:
        """Its text encoders, read when they are first used."""
        import transformers

        def words(ending: str, network: str, tokenizer: str) -> Any:
            return parts.read_tokenizer(
                self.folder / f"tokenizer{ending}", getattr(transformers, tokenizer)
            )

        def encoder(ending: str, network: str, tokenizer: str) -> Any:
            return parts.read_text_encoder(
                self.folder / f"text_encoder{ending}", getattr(transformers, network), dtype
            )

        def size() -> int:
            return sum(parts.bytes_of(network, dtype) for network in self._text_networks())

        kinds = self._encoders()
        return TextEncoders(
            [partial(words, *kind) for kind in kinds], [partial(encoder, *kind) for kind in kinds],
            size, offload,
        )  # fmt: skip


def image_encoder(vae: Any) -> ImageEncoder:
    """The encoder of diffusers' ``AutoencoderKL`` with its configured scale."""
    return ImageEncoder(
        vae.encoder,
        vae.quant_conv,
        scaling_factor=float(vae.config.scaling_factor),
        shift_factor=float(vae.config.shift_factor or 0.0),
    )


class UNetPipeline(Pipeline):
    """Stable Diffusion 1.x, 2.x."""

    backbone: type[StableDiffusion] = StableDiffusion
    denoiser = "unet"
    encoders: tuple[tuple[str, str, str], ...] = (("", "CLIPTextModel", "CLIPTokenizerFast"),)

    def build(self, features: Sequence[str] | None) -> Any:
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

        config = parts.read_config(self.folder / self.denoiser)

        def make() -> Any:
            unet = UNet2DConditionModel.from_config(config)
            drop_unused(unet, features or self.backbone.defaults.features)
            return unet

        return parts.build(make, self.folder / self.denoiser)

    def assemble(
        self, denoiser: Any, vae: Any, texts: TextEncoders, name: str, device: torch.device
    ) -> Any:
        ((tokenizer, network),) = texts.loaded(device)
        return StableDiffusion(
            text_encoder=network, tokenizer=tokenizer, **self._parts(denoiser, vae, name)
        )

    def _parts(self, denoiser: Any, vae: Any, name: str) -> dict[str, Any]:
        return {
            "image_encoder": image_encoder(vae),
            "unet": denoiser,
            "alphas_cumprod": parts.read_alphas(self.folder / "scheduler"),
            "name": name,
        }


class XLPipeline(UNetPipeline):
    """Stable Diffusion XL."""

    backbone = StableDiffusionXL
    exact_vae = True
    encoders = (
        ("", "CLIPTextModel", "CLIPTokenizerFast"),
        ("_2", "CLIPTextModelWithProjection", "CLIPTokenizerFast"),
    )

    def assemble(
        self, denoiser: Any, vae: Any, texts: TextEncoders, name: str, device: torch.device
    ) -> Any:
        return StableDiffusionXL(text_encoders=texts, **self._parts(denoiser, vae, name))


class TransformerPipeline(Pipeline):
    """A diffusion transformer trained by flow matching."""

    backbone: type[FlowTransformer]
    denoiser = "transformer"
    network: str
    """Class of the transformer."""

    def build(self, features: Sequence[str] | None) -> Any:
        import diffusers

        config = parts.read_config(self.folder / self.denoiser)
        names = features or self.backbone.defaults.features
        network = getattr(diffusers, self.network, None)
        if network is None:
            raise BackboneError(
                f"diffusers {diffusers.__version__} has no {self.network}; install a newer one"
            )

        def make() -> Any:
            transformer = network.from_config(config)
            keep_blocks(transformer, self.backbone.blocks, names)
            for name in ("norm_out", "proj_out", "all_final_layer"):
                if hasattr(transformer, name):
                    setattr(transformer, name, None)
            return transformer

        return parts.build(make, self.folder / self.denoiser)

    def assemble(
        self, denoiser: Any, vae: Any, texts: TextEncoders, name: str, device: torch.device
    ) -> Any:
        return self.backbone(
            image_encoder=image_encoder(vae),
            transformer=denoiser,
            text_encoders=texts,
            sigmas=parts.read_sigmas(self.folder / "scheduler"),
            name=name,
        )


class SD3Pipeline(TransformerPipeline):
    """Stable Diffusion 3 and 3.5, with or without T5."""

    backbone = StableDiffusion3
    network = "SD3Transformer2DModel"
    encoders = (
        ("", "CLIPTextModelWithProjection", "CLIPTokenizerFast"),
        ("_2", "CLIPTextModelWithProjection", "CLIPTokenizerFast"),
        ("_3", "T5EncoderModel", "AutoTokenizer"),
    )
    optional = ("_3",)


class ZImagePipeline(TransformerPipeline):
    """Z-Image and Z-Image-Turbo."""

    backbone = ZImage
    network = "ZImageTransformer2DModel"
    encoders = (("", "Qwen3Model", "AutoTokenizer"),)
