"""Prompts -> token ids for text encoders with a limit of 77 tokens (CLIP), long prompts included."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from diffagiqa.backbones.base import Prompts

TEXTS_AT_ONCE = 16
"""Pieces of 77 tokens per pass of the text encoder on a GPU, where one costs what sixteen do."""


def token_ids(tokenizer: Any, prompt: str, long_prompts: str) -> tuple[Tensor, int]:
    """Ids of the prompt in pieces, (k, 77), and how many of their positions count.

    ``long_prompts``: "truncate" takes the first 77 tokens; "chunk" splits longer prompts into
    pieces of 75 tokens, each framed by start and end; "released" cuts the raw ids of prompts of over 70
    space-separated words in pieces of 77, the last one as long as it comes, and truncates every other
    prompt, as the released code does.
    """
    limit = int(tokenizer.model_max_length)
    if long_prompts == "released" and len(prompt.split(" ")) > 70:
        raw = tokenizer(prompt, truncation=False, verbose=False)["input_ids"]
        filled = raw + [tokenizer.pad_token_id] * (-len(raw) % limit)
        return torch.tensor(filled).reshape(-1, limit), len(raw)
    if long_prompts == "chunk":
        ids = tokenizer(prompt, truncation=False, add_special_tokens=False, verbose=False)
        words, inner = ids["input_ids"], limit - 2
        pieces = [words[i : i + inner] for i in range(0, len(words), inner)] or [[]]
        framed = [[tokenizer.bos_token_id, *piece, tokenizer.eos_token_id] for piece in pieces]
        pad = tokenizer.pad_token_id
        padded = torch.tensor([piece + [pad] * (limit - len(piece)) for piece in framed])
        return padded, padded.numel()
    cut = tokenizer(prompt, padding="max_length", max_length=limit, truncation=True)
    return torch.tensor([cut["input_ids"]]), limit


def encode(
    tokenizer: Any,
    hidden_states: Callable[[Tensor], Tensor],
    prompts: Sequence[str],
    long_prompts: str,
    device: torch.device,
    *,
    alone: bool = False,
) -> list[Prompts]:
    """Each prompt by ``hidden_states``: ids (k, 77) -> (k, 77, D); lengths may differ.

    On a GPU ``TEXTS_AT_ONCE`` pieces share a pass, and the last one is filled up; elsewhere, and
    with ``alone``, which takes the least memory, every prompt has its own.
    """
    tokens = [token_ids(tokenizer, prompt, long_prompts) for prompt in prompts]
    ids = [pieces for pieces, _ in tokens]  # (k,77) each
    if device.type == "cuda" and not alone and ids:
        pieces = torch.cat(ids)
        filled = torch.cat([pieces, pieces[-1:].expand(-len(pieces) % TEXTS_AT_ONCE, -1)])
        states = [hidden_states(to_device(part, device)) for part in filled.split(TEXTS_AT_ONCE)]
        hidden = torch.cat(states)[: len(pieces)].split([len(piece) for piece in ids])
    else:
        hidden = tuple(hidden_states(to_device(piece, device)) for piece in ids)
    return [
        Prompts(
            state.flatten(0, 1)[:length],
            to_device(are_words(tokenizer, pieces.flatten()[:length]), device),
        )
        for state, (pieces, length) in zip(hidden, tokens, strict=True)
    ]


def are_words(tokenizer: Any, ids: Tensor) -> Tensor:
    """(L,) ids -> (L,) bool: letters or digits of the prompt."""
    special = set(tokenizer.all_special_ids)
    numbers = ids.tolist()
    texts = tokenizer.convert_ids_to_tokens(numbers)
    return torch.tensor(
        [
            number not in special and any(letter.isalnum() for letter in text)
            for number, text in zip(numbers, texts, strict=True)
        ]
    )


def word_positions(
    tokenizer: Any, prompt: str, spans: Sequence[tuple[int, int]], long_prompts: str
) -> list[list[int]]:
    """Of every ``prompt[start:end]``, the positions of its tokens in what ``encode`` gives."""
    limit = int(tokenizer.model_max_length)
    offsets = tokenizer(
        prompt,
        add_special_tokens=False,
        truncation=False,
        return_offsets_mapping=True,
        verbose=False,
    )["offset_mapping"]
    inner = limit - 2

    def position(token: int) -> int | None:
        if long_prompts == "chunk":
            return token // inner * limit + 1 + token % inner
        whole = long_prompts == "released" and len(prompt.split(" ")) > 70
        return token + 1 if whole or token < inner else None

    return [
        [place for token in tokens_within(offsets, *span) if (place := position(token)) is not None]
        for span in spans
    ]


def tokens_within(offsets: Sequence[tuple[int, int]], start: int, end: int) -> list[int]:
    """Numbers of the tokens that have a part of ``prompt[start:end]``.

    >>> tokens_within([(0, 0), (0, 3), (4, 7)], 4, 5)
    [2]
    """
    return [i for i, (first, last) in enumerate(offsets) if first < end and last > start]


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on the CPU -> on ``device``, without waiting for a GPU's queued work."""
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
