"""Images and prompts -> scores (over 400 lines: half are docstrings of the one public class)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffagiqa import checks
from diffagiqa.accel import accelerate
from diffagiqa.backbones.base import Backbone, Prompts
from diffagiqa.backbones.folder import load_backbone
from diffagiqa.backbones.prompt_store import PromptStore
from diffagiqa.batches import BatchRunner
from diffagiqa.data.images import DEFAULT_LIMITS, ImageLimits, check_batch, decode_image, fit_image
from diffagiqa.data.prompts import clean_prompt, prompt_per_image
from diffagiqa.device import (
    choose_device,
    choose_dtype,
    default_batch_size,
)
from diffagiqa.errors import (
    ConfigError,
    DiffAGIQAError,
    ImageError,
    PromptError,
)
from diffagiqa.model.config import ModelConfig, shares_of
from diffagiqa.model.scoring import DiffAGIQA, build_model
from diffagiqa.overlap import in_order
from diffagiqa.pretrained import (
    copy_model_files,
    load_model,
    load_pretrained,
    locate,
    named_backbone,
    save_model,
)
from diffagiqa.prompt_encoding import PromptEncoder

RowError = ImageError | PromptError


@dataclass(frozen=True)
class Score:
    """The scores of one image; ``score["perception"]`` is ``score.scores["perception"]``."""

    scores: Mapping[str, float]
    """Score by task, in [0, 1]; NaN for one that is about the prompt, where there is none."""
    mos: Mapping[str, float]
    """The same on the scale of the ratings that the model was trained on (``TaskConfig``)."""
    unfamiliar: str = ""
    """What is unlike the training data, so that the scores mean little: "image", "size" (smaller than
    the smallest trained on), "image+size" or "". Always "" for models that do not know their
    training data."""

    def __getitem__(self, task: str) -> float:
        return self.scores[task]


class Scorer:
    """A trained model with its frozen backbone, ready to score images.

    A score is a function of (image, prompt, weights, seed, noise draws): it does not depend on the
    batch, the order or other images. Safe to call from several threads.

    >>> scorer = Scorer.from_pretrained("models/sd15-agiqa3k")            # doctest: +SKIP
    >>> scorer("fox.png", "a red fox in a green suit")["perception"]      # doctest: +SKIP
    0.71
    """

    def __init__(
        self,
        model: DiffAGIQA,
        backbone: Backbone,
        *,
        seed: int = 0,
        batch_size: int | None = None,
        limits: ImageLimits = DEFAULT_LIMITS,
        fingerprint: str = "",
        saved_in: Path | None = None,
        loader: Callable[[], Scorer] | None = None,
        prompt_store: PromptStore | None = None,
    ) -> None:
        """Wrap a model built in memory; ``from_pretrained`` loads one.

        Args:
            model: the trained parts.
            backbone: the frozen diffusion model; its device is the scorer's.
            seed: of the noise, 0 or more.
            batch_size: images per pass, halved when memory runs out; default: 8, on CUDA 32.
            limits: largest file and image accepted.
            fingerprint: identifies the weights in results.
            saved_in: the model's folder, needed for saving where ``model`` has been folded.
            loader: makes the same scorer in another process.
            prompt_store: keeps encoded prompts on disk.

        Raises:
            ConfigError: an argument is not as expected.
        """
        checks.instance("model", model, DiffAGIQA, "a DiffAGIQA, as build_model makes it")
        checks.instance("backbone", backbone, Backbone, "a Backbone, as load_backbone reads it")
        self.saved_in = saved_in
        self._loader = loader
        self.model = model.to(backbone.device).eval().requires_grad_(False)
        self.backbone = backbone
        self._seed = checks.whole("seed", seed)
        if batch_size is None:
            batch_size = default_batch_size(backbone.device)
        self.batch_size = checks.whole("batch_size", batch_size, 1)
        self.limits = checks.instance("limits", limits, ImageLimits, "an ImageLimits")
        self.fingerprint = fingerprint
        self.runner = BatchRunner(self.model, backbone, self._seed)
        self.prompts = PromptEncoder(backbone, self.config, prompt_store)
        """Cleaned prompts -> encoded prompts."""

    @classmethod
    @torch.inference_mode(False)
    def from_pretrained(
        cls,
        name_or_path: str | Path | None = None,
        *,
        backbone: str | None = None,
        revision: str | None = None,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        seed: int = 0,
        batch_size: int | None = None,
        limits: ImageLimits = DEFAULT_LIMITS,
        noise_draws: int | None = None,
        timesteps: Sequence[int] | None = None,
        offload: bool = False,
        prompt_cache: str | Path | None = None,
    ) -> Scorer:
        """Load a trained model; without arguments, the one in the package.

        Args:
            name_or_path: model folder or hub id.
            backbone: folder or hub id to use instead of the configured backbone.
            revision: branch, tag or commit of the model on the hub.
            device: "cpu", "cuda", "cuda:1", "mps" or a ``torch.device``; default: a GPU if there is
                one, else the CPU.
            dtype: of the frozen parts, "float32", "bfloat16" or "float16"; default: chosen by model
                and device (docs/how-to/precision.md). "float32" is the reference.
            seed: of the noise, 0 or more.
            batch_size: images per pass, halved when memory runs out; default: 8, on CUDA 32.
            limits: largest file and image accepted.
            noise_draws: that a score is averaged over; default: as the model is configured.
            timesteps: of the noise, that a score is averaged over; default: as the model is configured.
            offload: keep the backbone's weights in the CPU's memory, and send them to the device layer
                by layer: slow, for GPUs that do not hold them. Needs accelerate.
            prompt_cache: folder that keeps encoded prompts for later runs.

        Raises:
            WeightsError: the model cannot be found or does not fit its configuration or backbone.
            BackboneError: the backbone cannot be found or lacks parts.
            ConfigError: an argument is not as expected, or the device is not available.
        """
        checks.whole("seed", seed)  # before anything is read
        if batch_size is not None:
            checks.whole("batch_size", batch_size, 1)
        chosen_device = choose_device(device)
        located = locate(name_or_path, backbone=backbone, revision=revision)
        located = located.averaged(noise_draws, timesteps)
        chosen_dtype = choose_dtype(chosen_device, dtype)
        model, frozen = load_pretrained(located, chosen_device, chosen_dtype, offload)
        model.config = located.config
        fingerprint, store = located.fingerprint, None
        if prompt_cache is not None:
            long = located.config.long_prompts
            store = PromptStore(prompt_cache, f"{fingerprint} {long} {chosen_dtype}")
        return cls(
            model,
            frozen,
            seed=seed,
            batch_size=batch_size,
            limits=limits,
            fingerprint=fingerprint,
            saved_in=located.folder,
            loader=partial(
                cls.from_pretrained, name_or_path, backbone=backbone, revision=revision, device=device,
                dtype=dtype, seed=seed, batch_size=batch_size, limits=limits, noise_draws=noise_draws,
                timesteps=timesteps, offload=offload, prompt_cache=prompt_cache,
            ),
            prompt_store=store,
        )  # fmt: skip

    @classmethod
    @torch.inference_mode(False)
    def untrained(
        cls,
        backbone: str,
        config: ModelConfig | None = None,
        *,
        init_seed: int = 0,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        seed: int = 0,
    ) -> Scorer:
        """A randomly initialised model on a given backbone, to start from; its scores mean nothing.

        Args:
            backbone: folder in diffusers format, or hub id.
            config: default: the paper's model with the backbone's own features, image size and timestep;
                feature widths are read from the backbone.
            init_seed: of the trained parts' initial weights, 0 or more.
            device: as in ``from_pretrained``.
            dtype: as in ``from_pretrained``.
            seed: of the noise, 0 or more.

        Raises:
            BackboneError: the backbone cannot be found or lacks parts.
            ConfigError: an argument is not as expected, or the backbone lacks a configured feature.
        """
        if config is not None:
            checks.instance("config", config, ModelConfig, "a ModelConfig")
        checks.whole("init_seed", init_seed)
        checks.whole("seed", seed)
        name = checks.location("backbone", backbone, "a folder or hub id")
        chosen_device = choose_device(device)
        frozen = load_backbone(
            name,
            None if config is None else config.features,
            device=chosen_device,
            dtype=choose_dtype(chosen_device, dtype),
        )
        if config is None:
            usual = frozen.defaults
            config = ModelConfig(
                image_size=usual.image_size, fit=usual.fit, timestep=usual.timestep,
                features=usual.features, feature_channels=frozen.feature_channels(usual.features),
            )  # fmt: skip
        config = replace(
            config, backbone=named_backbone(frozen.name),
            feature_channels=frozen.feature_channels(config.features),
        )  # fmt: skip
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(init_seed)
            model = build_model(config)
        return cls(model, accelerate(frozen), seed=seed)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``config.json`` and ``model.safetensors``: trained parts, the backbone by reference.

        A backbone in the model's own folder is copied. ``folder`` is made if it does not exist.

        Raises:
            ConfigError: ``folder`` is no path.
            OSError: the folder cannot be written.
        """
        checks.location("folder", folder, "the path of a folder")
        if self.saved_in is None:
            save_model(self.model, folder)
        else:
            copy_model_files(self.config, self.saved_in, folder)
            save_model(load_model(self.saved_in), folder)

    def push_to_hub(self, repo_id: str, *, private: bool = False, token: str | None = None) -> str:
        """Upload the model folder to the hub.

        Args:
            repo_id: such as "me/model"; made if it does not exist.
            private: of a new repository.
            token: of the hub; default: the one that you are logged in with.

        Returns:
            The address of the commit.

        Raises:
            ConfigError: ``repo_id`` is no text.
        """
        checks.text("repo_id", repo_id)
        import tempfile

        from huggingface_hub import HfApi

        api = HfApi(token=token)
        api.create_repo(repo_id, private=private, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return str(api.upload_folder(repo_id=repo_id, folder_path=folder).commit_url)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as the call that loaded it: another process loads it anew, no weights are sent."""
        if self._loader is None:
            raise TypeError(
                "this scorer was built in memory and cannot be sent to another process; "
                "save_pretrained it, and load it there"
            )
        return self._loader, ()

    def __copy__(self) -> Scorer:
        return self  # it is immutable

    def __deepcopy__(self, memo: Any) -> Scorer:
        return self

    @property
    def config(self) -> ModelConfig:
        """The model's configuration."""
        return self.model.config

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the scores, in the model's order."""
        return self.config.task_names

    @property
    def seed(self) -> int:
        """Of the noise; for another one, load another scorer."""
        return self._seed

    @property
    def notice(self) -> str:
        """The model's own warning of what it is not good for, "" without one."""
        return self.config.notice

    @property
    def device(self) -> torch.device:
        """Where scores are computed."""
        return self.backbone.device

    def __call__(self, images: Any, prompts: str | Sequence[str]) -> Any:
        """Score one image, or several.

        Args:
            images: path, URL, bytes, PIL image, array (H, W, 3) or tensor (3, H, W), uint8 or float in
                [0, 1]; or a list of these; or an array (B, H, W, 3) or tensor (B, 3, H, W).
            prompts: one for all, or one per image; "" for none, and then no alignment (NaN).

        Returns:
            A ``Score`` for one image, a list of ``Score`` for several.

        Raises:
            ImageError: an image cannot be read; ``score_many`` goes on past it.
            PromptError: a prompt is no text, or too long.
            ConfigError: there are more or fewer prompts than images.
            DeviceError: not even one image fits into memory.
        """
        several = _is_several(images)
        items = list(images) if several else [images]
        results = list(
            self.score_many(zip(items, prompt_per_image(prompts, len(items)), strict=True))
        )
        for result in results:
            if isinstance(result, DiffAGIQAError):
                raise result
        return results if several else results[0]

    def score_many(self, pairs: Iterable[tuple[Any, str]]) -> Iterator[Score | RowError]:
        """Score a stream, in constant memory: a batch at a time.

        Args:
            pairs: (image, prompt), as for ``__call__``.

        Yields:
            One ``Score`` per pair, in order; for an image or prompt that cannot be used, its
            ``ImageError`` or ``PromptError``.

        Raises:
            ConfigError: an item is no pair.
            DeviceError: not even one image fits into memory.
        """
        begun = (self.launch(batch) for batch in self._batches(pairs))
        for scores in in_order(begun, self.ahead):
            yield from scores

    def _batches(
        self, pairs: Iterable[tuple[Any, str]]
    ) -> Iterator[list[tuple[Tensor, str] | RowError]]:
        batch: list[tuple[Tensor, str] | RowError] = []
        ready = 0
        source = iter(checks.several("pairs", pairs, "pairs of an image and its prompt"))
        while True:
            try:
                image, prompt = _pair(next(source))
            except StopIteration:
                break
            except Exception:
                yield batch  # what came before the fault of the source is scored
                raise
            try:
                batch.append((self.prepare(image), clean_prompt(prompt)))
                ready += 1
            except (ImageError, PromptError) as error:
                batch.append(error)
            if ready == self.batch_size or len(batch) >= 4 * self.batch_size:
                yield batch
                batch, ready = [], 0
        yield batch

    def prepare(self, image: Any) -> Tensor:
        """Decode one image and fit it to the model's size, by ``config.fit`` and ``config.image_size``.

        Returns:
            (3, H, W) float32 in [0, 1], on the CPU; square unless ``fit`` is "native".

        Raises:
            ImageError: the image cannot be read or is outside the limits.
        """
        return self._fit(decode_image(image, self.limits))

    def _fit(self, image: Any) -> Tensor:
        config = self.config
        backbone = self.backbone
        return fit_image(
            image, config.image_size, config.fit, backbone.side_multiple, backbone.longest_side
        )

    def score_tensor(self, images: Tensor, prompts: str | Sequence[str]) -> dict[str, Tensor]:
        """Score a batch as tensors, differentiable in the images.

        Args:
            images: (B, 3, H, W), uint8 or float in [0, 1].
            prompts: one for all, or one per image.

        Returns:
            (B,) scores in [0, 1] by task, on the scorer's device; NaN without a gradient for a score
            that is about the prompt, where that is empty.

        Raises:
            ImageError: another shape or type, or values far outside [0, 1].
            PromptError: a prompt is no text, or too long.
            ConfigError: there are more or fewer prompts than images, or their token lengths differ
                (``long_prompts`` other than "truncate").
        """
        check_batch(images)
        images = self._fit(images).to(self.device)
        names = [clean_prompt(name) for name in prompt_per_image(prompts, len(images))]
        scores = self.runner(images, _stack_prompts(self.prompts(names))).scores
        if not all(names):
            empty = torch.tensor([not name for name in names], device=self.device)
            for task in self.config.about_prompt:
                scores[task] = scores[task].masked_fill(empty, math.nan)
        return scores

    def loss(
        self,
        images: Tensor,
        prompts: str | Sequence[str],
        weights: Mapping[str, float] | None = None,
    ) -> Tensor:
        """1 - weighted mean score, to minimise; differentiable in the images. See ``weighted_mean``.

        On a GPU the scores of a float32 model are exact float32; their gradient follows PyTorch's
        TF32 setting.

        Args:
            images: (B, 3, H, W), uint8 or float in [0, 1].
            prompts: one for all, or one per image.
            weights: by task, 0 or more; default: equal.

        Returns:
            A scalar in [0, 1]; NaN where an image has none of the weighted scores.

        Raises:
            ImageError, PromptError: as ``score_tensor``.
            ConfigError: as ``score_tensor``; or a weight is for an unknown task, is negative, or all
                are zero.
        """
        scores = self.score_tensor(images, prompts)
        return 1 - weighted_mean(scores, shares_of(self.tasks, weights)).mean()

    def score_prepared(
        self, batch: Sequence[tuple[Tensor, str] | RowError]
    ) -> list[Score | RowError]:
        """Score one batch of (image from ``prepare``, cleaned prompt); errors stay in their place.

        For callers that decode in their own threads or compose their own batches.

        Raises:
            DeviceError: not even one image fits into memory.
        """
        return self.launch(batch)()

    @property
    def ahead(self) -> int:
        """How many further batches to launch before asking for the scores of the first."""
        return 1 if self.device.type == "cuda" else 0

    @torch.inference_mode()
    def launch(
        self, batch: Sequence[tuple[Tensor, str] | RowError]
    ) -> Callable[[], list[Score | RowError]]:
        """Start ``score_prepared`` without waiting for it.

        On a GPU the work is queued, and the next batch can be prepared meanwhile; elsewhere it is
        done when this returns.

        Returns:
            A function that waits and returns the scores.

        Raises:
            DeviceError: not even one image fits into memory.
        """
        pairs = [item for item in batch if not isinstance(item, DiffAGIQAError)]
        prompts = self.prompts([text for _, text in pairs])
        pending = self.runner.launch([image for image, _ in pairs], prompts)

        def results() -> list[Score | RowError]:
            scores = (self._score(*out, *pair) for out, pair in zip(pending(), pairs, strict=True))
            return [i if isinstance(i, DiffAGIQAError) else next(scores) for i in batch]

        return results

    def _score(
        self, values: dict[str, float], distance: float, pixels: Tensor, prompt: str
    ) -> Score:
        config = self.config
        if not prompt:
            values = values | dict.fromkeys(config.about_prompt, math.nan)
        small = pixels.shape[-2] * pixels.shape[-1] < config.smallest_size**2
        unlike = {"image": distance > 1, "size": small}
        return Score(
            values,
            {task.name: task.to_mos(values[task.name]) for task in config.tasks},
            "+".join(what for what, so in unlike.items() if so),
        )


def weighted_mean(scores: Mapping[str, Tensor], shares: Mapping[str, float]) -> Tensor:
    """(B,) scores by task -> (B,) weighted means, each over the scores that its image has.

    NaN for an image that has none of them, such as an alignment without a prompt.
    """
    values = torch.stack([scores[task] for task in shares], dim=-1)
    weights = values.new_tensor(list(shares.values())) * ~values.detach().isnan()
    return (values.nan_to_num() * weights).sum(-1) / weights.sum(-1)


def _stack_prompts(prompts: Sequence[Prompts]) -> Prompts:
    if len({len(prompt.text) for prompt in prompts}) > 1:
        raise ConfigError(
            "prompts of different token lengths were given in one tensor batch; score them apart, "
            "or use long_prompts='truncate'"
        )
    return Prompts.stack(prompts)


def _is_several(images: Any) -> bool:
    if isinstance(images, Tensor):
        return images.ndim == 4
    if hasattr(images, "ndim"):  # NumPy
        return bool(images.ndim == 4)
    return isinstance(images, (list, tuple))


def _pair(item: Any) -> tuple[Any, Any]:
    expected = "an image and its prompt"
    parts = tuple(checks.several("one of pairs", item, expected))
    if len(parts) != 2:
        raise ConfigError(f"one of pairs has {len(parts)} parts; expected {expected}")
    return parts


def check_scorer(scorer: Scorer) -> Scorer:
    """The argument, if it is a scorer; else ``ConfigError``."""
    return checks.instance("scorer", scorer, Scorer, "a Scorer, as Scorer.from_pretrained loads it")
