"""The default's frozen part: EfficientNet-Lite0 for the image, MiniLM for the prompt.

Not a diffusion model: it takes no noise. Its feature maps are the image network's stages at two scales
and how well positions and image fit the prompt and its words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from diffagiqa.backbones.base import Backbone, Defaults, Encoded, Prompts
from diffagiqa.backbones.efficientnet import CHANNELS, HEAD, MULTIPLE, STEM, EfficientNetLite
from diffagiqa.backbones.minilm import MiniLM, from_bert
from diffagiqa.backbones.noise import Noise
from diffagiqa.backbones.prompt_fit import WAYS, WORD_STATISTICS, PromptFit, word_statistics
from diffagiqa.backbones.tensors import read_tensors
from diffagiqa.data.samples import reason_of
from diffagiqa.errors import BackboneError

SCALES = ("whole", "detail")
STAGES = tuple(f"{scale}.{stage}" for scale in SCALES for stage in CHANNELS if stage != STEM)
"""What ``encode_image`` returns, in order. The stem's maps are large and say little."""
WHOLE_SIZE = 224
"""Root of the area of the small copy in pixels: what the image network was trained on."""
GRID = 4
"""Cells per side within which ``.std`` features deviate."""
FIT = {
    "fit.prompt": WAYS,
    "fit.words": WAYS * WORD_STATISTICS,
    "fit.whole": WAYS,
    "fit.detail": WAYS,
}
"""Channels of the maps of fit."""
EACH_WORD = "fit.each_word"
"""Cosines of every position with every row of ``Prompts.text``, (B, L, h, w)."""
MOST_TOKENS = 256
"""Of a prompt: MiniLM was trained on texts up to this length."""
ROWS = 16
"""``Prompts.text`` has a multiple of this many rows, so that most prompts share a batch."""
# Grammar only: leaving these out says nothing about the image.
FUNCTION_WORDS = frozenset(
    {"a", "an", "the", "of", "and", "with", "is", "are", "that", "this", "there", "it", "its", "to",
     "at", "by", "for", "from", "as", "or", "be", "has", "having"}
)  # fmt: skip
_WORD = re.compile(r"[^\W_]+(?:['\u2019\-][^\W_]+)*")


