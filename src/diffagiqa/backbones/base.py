"""What the method knows of a frozen backbone: prompted images, prompts and noise -> named features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from diffagiqa.backbones.names import Fit
from diffagiqa.backbones.noise import Noise
from diffagiqa.errors import ConfigError

if TYPE_CHECKING:
    from diffagiqa.backbones.text_encoders import TextEncoders

Encoded = tuple[Tensor, ...]
"""What ``encode_image`` makes of B images: tensors with the images first, so that a caller can index,
repeat and join them without knowing what they are."""


@dataclass(frozen=True)
class Prompts:
    """Encoded prompts, B of them, or one without that dimension."""

    text: Tensor  # (B,L,D)
    words: Tensor  # (B,L) bool: which tokens are words of the prompt
    pooled: Tensor | None = (
        None  # (B,P): one vector for the whole prompt, where the backbone has one
    )

    @classmethod
    def stack(cls, prompts: Sequence[Prompts]) -> Prompts:
        """Single ones, of one length, as a batch."""
        return cls._each(torch.stack, prompts)

    @classmethod
    def cat(cls, batches: Sequence[Prompts]) -> Prompts:
        """Batches of one length, one after the other."""
        return cls._each(torch.cat, batches)

    @classmethod
    def _each(cls, join: Callable[[list[Tensor]], Tensor], prompts: Sequence[Prompts]) -> Prompts:
        pooled = [prompt.pooled for prompt in prompts if prompt.pooled is not None]
        return cls(
            join([prompt.text for prompt in prompts]),
            join([prompt.words for prompt in prompts]),
            join(pooled) if pooled else None,
        )

    def expand(self, count: int) -> Prompts:
        """One prompt without a batch dimension -> the same one ``count`` times, without a copy."""
        pooled = None if self.pooled is None else self.pooled.expand(count, -1)
        return Prompts(self.text.expand(count, -1, -1), self.words.expand(count, -1), pooled)


@dataclass(frozen=True)
class Defaults:
    """What a model on this backbone takes where its configuration says nothing."""

    features: tuple[str, ...]
    image_size: int = 512
    """Side of the square that images are fitted to, or with fit "native" the root of the area, pixels."""
    fit: Fit = "resize"
    timestep: int = 51
    """Of the noise, 0 to 999."""


class Backbone(nn.Module, ABC):
    """A frozen network that looks at images together with text.

    Gradients flow through it to the images; its own parameters never get any, and ``train()`` leaves
    it in evaluation mode. It is an argument of the forward pass, so one copy serves every task.
    """

    name: str
    """The folder or hub id it was loaded from."""
    defaults: Defaults
    side_multiple: int = 64
    """Both sides of the images that it takes are multiples of this, in pixels."""
    longest_side: int | None = None
    """Most pixels on a side of the images that it takes; None: any."""
    licence: str = ""
    """Of the weights that its class was published with; fine-tuned ones may have another."""
    capturable: bool = False
    """Whether its forward pass can be recorded as a CUDA graph."""

    text_encoders: TextEncoders | None = None
    """Those that are read when a prompt first needs them; None where they are small, and stay."""
    has_windows: bool = False
    """Whether ``crop`` can cut windows out of encoded images."""

    def __init__(self, name: str = "") -> None:
        super().__init__()
        self.name = name
        self.checkpoint_activations = False
        """Recompute activations in the backward pass: less memory, more time (training only)."""
        self.execution_device: torch.device | None = None
        """Where it computes, if its weights wait in another memory."""
        self._empty: tuple[object, Prompts] | None = None

    def freeze(self) -> None:
        """No gradients for the parameters, evaluation mode: called once the parts are in place."""
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Backbone:
        """Stay in evaluation mode: the backbone is frozen."""
        return super().train(False)

    @property
    def dtype(self) -> torch.dtype:
        """Of its weights."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.execution_device or next(self.parameters()).device

    @abstractmethod
    def feature_names(self) -> list[str]:
        """All the features it offers, in the order they are computed."""

    @abstractmethod
    def feature_channels(self, names: Sequence[str]) -> tuple[int, ...]:
        """Channels of the named features. Raises ``ConfigError`` for a name that it lacks."""

    @abstractmethod
    def latent_shape(self, height: int, width: int) -> tuple[int, ...] | None:
        """Shape of the noise for one image of that size, (C, h, w); None where it takes no noise."""

    @abstractmethod
    def encode_prompts(
        self, prompts: Sequence[str], long_prompts: str = "truncate"
    ) -> list[Prompts]:
        """Every prompt by itself, without the batch dimension; lengths may differ.

        An encoding does not depend on the prompts beside it.
        """

    def free_text_encoders(self) -> bool:
        """Give the memory of its text encoders back, if there is any to give; the next prompt reads them
        anew."""
        return self.text_encoders is not None and self.text_encoders.free()

    def empty_prompt(self) -> Prompts:
        """The encoding of "", kept for the device and type that it was made for."""
        key = (self.device, self.dtype)
        if self._empty is None or self._empty[0] != key:
            with torch.inference_mode(False), torch.no_grad():
                self._empty = (key, self.encode_prompts([""])[0])
        return self._empty[1]

    @abstractmethod
    def no_text(self, length: int | None = None) -> Prompts:
        """The empty prompt, without the batch dimension; repeated to ``length`` tokens, where it is to
        stand beside prompts of that length."""

    @abstractmethod
    def encode_image(self, images: Tensor) -> Encoded:
        """(B, 3, H, W) about [-1, 1] -> what ``features`` needs of them, once for all draws of noise."""

    @abstractmethod
    def features(
        self,
        encoded: Encoded,
        prompts: Prompts,
        noise: Noise | None,
        timestep: int,
        names: Sequence[str],
    ) -> dict[str, Tensor]:
        """Named feature maps of B images and their prompts, (B, C, h, w) each, in the order of ``names``.

        Nothing after the last feature wanted is computed. ``noise`` of one draw, for all images or one
        for each. Raises ``ConfigError`` for a name that it lacks.
        """

    def crop(self, encoded: Encoded, top: float, left: float, share: float) -> Encoded:
        """About what ``encode_image`` makes of windows of the images, where ``has_windows``.

        ``top``, ``left``: the windows' upper left corner; ``share``: their sides; all as shares of the
        images' sides.
        """
        raise NotImplementedError(f"{type(self).__name__} has no windows")

    def word_features(self, names: Sequence[str]) -> tuple[str, ...]:
        """Further names, computed no later than ``names``, that give a map for every token, (B, L, h, w):
        how much each position looks at, or like, the token. None where the backbone has none."""
        return ()

    def word_positions(
        self, prompt: str, spans: Sequence[tuple[int, int]], long_prompts: str = "truncate"
    ) -> list[list[int]]:
        """Of every ``prompt[start:end]``, the positions of its tokens in ``Prompts.text``.

        Empty for what is not read: beyond a limit of the text encoder.
        """
        return [[] for _ in spans]

    def check_names(self, names: Sequence[str]) -> None:
        """Raise ``ConfigError`` naming the features that this backbone lacks."""
        known = self.feature_names()
        if missing := [name for name in names if name not in known]:
            raise ConfigError(
                f"the backbone has no feature {', '.join(missing)}; it has {', '.join(known)}"
            )
