"""What a model is made of, as data: saved beside its weights and with every run."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from diffagiqa import checks
from diffagiqa.backbones.base import CONDITION, TEXT, Fit, LongPrompts
from diffagiqa.backbones.unet import RELEASED_FEATURES
from diffagiqa.errors import ConfigError

Posterior = Literal["sample", "mean"]
Prompting = Literal["per_task", "shared", "none"]
Pooling = Literal["pyramid", "plain", "queries"]
SD15_FEATURE_CHANNELS = (5120, 5120, 5120, 5120, 2560)

PROMPT_TASKS = ("alignment", "preference")


def check_types(config: Any) -> None:
    """Raise ``ConfigError`` where a field of a configuration is not of its annotated type."""
    annotated = get_type_hints(type(config))
    for field in dataclasses.fields(config):
        kind, value = annotated[field.name], getattr(config, field.name)
        if not _is_of(value, kind):
            raise ConfigError(
                f"{type(config).__name__}.{field.name} is {repr(value)[:80]}; "
                f"expected {_expected(field, kind)}"
            )


def _is_of(value: Any, kind: Any) -> bool:
    """Whether a value is of an annotated type; an int will do as a float, a bool not as a number."""
    inner = get_args(kind)
    if get_origin(kind) is Literal:
        return value in inner
    if get_origin(kind) is UnionType:
        return any(_is_of(value, one) for one in inner)
    if get_origin(kind) is tuple:
        if not isinstance(value, tuple):
            return False
        kinds = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        return len(value) == len(kinds) and all(map(_is_of, value, kinds))
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _expected(field: dataclasses.Field[Any], kind: Any) -> str:
    """What a field may hold, in a sentence."""
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    if dataclasses.is_dataclass(kind):
        return f"a {field.type}"
    example = "text" if field.default is dataclasses.MISSING else field.default
    return str(field.type) if example in (None, ()) else f"a value like {example!r}"


@dataclass(frozen=True)
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
        check_types(self)
        if not self.name.isidentifier():
            raise ConfigError(f"task name {self.name!r} is not an identifier such as 'perception'")
        if not (math.isfinite(self.mos_min) and math.isfinite(self.mos_max)):
            raise ConfigError(f"task {self.name!r} has a MOS scale that is not finite")
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


@dataclass(frozen=True)
class ModelConfig:
    """Everything that decides a score, apart from weights, seed and device.

    The defaults are the paper's model on Stable Diffusion 1.5.

    Raises:
        ConfigError: a value is of the wrong type or out of range, or values contradict each other.
    """

    tasks: tuple[TaskConfig, ...] = (TaskConfig("perception"), TaskConfig("alignment"))
    """The scores, 1 to 16."""

    backbone: str = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    """Folder in diffusers format, hub id, or a path relative to the model's own folder (``./...``)."""
    backbone_revision: str | None = None
    """Branch, tag or commit of the backbone on the hub; None: the hub's default."""

    image_size: int = 512
    """Side of the square that images are fitted to, in pixels; a multiple of 32, 64 to 4096."""
    fit: Fit = "resize"
    """How images get that size: "resize" distorts those that are not square, "crop" cuts, "pad" adds
    borders. "native" keeps the aspect ratio, shrinks images of more than image_size**2 pixels and
    enlarges none."""
    timestep: int = 51
    """Of the noise, 0 to 999. The release asks for 50; its PNDM scheduler makes it 51. With
    flow matching, thousandths of the noise level."""
    further_timesteps: tuple[int, ...] = ()
    """Others that a score is averaged over as well, 0 to 16."""
    posterior: Posterior = "sample"
    """Of the VAE: a seeded "sample", or its "mean"."""
    noise_draws: int = 1
    """Draws of noise that a score is averaged over, 1 to 64."""
    long_prompts: LongPrompts = "truncate"
    """Over 77 tokens: "truncate"; "chunk" encodes pieces and joins them; "released" as the authors'
    code does, which cuts prompts of over 70 words into pieces and truncates all others."""
    use_text: bool = True
    """False gives the backbone the empty prompt for every score (the paper's ablation)."""

    features: tuple[str, ...] = RELEASED_FEATURES
    """Names of the backbone's features, 1 to 64. Of a U-Net, diffusers' names: ``*.attentions.*`` is the
    GEGLU output of its first transformer block, ``*.resnets.*`` the module's output, ``latents`` the
    U-Net's input."""
    feature_channels: tuple[int, ...] = SD15_FEATURE_CHANNELS
    """Channels of each of ``features``."""

    prompting: Prompting = "per_task"
    """Visual prompters: one "per_task", one "shared" by all, or "none"."""
    prompter_channels: int = 6
    """Hidden channels of a prompter."""
    prompter_kernel: int = 5
    """Kernel size of a prompter, in pixels; odd."""

    pooling: Pooling = "pyramid"
    """"pyramid" is the paper's; "plain" a 1x1 convolution per level (ablation); "queries", for diffusion
    transformers, DiNa-LRM's: learnt queries attend to image tokens, text tokens (features that end in
    ``.text``) and know the feature ``condition``. Its scores have no limits, 0.5 is the middle."""
    queries: int = 4
    """With "queries": how many."""
    query_width: int = 0
    """Their channels; 0: as many as the image tokens have."""
    query_heads: int = 8
    """Heads of their attention; divides the width."""
    adapter: str | None = None
    """Folder of a LoRA in PEFT's format, inside the model's own; merged into the backbone."""
    pyramid_size: int = 32
    """Side of the pyramid's maps, in positions."""
    pyramid_channels: int = 256
    """Channels of a level."""
    pyramid_kernels: tuple[int, ...] = (1, 3, 5, 7)
    """Kernel sizes of a level's parallel convolutions; odd."""
    attention_channels: int = 32
    """Query and key channels of a level's self-attention."""
    fusion_channels: tuple[int, int, int] = (512, 256, 128)
    """Channels of a head's three fusion convolutions."""
    fusion_groups: int = 4
    """Groups of the second one; divides the first two of ``fusion_channels``."""
    head_channels: tuple[int, int] = (256, 128)
    """Hidden widths of a head's MLP."""
    head_dropout: tuple[float, float] = (0.5, 0.3)
    """Dropout after each hidden layer, in [0, 1)."""

    familiar_features: tuple[str, ...] = ()
    """Names of features whose statistics tell unfamiliar images; none: the model cannot."""
    familiar_channels: tuple[int, ...] = ()
    """Channels of each of ``familiar_features``."""
    smallest_size: int = 0
    """Root of the pixel count of the smallest images trained on; smaller ones are unfamiliar, too."""

    doubtful: tuple[str, ...] = ()
    """Tasks whose scores the model itself does not stand behind: they are shown as doubtful everywhere,
    and nothing is ranked by them unless it is asked for."""
    notice: str = ""
    """What the model is not good for, in a sentence or two."""

    def __post_init__(self) -> None:
        check_types(self)
        self._check_ranges()
        self._check_layers()
        use_text = {self.use_text and task.use_text for task in self.tasks}
        if self.long_prompts == "released" and len(use_text) > 1:
            raise ConfigError(
                'long_prompts is "released" and only some tasks use the text; expected all or none of '
                'them, as its long prompts have any length, or long_prompts "chunk"'
            )

    def _check_ranges(self) -> None:
        for name, low, high in (
            ("image_size", 64, 4096),
            ("timestep", 0, 999),
            ("noise_draws", 1, 64),
            ("prompter_channels", 1, 1024),
            ("pyramid_size", 1, 256),
            ("pyramid_channels", 1, 8192),
            ("attention_channels", 1, 8192),
            ("fusion_groups", 1, 8192),
            ("smallest_size", 0, 4096),
            ("queries", 1, 1024),
            ("query_width", 0, 65536),
            ("query_heads", 1, 1024),
        ):
            check_range(name, getattr(self, name), low, high)
        if self.image_size % 32:
            raise ConfigError(f"image_size is {self.image_size}; expected a multiple of 32")
        check_range("number of familiar_features", len(self.familiar_features), 0, 64)
        for name, most in (("tasks", 16), ("features", 64), ("pyramid_kernels", 16)):
            check_range(f"number of {name}", len(getattr(self, name)), 1, most)
        check_range("number of further_timesteps", len(self.further_timesteps), 0, 16)
        for timestep in self.further_timesteps:
            check_range("further timestep", timestep, 0, 999)
        for name in ("feature_channels", "fusion_channels", "head_channels", "familiar_channels"):
            for width in getattr(self, name):
                check_range(name, width, 1, 65536)
        for kernel in (self.prompter_kernel, *self.pyramid_kernels):
            if not (1 <= kernel <= 31 and kernel % 2):
                raise ConfigError(f"kernel size {kernel} is not odd and between 1 and 31")
        for rate in self.head_dropout:
            if not 0 <= rate < 1:
                raise ConfigError(f"dropout {rate} is not in [0, 1)")

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
        try:
            values = json.loads(text)
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(f"config.json is not valid JSON ({error})") from None
        if not isinstance(values, dict):
            raise ConfigError("config.json holds no JSON object")
        return from_dict(cls, values)


def from_dict(cls: type[Any], values: dict[str, Any]) -> Any:
    """Build a configuration dataclass from plain JSON values; unknown and missing keys are an error."""
    fields = {field.name: field for field in dataclasses.fields(cls)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise ConfigError(
            f"unknown configuration key {', '.join(unknown)}; known are {', '.join(fields)}"
        )
    missing = [
        name
        for name, field in fields.items()
        if name not in values
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(
            f"{cls.__name__} lacks {', '.join(missing)}; name it in the configuration"
        )
    return cls(**{name: _from_json(name, value) for name, value in values.items()})


def _from_json(name: str, value: Any) -> Any:
    """A value of JSON as the field ``name`` holds it: objects in ``tasks``, tuples for lists."""
    if name == "tasks" and isinstance(value, list):
        if not all(isinstance(task, dict) for task in value):
            raise ConfigError("tasks must be a list of objects with name, mos_min and mos_max")
        return tuple(from_dict(TaskConfig, task) for task in value)
    return tuple(value) if isinstance(value, list) else value


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raise ``ConfigError`` where ``value`` is not within ``low`` and ``high``, both included."""
    if not low <= value <= high:
        raise ConfigError(f"{name} is {value}; expected {low} to {high}")


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
