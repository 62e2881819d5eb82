"""Prompts -> what a backbone makes of them: encoded once, kept in memory and, if wanted, on disk."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence

import torch

from diffagiqa.backbones.base import Backbone, Prompts
from diffagiqa.backbones.prompt_store import PromptStore
from diffagiqa.data.prompts import clean_prompt
from diffagiqa.device import ran_out_of_memory, release_memory, without_autocast
from diffagiqa.errors import DeviceError
from diffagiqa.model.config import ModelConfig


class PromptEncoder:
    """Cleaned prompts -> encoded prompts; up to ``size`` bytes of those used last stay in memory.

    Safe to call from several threads. ``store`` keeps all of them on disk.
    """

    def __init__(
        self, backbone: Backbone, config: ModelConfig, store: PromptStore | None = None,
        size: int = 256 << 20,
    ) -> None:  # fmt: skip
        self._backbone, self._config, self._store, self._size = backbone, config, store, size
        self._least = 1
        """So many stay whatever their size."""
        self._lock = threading.Lock()
        self._recent: OrderedDict[str, Prompts] = OrderedDict()

    def __call__(self, texts: Sequence[str]) -> list[Prompts]:
        """The encoded prompts of some texts, in their order.

        Raises:
            DeviceError: not even one prompt fits into memory.
        """
        with self._lock:
            distinct = dict.fromkeys(texts)
            if missing := [text for text in distinct if text not in self._recent]:
                self._recent |= dict(zip(missing, self._read_or_encode(missing), strict=True))
            for text in distinct:
                self._recent.move_to_end(text)
            encoded = [self._recent[text] for text in texts]
            if encoded:
                most = max(self._least, self._size // max(1, encoded[0].text.nbytes))
                while len(self._recent) > most:
                    self._recent.popitem(last=False)
            return encoded

    @property
    def first(self) -> bool:
        """Whether text encoders and images do not share the memory: then ``ahead`` is due."""
        encoders = self._backbone.text_encoders
        return encoders is not None and encoders.apart(self._backbone.device)

    def ahead(self, prompts: Iterable[str]) -> None:
        """Encode some prompts, then give the text encoders' memory back before images come.

        Their encodings stay in memory, or are on disk where there is a store. ``score`` does this by
        itself for the rows of a chunk where memory is short.

        Raises:
            PromptError: a prompt is no text, or too long.
        """
        texts = list(dict.fromkeys(clean_prompt(prompt) for prompt in prompts))
        if self._store is None:
            self._least = max(self._least, len(texts))
        for text in texts:
            self([text])
        self._encode_no_text()
        self._backbone.free_text_encoders()
        release_memory(self._backbone.device)

    @torch.inference_mode(False)  # kept for later calls, which may want gradients
    @torch.no_grad()
    def _read_or_encode(self, texts: Sequence[str]) -> list[Prompts]:
        if self._store is None:
            return self._encode(texts)
        stored = {text: self._store.read(text, self._backbone.device) for text in texts}
        missing = [text for text, prompt in stored.items() if prompt is None]
        encoded = dict(zip(missing, self._encode(missing) if missing else (), strict=True))
        for text, new in encoded.items():
            self._store.write(text, new)
        return [stored[text] or encoded[text] for text in texts]

    def _encode(self, texts: Sequence[str]) -> list[Prompts]:
        device = self._backbone.device
        try:
            with without_autocast(device):  # kept for callers without autocast, too
                encoded = self._backbone.encode_prompts(texts, self._config.long_prompts)
                self._encode_no_text()  # else text encoders would be read among the images
                return encoded
        except (RuntimeError, MemoryError) as error:
            if not ran_out_of_memory(error):
                raise
        encoders = self._backbone.text_encoders
        if encoders is not None and encoders.send_by_layers():
            release_memory(device)  # here the exception, which holds on to tensors, is gone
            return self._encode(texts)
        raise DeviceError(
            f"a prompt does not fit the free memory of {device}; free some, or use another --device"
        )

    def _encode_no_text(self) -> None:
        """The backbone keeps it."""
        config = self._config
        if not all(config.use_text and task.use_text for task in config.tasks):
            self._backbone.no_text()
