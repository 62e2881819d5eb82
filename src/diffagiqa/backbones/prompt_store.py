"""Encoded prompts on disk, so that a large job needs its text encoders once."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from diffagiqa.backbones.base import Prompts
from diffagiqa.data.atomic import write_file


class PromptStore:
    """One safetensors file per prompt; ``key`` names everything else that its encoding depends on."""

    def __init__(self, folder: str | Path, key: str) -> None:
        self._folder = Path(folder)
        self._key = key

    def _file(self, text: str) -> Path:
        name = hashlib.sha256(f"{self._key}\0{text}".encode()).hexdigest()
        return self._folder / name[:2] / f"{name}.safetensors"

    def read(self, text: str, device: torch.device) -> Prompts | None:
        """The encoding of a prompt, None where it is not there or the file is damaged."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            tensors = load_file(self._file(text), device=str(device))
            return Prompts(tensors["text"], tensors["words"], tensors.get("pooled"))
        except (OSError, SafetensorError, KeyError):
            return None

    def write(self, text: str, prompt: Prompts) -> None:
        """Keep the encoding of a prompt; other processes see all of it or nothing."""
        from safetensors.torch import save

        file = self._file(text)
        file.parent.mkdir(parents=True, exist_ok=True)
        tensors = {"text": prompt.text, "words": prompt.words}
        if prompt.pooled is not None:
            tensors["pooled"] = prompt.pooled
        write_file(file, save({name: tensor.contiguous() for name, tensor in tensors.items()}))
