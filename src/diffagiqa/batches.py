"""Batches on a device: what goes there, what fits its memory, what comes back.

On a GPU only ``PendingScores.values`` waits for the work that is queued.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor

from diffagiqa import accel
from diffagiqa.accel.graphs import CudaGraphs
from diffagiqa.backbones.base import Backbone, Prompts
from diffagiqa.backbones.noise import Noise
from diffagiqa.device import (
    current_device,
    exact_float32,
    ran_out_of_memory,
    release_memory,
    without_autocast,
)
from diffagiqa.errors import DeviceError
from diffagiqa.model.scoring import DiffAGIQA, ModelOutput, mean_of, scoring_noise

GROW_AFTER = 64
"""Batches of the largest size that fitted, after which twice the size is tried again."""


def stack_on(images: Sequence[Tensor], device: torch.device) -> Tensor:
    """Images (3, H, W) of one size, on the CPU -> (B, 3, H, W) on ``device``, without waiting for it."""
    if device.type != "cuda" or images[0].is_cuda:
        return torch.stack(list(images)).to(device)
    pinned = torch.empty((len(images), *images[0].shape), dtype=images[0].dtype, pin_memory=True)
    return torch.stack(list(images), out=pinned).to(device, non_blocking=True)


class PendingScores:
    """Scores of one batch, on their way from the device."""

    def __init__(self, output: ModelOutput) -> None:
        self.tasks = list(output.scores)
        columns = [*output.scores.values()]
        if output.distance is not None:
            columns.append(output.distance)
        # (B, tasks and distance)
        table = torch.stack([column.float() for column in columns], dim=1)
        self._table = table.to("cpu", non_blocking=table.is_cuda)
        self._copied: torch.cuda.Event | None = None
        if table.is_cuda:
            self._copied = torch.cuda.Event()
            self._copied.record(torch.cuda.current_stream(table.device))

    def values(self) -> Iterator[tuple[dict[str, float], float]]:
        """Wait, then yield every image's scores by task and its distance (0 where the model has none)."""
        if self._copied is not None:
            self._copied.synchronize()
        for row in self._table.tolist():
            yield dict(zip(self.tasks, row, strict=False)), (*row, 0.0)[len(self.tasks)]


