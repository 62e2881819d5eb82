"""Z-Image (one stream of image and text tokens, Apache-2.0) as a frozen backbone.

Of the transformers under that licence it is the one most used (FLUX.1 schnell next), diffusers has it
whole, and one text encoder, Qwen3, serves it without a limit of 77 tokens.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from diffagiqa.backbones.base import Defaults, Prompts
from diffagiqa.backbones.flow import (
    LATENTS,
    WORDS,
    FlowTransformer,
    as_map,
    as_row,
    attention_to_words,
)
from diffagiqa.backbones.mmdit import check_truncates
from diffagiqa.backbones.names import CONDITION, TEXT
from diffagiqa.backbones.text import tokens_within

TOKENS = 512
"""Most tokens of a prompt, the chat template's included."""
MULTIPLE = 32
"""Image and text tokens are each filled up to a multiple of this with a learnt token."""


class ZImage(FlowTransformer):
    """Z-Image or Z-Image-Turbo.

    ``Prompts.text`` (L, D): one row per token, rows of zeros are no tokens. Default blocks 4, 8, 12 and
    16, as DiNa-LRM's authors configure it for this backbone.
    """

    blocks = "layers"
    licence = "Apache-2.0"
    defaults = Defaults(
        tuple(f"layers.{i}" for i in (3, 7, 11, 15)), image_size=1024, fit="native", timestep=100
    )

    @property
    def longest_side(self) -> int:  # type: ignore[override]
        """As far as its positions go: 8192 pixels."""
        return self.side_multiple * int(min(self.transformer.config.axes_lens[1:]))

    @property
    def width(self) -> int:
        return int(self.transformer.config.dim)

    @property
    def condition_width(self) -> int:
        return int(self.transformer.t_embedder.mlp[-1].out_features)

    def walk(
        self, latents: Tensor, prompts: Prompts, sigma: float, words: Collection[str] = ()
    ) -> Iterator[tuple[str, Tensor]]:
        network, dtype = self.transformer, self.dtype
        yield LATENTS, latents
        height, width = (side // 2 for side in latents.shape[-2:])
        # This model counts time from noise (0) to image (1).
        time = torch.full((len(latents),), 1 - sigma, device=latents.device)
        condition = network.t_embedder(time * network.t_scale).to(dtype)
        yield CONDITION, condition[:, :, None, None]

        tokens = prompts.text.to(dtype)
        tokens = F.pad(tokens, (0, 0, 0, -tokens.shape[1] % MULTIPLE))
        is_word = (tokens != 0).any(-1)  # (B,L)
        lengths = is_word.sum(1)
        filled = (lengths + MULTIPLE - 1) // MULTIPLE * MULTIPLE  # (B,)
        attended = torch.arange(tokens.shape[1], device=tokens.device) < filled[:, None]  # (B,L)
        rotation = _Rotations(network.rope_embedder, filled, height, width)

        count = height * width
        image = network.all_x_embedder["2-1"](_patches(latents.to(dtype)))  # (B,N,C)
        image = torch.cat(
            [image, network.x_pad_token.expand(len(image), -count % MULTIPLE, -1)], dim=1
        )
        around = rotation.of_image()
        for layer in network.noise_refiner:
            image = self.run(layer, image, None, around, condition)
        text = network.cap_embedder(tokens)
        text = torch.where(is_word[:, :, None], text, network.cap_pad_token)
        along = rotation.of_text(tokens.shape[1])
        whole = bool(attended.all())
        for layer in network.context_refiner:
            text = self.run(layer, text, None if whole else attended, along)

        joint = torch.cat([image, text], dim=1)
        rotations = torch.cat([around, along], dim=1)
        mask = None if whole else F.pad(attended, (image.shape[1], 0), value=True)
        for i, layer in enumerate(network.layers):
            if (name := f"{self.blocks}.{i}{WORDS}") in words:
                seen = _words_seen(layer, joint, rotations, condition, image.shape[1], attended)
                yield name, as_map(seen[:, :count], height, width)
            joint = self.run(layer, joint, mask, rotations, condition)
            yield f"{self.blocks}.{i}", as_map(joint[:, :count], height, width)
            after = joint[:, image.shape[1] :]
            yield f"{self.blocks}.{i}{TEXT}", as_row(after * attended[:, :, None])

    @torch.no_grad()
    def encode_prompts(
        self, prompts: Sequence[str], long_prompts: str = "truncate"
    ) -> list[Prompts]:
        """Hidden states before Qwen3's last layer, filled up with zeros, (32k, D) each, 512 at most.

        The prompt stands in the chat template, as in the pipeline.
        """
        check_truncates(long_prompts, "Z-Image reads 512 tokens")
        ((tokenizer, network),) = self.text_encoders.loaded(self.device)
        return [self._encode(tokenizer, network, prompt) for prompt in prompts]

    def _encode(self, tokenizer: Any, network: Any, prompt: str) -> Prompts:
        tokens, offsets = _chat(tokenizer, prompt)
        ids = torch.tensor([tokens], device=self.device)
        states = network(input_ids=ids, output_hidden_states=True).hidden_states[-2][0]  # (L,D)
        words = [
            0 <= first < last <= len(prompt)
            and any(letter.isalnum() for letter in prompt[first:last])
            for first, last in offsets
        ]
        fill = -len(states) % MULTIPLE
        return Prompts(
            F.pad(states, (0, 0, 0, fill)),
            F.pad(torch.tensor(words, device=self.device), (0, fill)),
        )

    def word_positions(
        self, prompt: str, spans: Sequence[tuple[int, int]], long_prompts: str = "truncate"
    ) -> list[list[int]]:
        _, offsets = _chat(self.text_encoders.tokenizers[0], prompt)
        return [tokens_within(offsets, *span) for span in spans]

    def no_text(self, length: int | None = None) -> Prompts:
        empty = self.empty_prompt()
        fill = (length or 0) - len(empty.text)
        if fill <= 0:
            return empty
        return Prompts(F.pad(empty.text, (0, 0, 0, fill)), F.pad(empty.words, (0, fill)))


def _chat(tokenizer: Any, prompt: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Ids of the prompt in the chat template, and where each token's letters are in the prompt."""
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}],
        tokenize=False,
        add_generation_prompt=True,
        enable_thinking=True,
    )
    tokens = tokenizer(chat, max_length=TOKENS, truncation=True, return_offsets_mapping=True)
    start = chat.find(prompt) if prompt else len(chat)
    return tokens["input_ids"], [(a - start, b - start) for a, b in tokens["offset_mapping"]]


