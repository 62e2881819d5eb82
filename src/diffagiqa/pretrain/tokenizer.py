"""A byte-level BPE in CLIP's own format, trained on the captions; any text is covered, byte by byte."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

START, END = "<|startoftext|>", "<|endoftext|>"
LENGTH = 77
# CLIP's split into words (openai/CLIP, simple_tokenizer.py): contractions, letters, digits, the rest.
_SPLIT = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)


def train_tokenizer(captions: Iterable[str], vocabulary: int, folder: Path) -> Any:
    """Learn the merges, write ``folder``, and return it as a transformers ``CLIPTokenizerFast``.

    The 256 bytes, each also as a word's end, come first, as in CLIP; then merges by frequency; the two
    special tokens last. Merges seen once are left out, so a small corpus gives fewer entries.
    """
    merges = learn_merges(captions, vocabulary - 514)
    alphabet = _alphabet()
    entries = alphabet + [letter + "</w>" for letter in alphabet]
    entries += ["".join(pair) for pair in merges]
    vocab = {entry: number for number, entry in enumerate(dict.fromkeys(entries))}
    for special in (START, END):
        vocab[special] = len(vocab)
    from transformers import CLIPTokenizerFast  # type: ignore[attr-defined]

    tokenizer = CLIPTokenizerFast(
        vocab=vocab,
        merges=merges,
        bos_token=START,
        eos_token=END,
        unk_token=END,
        pad_token=END,
        model_max_length=LENGTH,
    )
    tokenizer.save_pretrained(folder)
    return CLIPTokenizerFast.from_pretrained(folder)


def learn_merges(captions: Iterable[str], count: int) -> list[tuple[str, str]]:
    """The most frequent pairs, merged one after the other (Sennrich et al., 2016)."""
    from tokenizers import Regex, normalizers, pre_tokenizers

    normalise = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    split = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    words: dict[tuple[str, ...], int] = {}
    for caption in captions:
        for piece, _ in split.pre_tokenize_str(normalise.normalize_str(caption)):
            letters = (*piece[:-1], piece[-1] + "</w>")
            words[letters] = words.get(letters, 0) + 1
    merges: list[tuple[str, str]] = []
    while len(merges) < count:
        pairs: dict[tuple[str, str], int] = {}
        for letters, times in words.items():
            for pair in pairwise(letters):
                pairs[pair] = pairs.get(pair, 0) + times
        best = max(pairs, key=lambda pair: (pairs[pair], pair), default=None)
        if best is None or pairs[best] < 2:
            break
        merges.append(best)
        merged: dict[tuple[str, ...], int] = {}
        for letters, times in words.items():
            joined = _merge(letters, best)
            merged[joined] = merged.get(joined, 0) + times
        words = merged
    return merges


def _merge(letters: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    out, i = [], 0
    while i < len(letters):
        if letters[i : i + 2] == pair:
            out.append(pair[0] + pair[1])
            i += 2
        else:
            out.append(letters[i])
            i += 1
    return tuple(out)


def _alphabet() -> list[str]:
    """The printable stand-ins of the 256 bytes, in CLIP's order."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) for byte in plain] + [chr(256 + i) for i in range(len(others))]


def build_text_encoder(tokenizer: Any, width: int, layers: int, heads: int) -> Any:
    """An untrained transformers CLIPTextModel for this tokenizer; last hidden state (B, 77, width)."""
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        projection_dim=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = CLIPTextModel(config)
    model.set_attn_implementation("eager")  # its backward is the faster one on a CPU
    return model
