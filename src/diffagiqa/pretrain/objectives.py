"""Side tasks of the denoiser: name a synthetic defect and its severity; find the crop of the same
picture; say of every word of a caption whether it is shown.

They read what the scorer will read: the GEGLU outputs of chosen transformer layers, through linear heads
that are thrown away after training, and the products inside chosen cross-attentions, through nothing.
The defects are this file's own; no human rating is used.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffagiqa.model.evidence import evidence, queries_and_keys
from diffagiqa.pretrain.loop import Losses
from diffagiqa.pretrain.word_labels import UNKNOWN, Tokens, WordLabels, attribute_values, base_rates

DEFECTS = ("none", "blur", "noise", "jpeg", "low detail", "colour", "ghost", "checkerboard")


def damage(
    image: np.ndarray, kind: int, severity: float, generator: np.random.Generator
) -> np.ndarray:
    """uint8 (H, W, 3) -> the same with defect ``DEFECTS[kind]`` at ``severity`` in (0, 1]; 0 = none."""
    from PIL import Image, ImageFilter

    name = DEFECTS[kind]
    if name == "none" or severity <= 0:
        return image
    height, width = image.shape[:2]
    picture = Image.fromarray(np.ascontiguousarray(image))
    if name == "blur":
        return np.asarray(picture.filter(ImageFilter.GaussianBlur(0.4 + 3.6 * severity)))
    if name == "jpeg":
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=round(45 - 40 * severity))
        return np.asarray(Image.open(file))
    if name == "low detail":
        small = (
            max(4, round(width / (1.3 + 4 * severity))),
            max(4, round(height / (1.3 + 4 * severity))),
        )
        again = picture.resize(small, Image.Resampling.BOX).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        return np.asarray(again)
    values: Any = image.astype(np.float32)
    if name == "noise":
        values = values + generator.normal(0, 4 + 40 * severity, image.shape)
    elif name == "colour":
        grey = values.mean(2, keepdims=True)
        cast = generator.uniform(-50, 50, 3) * severity
        values = grey + (values - grey) * (1 + generator.choice([-0.9, 2.0]) * severity) + cast
    elif name == "ghost":
        shift = generator.integers(3, 4 + int(12 * severity), size=2) * generator.choice([-1, 1], 2)
        moved = np.roll(values, tuple(int(s) for s in shift), (0, 1))
        values = values + (0.15 + 0.35 * severity) * (moved - values)
    else:
        rows, columns = np.indices((height, width)) // 2
        values = values + (4 + 24 * severity) * np.where((rows + columns) % 2, 1, -1)[..., None]
    return np.clip(values, 0, 255).astype(np.uint8)


KEY_SCALE = 8.0
"""Of the learnt keys of ``attribute_values``: as long as those that the text encoder gives at first."""


class Taps:
    """What the side tasks read of the U-Net, taken inside its own forward pass."""

    def __init__(self, unet: Any, tapped: Sequence[str], words: Sequence[str]) -> None:
        blocks = [unet.get_submodule(name).transformer_blocks[0] for name in tapped]
        attentions = [unet.get_submodule(name).transformer_blocks[0].attn2 for name in words]
        self.widths = [block.ff.net[0].proj.out_features for block in blocks]  # half, twice pooled
        self.compared = [attention.to_q.out_features for attention in attentions]
        self.pooled: list[Tensor] = []
        """Mean and spread over positions of the GEGLU outputs, one (B, 2C) per layer of ``tapped``."""
        self.words: list[tuple[Tensor, Tensor]] = []
        """Queries (B, HW, E) and keys (B, L, E) of the cross-attention, of each layer of ``words``."""
        # Registered once: a compiled U-Net is compiled again whenever its hooks change.
        self.handles = [block.ff.net[0].register_forward_hook(self._take) for block in blocks]
        self.handles += [
            attention.register_forward_hook(self._weigh, with_kwargs=True)
            for attention in attentions
        ]

    def clear(self) -> None:
        """Drop what one forward pass left, before the next."""
        self.pooled.clear()
        self.words.clear()

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()

    def _take(self, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
        values = output.float()  # (B, HW, C)
        spread = (values.var(1, correction=0) + 1e-6).sqrt()  # no NaN from a map of one place
        self.pooled.append(torch.cat([values.mean(1), spread], dim=1))

    def _weigh(self, attention: nn.Module, inputs: Any, named: Any, _output: Tensor) -> None:
        text = named["encoder_hidden_states"]
        self.words.append(queries_and_keys(attention, inputs[0], text))


class SideHeads(nn.Module):
    """Linear heads on the pooled layers, thrown away after training.

    Each layer names defect and severity on its own; the embedding of a look reads all of them.
    """

    def __init__(
        self, widths: Sequence[int], compared: Sequence[int], embedding: int = 128
    ) -> None:
        super().__init__()
        outputs = len(DEFECTS) + 1  # kind, severity
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in widths)
        self.heads = nn.ModuleList(nn.Linear(width, outputs) for width in widths)
        self.look = nn.Linear(sum(widths), embedding)
        self.values = nn.ParameterList(
            nn.Parameter(torch.randn(len(attribute_values()), width) / width**0.5)
            for width in compared
        )
        """Per layer of ``words``, what a key would be for each of ``attribute_values``."""

    def forward(self, pooled: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Layers of (B, 2C) -> (layers, B, kinds + 1), and looks (B, E) of length 1."""
        normed = [norm(values) for norm, values in zip(self.norms, pooled, strict=True)]
        rows = torch.stack([head(v) for head, v in zip(self.heads, normed, strict=True)])
        return rows, F.normalize(self.look(torch.cat(normed, dim=1)), dim=1)


