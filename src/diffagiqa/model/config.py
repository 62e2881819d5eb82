"""What a model is made of, as data: saved beside its weights and with every run."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Annotated, Literal

from pydantic import Field

from diffagiqa import checks
from diffagiqa.backbones.names import CONDITION, RELEASED_FEATURES, TEXT, Fit, LongPrompts
from diffagiqa.errors import ConfigError
from diffagiqa.model.checked import checked, from_json

Posterior = Literal["sample", "mean"]
Prompting = Literal["per_task", "shared", "none"]
Pooling = Literal["pyramid", "plain", "queries"]
Channels = Annotated[int, Field(ge=1, le=65_536)]
Kernel = Annotated[int, Field(ge=1, le=31)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Timestep = Annotated[int, Field(ge=0, le=999)]
SD15_FEATURE_CHANNELS = (5120, 5120, 5120, 5120, 2560)
PROMPT_TASKS = ("alignment", "preference")


@checked
class TaskConfig:
    """One score: its name, and the scale of the mean opinion scores (MOS) it was trained on.

    Raises:
        ConfigError: the name is no identifier, or the scale is not finite or not ascending.
    """

    name: str
    """Such as "perception"."""
    mos_min: float = 0.0
    """Lowest possible MOS: score 0."""
    mos_max: float = 5.0
    """Highest possible MOS: score 1."""
    needs_prompt: bool | None = None
    """Whether the score means nothing without a prompt; None: those called alignment or preference."""
    use_text: bool = True
    """False gives the backbone the empty prompt for this score, so that no prompt can change it."""

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ConfigError(f"task name {self.name!r} is not an identifier such as 'perception'")
        if self.mos_min >= self.mos_max:
            raise ConfigError(
                f"task {self.name!r} has MOS scale {self.mos_min}..{self.mos_max}; "
                "the first must be the smaller"
            )

    @property
    def is_about_the_prompt(self) -> bool:
        """Whether there is no such score for an image without a prompt."""
        return self.name in PROMPT_TASKS if self.needs_prompt is None else self.needs_prompt

    def to_mos(self, score: float) -> float:
        """Map a score in [0, 1] to the MOS scale."""
        return self.mos_min + score * (self.mos_max - self.mos_min)


@checked
class ModelConfig:
    """Everything that decides a score, apart from weights, seed and device.

    The defaults are the paper's model on Stable Diffusion 1.5.

    Raises:
        ConfigError: a value is of the wrong type or out of range, or values contradict each other.
    """

    tasks: Annotated[tuple[TaskConfig, ...], Field(min_length=1, max_length=16)] = (
        TaskConfig("perception"),
        TaskConfig("alignment"),
    )
    """The scores, 1 to 16."""

    backbone: str = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    """Folder in diffusers format, hub id, or a path relative to the model's own folder (``./...``)."""
    backbone_revision: str | None = None
    """Branch, tag or commit of the backbone on the hub; None: the hub's default."""

    image_size: Annotated[int, Field(ge=64, le=4096, multiple_of=32)] = 512
    """Side of the square that images are fitted to, in pixels; a multiple of 32, 64 to 4096."""
    fit: Fit = "resize"
    """How images get that size: "resize" distorts those that are not square, "crop" cuts, "pad" adds
    borders. "native" keeps the aspect ratio, shrinks images of more than image_size**2 pixels and
    enlarges none."""
    timestep: Timestep = 51
    """Of the noise, 0 to 999. The release asks for 50; its PNDM scheduler makes it 51. With
    flow matching, thousandths of the noise level."""
    further_timesteps: Annotated[tuple[Timestep, ...], Field(max_length=16)] = ()
    """Others that a score is averaged over as well, 0 to 16."""
    posterior: Posterior = "sample"
    """Of the VAE: a seeded "sample", or its "mean"."""
    noise_draws: Annotated[int, Field(ge=1, le=64)] = 1
    """Draws of noise that a score is averaged over, 1 to 64."""
    long_prompts: LongPrompts = "truncate"
    """Over 77 tokens: "truncate"; "chunk" encodes pieces and joins them; "released" as the authors'
    code does, which cuts prompts of over 70 words into pieces and truncates all others."""
    use_text: bool = True
    """False gives the backbone the empty prompt for every score (the paper's ablation)."""

    features: Annotated[tuple[str, ...], Field(min_length=1, max_length=64)] = RELEASED_FEATURES
    """Names of the backbone's features, 1 to 64. Of a U-Net, diffusers' names: ``*.attentions.*`` is the
    GEGLU output of its first transformer block, ``*.resnets.*`` the module's output, ``latents`` the
    U-Net's input."""
    feature_channels: tuple[Channels, ...] = SD15_FEATURE_CHANNELS
    """Channels of each of ``features``."""

    prompting: Prompting = "per_task"
    """Visual prompters: one "per_task", one "shared" by all, or "none"."""
    prompter_channels: Annotated[int, Field(ge=1, le=1024)] = 6
    """Hidden channels of a prompter."""
    prompter_kernel: Kernel = 5
    """Kernel size of a prompter, in pixels; odd."""

    pooling: Pooling = "pyramid"
    """"pyramid" is the paper's; "plain" a 1x1 convolution per level (ablation); "queries", for diffusion
    transformers, DiNa-LRM's: learnt queries attend to image tokens, text tokens (features that end in
    ``.text``) and know the feature ``condition``. Its scores have no limits, 0.5 is the middle."""
    queries: Annotated[int, Field(ge=1, le=1024)] = 4
    """With "queries": how many."""
    query_width: Annotated[int, Field(ge=0, le=65_536)] = 0
    """Their channels; 0: as many as the image tokens have."""
    query_heads: Annotated[int, Field(ge=1, le=1024)] = 8
    """Heads of their attention; divides the width."""
    adapter: str | None = None
    """Folder of a LoRA in PEFT's format, inside the model's own; merged into the backbone."""
    pyramid_size: Annotated[int, Field(ge=1, le=256)] = 32
    """Side of the pyramid's maps, in positions."""
    pyramid_channels: Channels = 256
    """Channels of a level."""
    pyramid_kernels: Annotated[tuple[Kernel, ...], Field(min_length=1, max_length=16)] = (
        1,
        3,
        5,
        7,
    )
    """Kernel sizes of a level's parallel convolutions; odd."""
    attention_channels: Channels = 32
    """Query and key channels of a level's self-attention."""
    fusion_channels: tuple[Channels, Channels, Channels] = (512, 256, 128)
    """Channels of a head's three fusion convolutions."""
    fusion_groups: Channels = 4
    """Groups of the second one; divides the first two of ``fusion_channels``."""
    head_channels: tuple[Channels, Channels] = (256, 128)
    """Hidden widths of a head's MLP."""
    head_dropout: tuple[Rate, Rate] = (0.5, 0.3)
    """Dropout after each hidden layer, in [0, 1)."""
    head_skip: bool = False
    """A linear way from the pyramid's maps to the score, beside the head: what a few ratings teach."""

    familiar_features: Annotated[tuple[str, ...], Field(max_length=64)] = ()
    """Names of features whose statistics tell unfamiliar images; none: the model cannot."""
    familiar_channels: tuple[Channels, ...] = ()
    """Channels of each of ``familiar_features``."""
    smallest_size: Annotated[int, Field(ge=0, le=4096)] = 0
    """Root of the pixel count of the smallest images trained on; smaller ones are unfamiliar, too."""

    doubtful: tuple[str, ...] = ()
    """Tasks whose scores the model itself does not stand behind: they are shown as doubtful everywhere,
    and nothing is ranked by them unless it is asked for."""
    notice: str = ""
    """What the model is not good for, in a sentence or two."""

    def __post_init__(self) -> None:
        for kernel in (self.prompter_kernel, *self.pyramid_kernels):
            if kernel % 2 == 0:
                raise ConfigError(f"kernel size {kernel} is even; expected an odd one")
        self._check_layers()
        use_text = {self.use_text and task.use_text for task in self.tasks}
        if self.long_prompts == "released" and len(use_text) > 1:
            raise ConfigError(
                'long_prompts is "released" and only some tasks use the text; expected all or none of '
                'them, as its long prompts have any length, or long_prompts "chunk"'
            )

    def _check_layers(self) -> None:
        """Raise where names or widths that belong together do not fit."""
        for what in ("feature", "familiar"):
            names = self.features if what == "feature" else self.familiar_features
            channels = getattr(self, f"{what}_channels")
            if len(names) != len(channels):
                raise ConfigError(
                    f"{what}s names {len(names)} and {what}_channels {len(channels)}; expected as many"
                )
        for what, names in (
            ("features", self.features),
            ("familiar_features", self.familiar_features),
            ("tasks", self.task_names),
        ):
            if len(set(names)) != len(names):
                raise ConfigError(f"{what} holds a name twice: {', '.join(names)}")
        if unknown := sorted(set(self.doubtful) - set(self.task_names)):
            raise ConfigError(
                f"doubtful names {', '.join(unknown)}; expected some of {', '.join(self.task_names)}"
            )
        if self.pooling == "queries":
            self._check_queries()
        wide, middle, _ = self.fusion_channels
        if wide % self.fusion_groups or middle % self.fusion_groups:
            raise ConfigError(
                f"fusion_groups {self.fusion_groups} does not divide fusion_channels "
                f"{wide} and {middle}"
            )

    def _check_queries(self) -> None:
        images = [n for n in self.features if n != CONDITION and not n.endswith(TEXT)]
        if CONDITION not in self.features or not images:
            raise ConfigError(
                f'pooling is "queries" and features are {", ".join(self.features)}; expected '
                f"{CONDITION} and at least one layer of image tokens"
            )
        width = self.query_width or self.feature_channels[self.features.index(images[0])]
        if width % self.query_heads or width % 4:
            raise ConfigError(
                f"queries have {width} channels and {self.query_heads} heads; expected a multiple of the "
                "heads and of 4"
            )

    @property
    def trusted(self) -> tuple[str, ...]:
        """Names of the scores that are not doubtful, in order; of all, where none is left."""
        return tuple(t for t in self.task_names if t not in self.doubtful) or self.task_names

    @property
    def about_prompt(self) -> tuple[str, ...]:
        """Names of the scores that an image without a prompt does not have, in order."""
        return tuple(task.name for task in self.tasks if task.is_about_the_prompt)

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the scores, in order."""
        return tuple(task.name for task in self.tasks)

    def to_json(self) -> str:
        """The configuration as the text of ``config.json``."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ModelConfig:
        """Read the text of ``config.json``.

        >>> ModelConfig.from_json(ModelConfig().to_json()) == ModelConfig()
        True

        Raises:
            ConfigError: it is no valid JSON object, a key is unknown, or a value is not as expected.
        """
        return from_json(cls, text, "config.json")


def shares_of(tasks: Sequence[str], weights: Mapping[str, float] | None) -> dict[str, float]:
    """Weights of tasks, by default all alike, as shares of 1.

    >>> shares_of(["perception", "alignment"], {"perception": 3, "alignment": 1})
    {'perception': 0.75, 'alignment': 0.25}

    Raises:
        ConfigError: a weight is for an unknown task, is negative, or all are zero.
    """
    expected = f"numbers of 0 or more, not all 0, for {', '.join(tasks)}"
    if weights is not None:
        checks.instance("weights", weights, Mapping, f"a dictionary: {expected}")
    weights = dict(weights or dict.fromkeys(tasks, 1.0))
    if not (
        set(weights) <= set(tasks)
        and all(isinstance(weight, Real) and weight >= 0 for weight in weights.values())
        and 0 < (total := sum(weights.values())) < math.inf
    ):
        raise ConfigError(f"weights are {weights}; expected {expected}")
    return {task: weight / total for task, weight in weights.items()}