class CompactBackbone(Backbone):
    """Two small networks and the space in which they meet."""

    side_multiple = MULTIPLE
    has_windows = True
    defaults = Defaults(
        features=("whole.7", "detail.3", "detail.5", "detail.7", "fit.prompt", "fit.words"),
        fit="native",
    )

    def __init__(
        self,
        *,
        image: EfficientNetLite,
        text_encoder: MiniLM,
        tokenizer: Any,
        fit: PromptFit,
        name: str = "",
    ) -> None:
        """``tokenizer``: a ``tokenizers.Tokenizer``."""
        super().__init__(name)
        self.image = image.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.text_encoder = text_encoder
        self.tokenizer = tokenizer
        tokenizer.no_padding()  # the file's own rules are for batches of sentences
        tokenizer.no_truncation()
        self.fit = fit
        self._embed_once = lru_cache(maxsize=4096)(self._embed)
        self.freeze()

    def feature_names(self) -> list[str]:
        """``whole.1``, ``whole.2`` ... ``whole.head``, each with ``.std``; ``detail.*``; ``fit.*``."""
        return [name for stage in STAGES for name in (stage, f"{stage}.std")] + list(FIT)

    def feature_channels(self, names: Sequence[str]) -> tuple[int, ...]:
        """Channels of the named features. Raises ``ConfigError`` for a name that it lacks."""
        self.check_names(names)
        return tuple(FIT[name] if name in FIT else CHANNELS[name.split(".")[1]] for name in names)

    def latent_shape(self, height: int, width: int) -> None:
        """None: it takes no noise."""
        return None

    def encode_prompts(
        self, prompts: Sequence[str], long_prompts: str = "truncate"
    ) -> list[Prompts]:
        """Every prompt by itself: one row per word, encoded alone, and the whole as ``pooled``.

        Prompts over 256 tokens are cut there, or with another rule than "truncate" encoded in
        pieces whose mean is taken.
        """
        return [self._encode_prompt(prompt, long_prompts) for prompt in prompts]

    def _encode_prompt(self, prompt: str, long_prompts: str) -> Prompts:
        spans = word_spans(prompt)
        rows = max(1, -(-len(spans) // ROWS)) * ROWS
        weight = self.fit.text_mean
        text = weight.new_zeros(rows, weight.shape[0])
        words = torch.zeros(rows, dtype=torch.bool)
        for row, (start, end) in enumerate(spans):
            word = prompt[start:end].lower()
            text[row] = self._cached(word, "truncate")
            words[row] = word not in FUNCTION_WORDS
        pooled = self._cached(prompt, long_prompts) if spans else torch.zeros_like(weight)
        return Prompts(text, words.to(text.device), pooled)

    def _cached(self, text: str, long_prompts: str) -> Tensor:
        return self._embed_once(text, long_prompts).to(self.device, self.dtype)

    @torch.inference_mode(False)
    @torch.no_grad()
    def _embed(self, text: str, long_prompts: str) -> Tensor:
        """The mean of MiniLM's last hidden states, unit length, (384,), on the CPU."""
        ids = self.tokenizer.encode(text).ids  # between [CLS] and [SEP]
        inner = MOST_TOKENS - 2
        pieces = [ids[1:-1][i : i + inner] for i in range(0, max(1, len(ids) - 2), inner)]
        if long_prompts == "truncate":
            pieces = pieces[:1]
        states = [
            self.text_encoder(torch.tensor([[ids[0], *piece, ids[-1]]], device=self.device))[0]
            for piece in pieces
        ]
        return F.normalize(torch.cat(states).mean(0), dim=0).cpu()

    def no_text(self, length: int | None = None) -> Prompts:
        """The empty prompt: zeros, for which every map of fit is zero."""
        mean, length = self.fit.text_mean, length or ROWS
        words = torch.zeros(length, dtype=torch.bool, device=mean.device)
        return Prompts(mean.new_zeros(length, mean.shape[0]), words, torch.zeros_like(mean))

    def encode_image(self, images: Tensor) -> Encoded:
        """(B, 3, H, W) about [-1, 1], sides multiples of 32 -> the stages' maps, whole then detail.

        ``whole`` is the image made smaller, to about 224x224 pixels in all; ``detail`` the image as it
        is. On a CPU images pass one by one, which is no slower and keeps their maps in the cache.
        """
        images = images.to(self.dtype)
        small = F.interpolate(
            images, whole_size(*images.shape[2:]), mode="bilinear", antialias=True
        )
        one_by_one = images.device.type == "cpu" and not torch.is_grad_enabled()
        maps: list[Tensor] = []
        for batch in (small, images):
            pieces = batch.split(1 if one_by_one else len(batch))
            passes = [self.image(_channels_last(piece)) for piece in pieces]
            for stage in (name for name in CHANNELS if name != STEM):
                parts = [named[stage] for named in passes]
                maps.append(parts[0] if len(parts) == 1 else torch.cat(parts))
        return tuple(maps)

    def crop(self, encoded: Encoded, top: float, left: float, share: float) -> Encoded:
        """The maps of windows of the images; but their edges have seen what lies beyond."""
        parts = []
        for maps in encoded:
            sides = maps.shape[2:]
            high, wide = (max(1, round(share * side)) for side in sides)
            row = min(round(top * sides[0]), sides[0] - high)
            column = min(round(left * sides[1]), sides[1] - wide)
            parts.append(maps[:, :, row : row + high, column : column + wide])
        return tuple(parts)

    def features(
        self,
        encoded: Encoded,
        prompts: Prompts,
        noise: Noise | None,
        timestep: int,
        names: Sequence[str],
    ) -> dict[str, Tensor]:
        """Named maps (B, C, h, w) in the order of ``names``; ``noise`` and ``timestep`` are not used.

        ``detail.5``: stage 5 of the image at its own size. ``detail.5.std``: its standard deviation
        within each cell of a 4x4 grid. ``fit.prompt``: cosines of image and prompt, (B, 2, 1, 1).
        ``fit.words``: mean, lowest, highest and deviation of the cosines of image and words,
        (B, 8, 1, 1). ``fit.whole``, ``fit.detail``: cosines of positions and prompt, (B, 2, h, w).
        """
        self.check_names([name for name in names if name != EACH_WORD])
        stages = dict(zip(STAGES, encoded, strict=True))
        found: dict[str, Tensor] = {}
        for name in names:
            if name in FIT or name == EACH_WORD:
                found[name] = self._fit(name, stages, prompts)
            elif name.endswith(".std"):
                found[name] = deviation_within(stages[name.removesuffix(".std")])
            else:
                found[name] = stages[name]
        return found

    def word_features(self, names: Sequence[str]) -> tuple[str, ...]:
        """Fit of every position with every word."""
        return (EACH_WORD,)

    def word_positions(
        self, prompt: str, spans: Sequence[tuple[int, int]], long_prompts: str = "truncate"
    ) -> list[list[int]]:
        """Of every ``prompt[start:end]``, its rows of ``Prompts.text``; empty beyond 256 words."""
        rows = list(enumerate(word_spans(prompt)))
        return [[row for row, (a, b) in rows if a < end and b > start] for start, end in spans]

    def _fit(self, name: str, stages: dict[str, Tensor], prompts: Prompts) -> Tensor:
        whole, detail = stages[f"whole.{HEAD}"], stages[f"detail.{HEAD}"]
        if name == EACH_WORD:
            spots = F.normalize(self.fit.positions(detail, "detail").mean(1), dim=1)  # (B,384,h,w)
            return torch.einsum("bchw,blc->blhw", spots, self.fit.words(prompts.text))
        assert prompts.pooled is not None
        sentence = self.fit.sentence(prompts.pooled)  # (B,384)
        if name in ("fit.whole", "fit.detail"):
            scale = name.split(".")[1]
            spots = self.fit.positions(whole if scale == "whole" else detail, scale)
            return torch.einsum("bvchw,bc->bvhw", spots, sentence)
        image = self.fit.image(whole, detail)  # (B,2,384)
        if name == "fit.prompt":
            return torch.einsum("bvc,bc->bv", image, sentence)[:, :, None, None]
        cosines = torch.einsum("bvc,blc->bvl", image, self.fit.words(prompts.text))
        return word_statistics(cosines, prompts.words)[:, :, None, None]


def whole_size(height: int, width: int) -> tuple[int, int]:
    """Size of the small copy: the same shape, about 224x224 pixels, multiples of 32, not enlarged.

    >>> whole_size(512, 512), whole_size(288, 896), whole_size(64, 128)
    ((224, 224), (128, 384), (64, 128))
    """
    shrunk = min(1.0, WHOLE_SIZE / (height * width) ** 0.5)
    first, second = (max(1, round(side * shrunk / MULTIPLE)) * MULTIPLE for side in (height, width))
    return min(first, height), min(second, width)


def word_spans(prompt: str) -> list[tuple[int, int]]:
    """Where the words of a prompt are, one per row of ``Prompts.text``; at most 256.

    >>> word_spans("a red-hot fox's den")
    [(0, 1), (2, 9), (10, 15), (16, 19)]
    """
    return [match.span() for match in _WORD.finditer(prompt)][:MOST_TOKENS]


def deviation_within(maps: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, C, 4, 4): standard deviation over the positions of each cell of a 4x4 grid."""
    mean = F.adaptive_avg_pool2d(maps, GRID)
    square = F.adaptive_avg_pool2d(maps.square(), GRID)
    return ((square - mean.square()).clamp(min=0) + 1e-4).sqrt()


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def load_compact(
    folder: Path,
    features: Sequence[str] | None = None,
    *,
    name: str = "",
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    untrained: bool = False,
) -> CompactBackbone:
    """Read a folder as research/build_compact.py and build_fit.py write it.

    ``features`` is not used: all are cheap. On a CPU the weights are float32 at least, since lower
    precision is no faster for networks of this size. ``untrained``: leave the maps of fit unset.
    Raises ``BackboneError`` naming what is missing.
    """
    from tokenizers import Tokenizer

    if torch.device(device).type == "cpu" and dtype != torch.float64:
        dtype = torch.float32
    image, text, fit = EfficientNetLite(), MiniLM(), PromptFit()
    try:
        tokenizer = Tokenizer.from_file(str(folder / "text" / "tokenizer.json"))
        image.load_state_dict(dict(read_tensors(folder / "image.safetensors", dtype)))
        weights = dict(read_tensors(folder / "text" / "model.safetensors", dtype))
        text.load_state_dict(from_bert(weights), assign=True)
        if not untrained:
            fit.load_state_dict(dict(read_tensors(folder / "fit.safetensors", dtype)))
    except Exception as error:  # the files may be anybody's
        raise BackboneError(
            f"the backbone in {folder} cannot be loaded ({reason_of(error)}); expected "
            "image.safetensors, fit.safetensors and text/ as research/build_compact.py writes them"
        ) from None
    backbone = CompactBackbone(
        image=image, text_encoder=text, tokenizer=tokenizer, fit=fit, name=name
    )
    return backbone.to(device, dtype)