def defect_loss(rows: Tensor, kinds: Tensor, severities: Tensor) -> Tensor:
    """Cross-entropy of the kind plus squared error of the severity, mean over layers and samples."""
    layers = rows.shape[0]
    logits = rows[..., : len(DEFECTS)].flatten(0, 1)
    named = F.cross_entropy(logits, kinds.repeat(layers))
    strong = F.mse_loss(rows[..., len(DEFECTS)].sigmoid(), severities.expand(layers, -1))
    return named + 4 * strong


def words_loss(
    compared: Sequence[tuple[Tensor, Tensor]],
    values: Sequence[Tensor],
    tokens: Tokens,
    labels: WordLabels,
    pictures: Tensor,
) -> Losses:
    """Is a word shown? Scalars "words", "seen", "named", and "wrong", a share of errors.

    ``compared``: queries (B, HW, E) and keys (B, L, E) per layer; ``values``: (V, E) per layer;
    ``pictures`` (P,): numbers in the batch of those that ``labels`` speaks of.

    * words: every picture answers for the claiming tokens of all captions, the one it was given and the
      others. Binary cross-entropy of the evidence; true and false weigh the same, among the given ones
      together, among the others by value: guessing gives log 2. "wrong" is of the given ones.
    * seen: the same for learnt keys of all ``attribute_values``, so that seeing need not wait for
      the text encoder.
    * named: a token's key picks its value among the learnt ones, so that the text need not wait either.
    """
    device = compared[0][0].device
    wanted = labels.spans.to(device)[:, tokens.spans.to(device)]  # (P, T)
    own = tokens.captions.to(device)[None] == pictures[:, None]
    value = labels.values.to(device)[tokens.spans.to(device)]  # (T,)
    # The last stands for UNKNOWN, -1: the words of real captions.
    rates = torch.tensor([*base_rates(), 0.1], device=device)
    words, seen, named, wrong = [], [], [], []
    for (queries, keys), known in zip(compared, values, strict=True):
        places, chosen = queries[pictures], keys[tokens.captions, tokens.places]  # (P,HW,E), (T,E)
        found = evidence(places, chosen)  # (P, T)
        words.append(_balanced(found[own], wanted[own]))
        words.append(_weighed(found, wanted.masked_fill(own, UNKNOWN), rates[value]))
        wrong.append(_errors(found[own], wanted[own]))
        learnt = (KEY_SCALE * known).to(places.dtype)
        seen.append(_weighed(evidence(places, learnt), labels.attributes.to(device), rates[:-1]))
        sure = value != UNKNOWN
        if bool(sure.any()):
            named.append(F.cross_entropy(chosen[sure].float() @ known.T, value[sure]))
    means = {"words": words, "seen": seen, "named": named or words, "wrong": wrong}
    return {name: torch.stack(list(parts)).mean() for name, parts in means.items()}


def _sides(found: Tensor, truth: Tensor) -> list[Tensor]:
    """Logits (N,) of what is true, and those of what is false negated: above 0 is right. Empty ones left
    out, and what is ``UNKNOWN``."""
    sides = (found[truth == 1], -found[truth == 0])
    return [side for side in sides if side.numel()]


def _balanced(found: Tensor, truth: Tensor) -> Tensor:
    """Binary cross-entropy of logits (N,) with 1, 0 or ``UNKNOWN``; true and false weigh the same."""
    parts = [F.softplus(-side).mean() for side in _sides(found, truth)]
    return torch.stack(parts).mean() if parts else found.sum() * 0


def _weighed(found: Tensor, truth: Tensor, rates: Tensor) -> Tensor:
    """Binary cross-entropy of logits (P, N) with 1, 0 or ``UNKNOWN``, each column weighed by how often
    it is true, (N,): knowing that and nothing of the picture gives log 2, as guessing does."""
    weight = torch.where(truth == 1, 0.5 / rates, 0.5 / (1 - rates)).clamp(max=20.0)
    weight = weight * (truth != UNKNOWN)
    losses = F.binary_cross_entropy_with_logits(
        found, (truth == 1).float(), weight, reduction="sum"
    )
    return losses / (truth != UNKNOWN).sum().clamp(min=1)


def _errors(found: Tensor, truth: Tensor) -> Tensor:
    """Share of answers on the wrong side, true and false weighing the same; 0.5 by guessing."""
    parts = [(side <= 0).float().mean() for side in _sides(found.detach(), truth)]
    return torch.stack(parts).mean() if parts else found.new_tensor(0.5)


def pair_loss(looks: Tensor, temperature: float = 0.1) -> Tensor:
    """Rows 2i and 2i + 1 are crops of one picture with one damage: each finds the other (NT-Xent).

    Chen et al., 2020; with damage as part of the identity, Madhusudana et al., 2022 (CONTRIQUE).
    """
    if len(looks) < 4:
        return looks.sum() * 0
    similarity = looks @ looks.T / temperature
    similarity = similarity.masked_fill(
        torch.eye(len(looks), dtype=torch.bool, device=looks.device), float("-inf")
    )
    partner = torch.arange(len(looks), device=looks.device) ^ 1
    return F.cross_entropy(similarity, partner)