def _words_seen(
    layer: Any, joint: Tensor, rotations: Tensor, condition: Tensor, count: int, words: Tensor
) -> Tensor:
    """(B, N + L, C) -> how much a block's N image positions look at its L text tokens, (B, N, L)."""
    attention = layer.attention
    scale = layer.adaLN_modulation(condition).unsqueeze(1).chunk(4, dim=2)[0]  # (B,1,C)
    tokens = layer.attention_norm1(joint) * (1 + scale)

    def heads(project: Any, norm: Any, part: slice) -> Tensor:
        split = project(tokens[:, part]).unflatten(2, (attention.heads, -1))
        split = split if norm is None else norm(split)
        turned = torch.view_as_complex(split.float().unflatten(3, (-1, 2)))
        return torch.view_as_real(turned * rotations[:, part, None]).flatten(3)

    query = heads(attention.to_q, attention.norm_q, slice(None, count))
    key = heads(attention.to_k, attention.norm_k, slice(count, None))
    return attention_to_words(query, key, words)


class _Rotations:
    """Rotary embeddings of positions (frame, row, column): text along the frames, then the image."""

    def __init__(self, embedder: Any, filled: Tensor, height: int, width: int) -> None:
        self._embedder = embedder
        self._filled = filled  # (B,)
        self._height, self._width = height, width

    def of_image(self) -> Tensor:
        """(B, N, D / 2), complex; padding stands at (0, 0, 0)."""
        device = self._filled.device
        rows, columns = torch.meshgrid(
            torch.arange(self._height, device=device),
            torch.arange(self._width, device=device),
            indexing="ij",
        )
        frame = (self._filled + 1)[:, None].expand(-1, rows.numel())
        positions = torch.stack(
            [frame, rows.flatten().expand_as(frame), columns.flatten().expand_as(frame)], dim=-1
        )
        return self._of(F.pad(positions, (0, 0, 0, -rows.numel() % MULTIPLE)))

    def of_text(self, length: int) -> Tensor:
        """(B, L, D / 2), complex."""
        frame = torch.arange(1, length + 1, device=self._filled.device)
        positions = F.pad(frame[:, None], (0, 2))
        return self._of(positions.expand(len(self._filled), -1, -1))

    def _of(self, positions: Tensor) -> Tensor:
        batch, length, axes = positions.shape
        return self._embedder(positions.reshape(-1, axes)).unflatten(0, (batch, length))  # type: ignore[no-any-return]


def _patches(latents: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, hw / 4, 4C), by row, column, channel within a patch of 2 x 2."""
    batch, channels, height, width = latents.shape
    split = latents.reshape(batch, channels, height // 2, 2, width // 2, 2)
    return split.permute(0, 2, 4, 3, 5, 1).reshape(batch, height * width // 4, 4 * channels)