class BatchRunner:
    """Runs a model over images, on its backbone's device and within the memory there."""

    def __init__(self, model: DiffAGIQA, backbone: Backbone, seed: int) -> None:
        self.model = model
        self.backbone = backbone
        self.noises = lru_cache(maxsize=64)(partial(_noises, model, backbone, seed))
        """The configured draws for images of (H, W), on the device."""
        self.max_batch = sys.maxsize
        """Halved where a batch does not fit the memory, doubled when as many have fitted for long."""
        self._full_batches = 0
        self._graphs = CudaGraphs(self._forward)

    def __call__(self, images: Tensor, prompts: Prompts) -> ModelOutput:
        """(B, 3, H, W) on the device and B prompts -> their scores; a single image's by a CUDA graph."""
        single = images.is_cuda and len(images) == 1 and self.backbone.capturable
        single = single and not torch.is_grad_enabled()
        device = self.backbone.device
        # Trainers call their rewards within their own autocast, which is none of a score's business.
        with current_device(device), exact_float32(device), without_autocast(device):
            return (self._graphs if single and accel.enabled() else self._forward)(images, prompts)

    def intermediates(
        self, images: Tensor, prompts: Prompts, further: Sequence[str] = (), until: str = "scores"
    ) -> dict[str, list[Any]]:
        """What the forward pass makes on its way: the values of every stage up to ``until``, by stage.

        One value for each draw of noise from "features" on; ``DiffAGIQA.stages`` says what they are.
        """
        device, values = self.backbone.device, defaultdict(list)
        noises = self.noises(*images.shape[-2:])
        with current_device(device), exact_float32(device), without_autocast(device):
            for stage, value in self.model.stages(images, prompts, self.backbone, noises, further):
                values[stage].append(value)
                if stage == until and len(values[stage]) == len(noises):
                    break
        return values

    def with_prompts(self, image: Tensor, prompts: Sequence[Prompts]) -> list[dict[str, Tensor]]:
        """One image (1, 3, H, W) on the device and several prompts -> its scores with each, (1,) by task.

        The image is encoded once.
        """
        device, model, backbone = self.backbone.device, self.model, self.backbone
        noises, results = self.noises(*image.shape[-2:]), []
        with current_device(device), exact_float32(device), without_autocast(device):
            encoded = backbone.encode_image(model.prompt(image))
            for prompt in prompts:
                batch = Prompts.stack([prompt])
                draws = [model.features(encoded, batch, backbone, noise) for noise in noises]
                results.append(mean_of([model.score_features(features) for features in draws]))
        return results

    def launch(
        self, images: Sequence[Tensor], prompts: Sequence[Prompts]
    ) -> Callable[[], list[tuple[dict[str, float], float]]]:
        """Start scoring images of any sizes (3, H, W), on the CPU.

        Images of different sizes, and prompts of different token lengths, share no batch.

        Returns:
            A function that waits, and gives every image's scores by task and its distance, in order.

        Raises:
            DeviceError: a single image does not fit.
        """
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for row, (image, prompt) in enumerate(zip(images, prompts, strict=True)):
            by_shape.setdefault((len(prompt.text), *image.shape), []).append(row)
        pending: list[PendingScores] = []
        for rows in by_shape.values():
            pending += self._fitting([images[row] for row in rows], [prompts[row] for row in rows])

        def results() -> list[tuple[dict[str, float], float]]:
            rows = [row for rows in by_shape.values() for row in rows]
            values = [value for batch in pending for value in batch.values()]
            return [value for _, value in sorted(zip(rows, values, strict=True), key=itemgetter(0))]

        return results

    def _fitting(
        self, images: Sequence[Tensor], prompts: Sequence[Prompts]
    ) -> Iterator[PendingScores]:
        """Score images of one size in batches that fit the memory, in their order."""
        start = 0
        while start < len(images):
            batch = slice(start, min(start + self.max_batch, len(images)))
            output = self._try(images[batch], prompts[batch])
            count = batch.stop - start
            if output is None:
                if self.release():  # there is room now
                    continue
                # At most: another thread may have met the limit with a smaller batch meanwhile.
                self.max_batch, self._full_batches = max(1, min(self.max_batch, count // 2)), 0
                continue
            self._full_batches += count == self.max_batch
            if self._full_batches >= GROW_AFTER:  # two threads may have counted at once
                self.max_batch, self._full_batches = 2 * self.max_batch, 0
            yield PendingScores(output)
            start = batch.stop

    def _forward(self, images: Tensor, prompts: Prompts) -> ModelOutput:
        return self.model(images, prompts, self.backbone, self.noises(*images.shape[-2:]))  # type: ignore[no-any-return]

    def _try(self, images: Sequence[Tensor], prompts: Sequence[Prompts]) -> ModelOutput | None:
        """None where several images do not fit the memory."""
        device = self.backbone.device
        try:
            with current_device(device):  # page-locked memory is made in its context, too
                on_device = stack_on(images, device)
            return self(on_device, Prompts.stack(prompts))
        except (RuntimeError, MemoryError) as error:
            if not ran_out_of_memory(error):
                raise
            texts = self.backbone.text_encoders
            if len(images) == 1 and not (texts and texts.in_memory):
                height, width = images[0].shape[-2:]
                raise DeviceError(
                    f"one image of {width} x {height} pixels does not fit the free memory of {device}; "
                    "free some, or use another --device or --dtype bfloat16"
                ) from None
        return None

    def release(self) -> bool:
        """Give back the memory that is only kept for speed: CUDA graphs, text encoders, freed blocks.

        Whether there were text encoders, which from now on are read for every chunk's prompts alone.
        """
        self._graphs.clear()
        freed = self.backbone.free_text_encoders()
        if freed and self.backbone.text_encoders:
            self.backbone.text_encoders.keep_apart()
        release_memory(self.backbone.device)
        return freed


@torch.inference_mode(False)  # gradients may be wanted later, whoever calls this first
def _noises(
    model: DiffAGIQA, backbone: Backbone, seed: int, height: int, width: int
) -> list[Noise | None]:
    draws = scoring_noise(model.config, backbone, seed, (height, width))
    return [draw if draw is None else draw.to(backbone.device, torch.float32) for draw in draws]
