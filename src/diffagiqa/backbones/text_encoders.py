"""Text encoders that are read when a prompt first needs them, and freed when memory is needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch

from diffagiqa.backbones.base import Prompts
from diffagiqa.backbones.parts import send_layers
from diffagiqa.backbones.text import are_words, to_device, token_ids
from diffagiqa.device import WORKING, free_memory

Loaded = tuple[Any, Any]
"""A tokenizer and its network."""


class TextEncoders:
    """The text encoders of one backbone, in the pipeline's order.

    No module, so that they are read only when a prompt is encoded: T5-XXL alone is 9 GB in bfloat16,
    more than the transformer that it serves.
    """

    def __init__(
        self, tokenizers: Sequence[Callable[[], Any]], networks: Sequence[Callable[[], Any]],
        size: Callable[[], int], offload: bool = False,
    ) -> None:  # fmt: skip
        """``tokenizers`` and ``networks`` read one each; ``size``: bytes of all networks."""
        self._read_tokenizers, self._read_networks, self._size = tokenizers, networks, size
        self._networks: list[Any] = []
        self.offload = offload
        """Whether their weights wait in the CPU's memory, and go to the device layer by layer."""
        self._apart: bool | None = None

    @cached_property
    def tokenizers(self) -> list[Any]:
        """All of them; they are small, and stay."""
        return [read() for read in self._read_tokenizers]

    @property
    def in_memory(self) -> bool:
        """Whether the networks have been read, and not been freed."""
        return bool(self._networks)

    def apart(self, device: torch.device) -> bool:
        """Whether they and a batch of images do not share the memory, so that prompts are encoded first;
        asked once, before they are read."""
        if self._apart is None:
            free = free_memory(device)
            beside = self.in_memory or self.offload or free is None
            self._apart = not beside and self._size() + WORKING > free  # type: ignore[operator]
        return self._apart

    def keep_apart(self) -> None:
        """From now on: memory ran out."""
        self._apart = True

    def loaded(self, device: torch.device) -> list[Loaded]:
        """Tokenizers and networks, on ``device``; read if need be."""
        if not self._networks:
            self._networks = [read() for read in self._read_networks]
            for network in self._networks if self.offload else ():
                send_layers(network, device)
        if not self.offload:
            self._networks = [network.to(device) for network in self._networks]
        return list(zip(self.tokenizers, self._networks, strict=True))

    def send_by_layers(self) -> bool:
        """From now on, since whole ones find no memory; False if they are sent so already."""
        before, self.offload = self.offload, True
        self._apart = False
        self.free()
        return not before

    def free(self) -> bool:
        """Give their memory back, if they have any; they are read anew when another prompt comes."""
        freed, self._networks = self.in_memory, []
        return freed


def clip_pair(
    pair: Sequence[Loaded], prompt: str, device: torch.device, long_prompts: str = "truncate"
) -> Prompts:
    """A prompt by two CLIP text encoders: hidden states before the last layer, joined, (77k, D1 + D2);
    the projections of the first piece, joined, where an encoder has one."""
    hidden, pooled, words = [], [], []
    for tokenizer, network in pair:
        pieces, length = token_ids(tokenizer, prompt, long_prompts)
        output = network(to_device(pieces, device), output_hidden_states=True)
        hidden.append(output.hidden_states[-2].flatten(0, 1)[:length])
        words.append(are_words(tokenizer, pieces.flatten()[:length]).to(device))
        if (projected := output.get("text_embeds")) is not None:
            pooled.append(projected[0])
    length = min(len(states) for states in hidden)  # tokenizers of unlike vocabularies may differ
    joined = torch.cat([states[:length] for states in hidden], dim=-1)
    return Prompts(joined, words[0][:length], torch.cat(pooled))
