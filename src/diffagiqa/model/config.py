"""What a model is made of, as data: saved beside its weights and with every run."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, get_args

from diffagiqa import checks
from diffagiqa.errors import ConfigError

Fit = Literal["resize", "crop", "pad"]
Posterior = Literal["sample", "mean"]
Prompting = Literal["per_task", "shared", "none"]
LongPrompts = Literal["truncate", "chunk", "released"]
Pooling = Literal["pyramid", "plain", "statistics"]

RELEASED_FEATURES = (
    "mid_block.attentions.0",
    "up_blocks.1.attentions.0",
    "up_blocks.1.attentions.1",
    "up_blocks.1.attentions.2",
    "up_blocks.2.attentions.0",
)
SD15_FEATURE_CHANNELS = (5120, 5120, 5120, 5120, 2560)


def check_types(config: Any) -> None:
    """Raise ``ConfigError`` where a field of a configuration is of another type than its default."""
    for field in dataclasses.fields(config):
        _check_type(type(config), field, getattr(config, field.name))


def _check_type(cls: type[Any], field: dataclasses.Field[Any], value: Any) -> None:
    made = field.default_factory is not dataclasses.MISSING
    default: Any = field.default_factory() if made else field.default  # type: ignore[operator]
    if default is dataclasses.MISSING:
        expected: tuple[type, ...] = (str,)
    elif default is None:
        expected = (str, type(None))
    elif isinstance(default, float):
        expected = (float, int)
    else:
        expected = (type(default),)
    wrong = not isinstance(value, expected) or (isinstance(value, bool) and bool not in expected)
    if isinstance(default, tuple) and isinstance(value, tuple) and default:
        kinds = (float, int) if isinstance(default[0], float) else (type(default[0]),)
        wrong = wrong or any(not isinstance(v, kinds) or isinstance(v, bool) for v in value)
        fixed = field.name in ("fusion_channels", "head_channels", "head_dropout")
        wrong = wrong or (fixed and len(value) != len(default))
    if wrong:
        like = f"value like {'text' if default is dataclasses.MISSING else default!r}"
        raise ConfigError(
            f"{cls.__name__}.{field.name} is {repr(value)[:80]}; "
            f"expected a {type(default).__name__ if made else like}"
        )


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
    use_text: bool = True
    """False gives the U-Net the empty prompt for this score, so that no prompt can change it."""

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
    """Side of the square that images are fitted to, in pixels; a multiple of 64, 64 to 4096."""
    fit: Fit = "resize"
    """For images that are not square: "resize" distorts, "crop" cuts, "pad" adds borders."""
    timestep: int = 51
    """Of the noise and the U-Net, 0 to 999. The release asks for 50; its PNDM scheduler makes it 51."""
    posterior: Posterior = "sample"
    """Of the VAE: a seeded "sample", or its "mean"."""
    noise_draws: int = 1
    """Draws of noise that a score is averaged over, 1 to 64."""
    long_prompts: LongPrompts = "truncate"
    """Over 77 tokens: "truncate"; "chunk" encodes pieces and joins them; "released" as the authors'
    code does, which cuts prompts of over 70 words into pieces and truncates all others."""
    use_text: bool = True
    """False gives the U-Net the empty prompt for every score (the paper's ablation)."""

    features: tuple[str, ...] = RELEASED_FEATURES
    """Diffusers names of U-Net modules, 1 to 64: ``*.attentions.*`` gives the GEGLU output of its first
    transformer block, ``*.resnets.*`` the module's output; ``latents`` the U-Net's input."""
    feature_channels: tuple[int, ...] = SD15_FEATURE_CHANNELS
    """Channels of each of ``features``."""

    words: tuple[str, ...] = ()
    """With "statistics": U-Net transformers (``*.attentions.*``) whose first cross-attention gives word
    evidence, in a second pass over the image at ``words_size``; the first pass then always gets the
    empty prompt. For backbones trained for it by ``diffagiqa pretrain``."""
    words_size: int = 128
    """Side of the image in that pass, in pixels; a multiple of 64, 64 to 4096."""

    prompting: Prompting = "per_task"
    """Visual prompters: one "per_task", one "shared" by all, or "none"."""
    prompter_channels: int = 6
    """Hidden channels of a prompter."""
    prompter_kernel: int = 5
    """Kernel size of a prompter, in pixels; odd."""

    pooling: Pooling = "pyramid"
    """"pyramid" is the paper's; "plain" a 1x1 convolution per level (ablation); "statistics" four
    statistics of every channel over the image, for small databases and small backbones."""
    textures: bool = False
    """With "statistics": also correlations between neighbouring positions and between pairs of
    channels. For features of at most 128 channels."""
    unfamiliar_above: float = 0.0
    """With "statistics": mean squared standardised deviation from the training images (about 1 for
    those), of the kind of statistics that deviates most, above which an image is unfamiliar; 0 where
    it was not measured."""
    statistics_dropout: float = 0.0
    """With "statistics": share of the statistics dropped in a training step, in [0, 1)."""
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

    def __post_init__(self) -> None:
        check_types(self)
        for name, kind in (
            ("fit", Fit),
            ("posterior", Posterior),
            ("prompting", Prompting),
            ("long_prompts", LongPrompts),
            ("pooling", Pooling),
        ):
            if getattr(self, name) not in get_args(kind):
                raise ConfigError(
                    f"{name} is {getattr(self, name)!r}; expected one of {', '.join(get_args(kind))}"
                )
        _check_range("image_size", self.image_size, 64, 4096)
        if self.image_size % 64:
            raise ConfigError(f"image_size is {self.image_size}; expected a multiple of 64")
        _check_range("words_size", self.words_size, 64, 4096)
        if self.words_size % 64:
            raise ConfigError(f"words_size is {self.words_size}; expected a multiple of 64")
        if not all(isinstance(name, str) for name in self.words):
            raise ConfigError(f"words is {self.words}; expected names of U-Net transformers")
        if self.words and self.pooling != "statistics":
            raise ConfigError(
                f'words are named and pooling is {self.pooling!r}; they go with pooling "statistics"'
            )
        widest = max(self.feature_channels, default=0)
        if self.textures and (self.pooling != "statistics" or widest > 128):
            raise ConfigError(
                f"textures compare every pair of channels, and pooling is {self.pooling!r} with up to "
                f'{widest} channels; they go with pooling "statistics" and features '
                "of at most 128 channels, such as latents"
            )
        told = {self.use_text and task.use_text for task in self.tasks}
        if self.long_prompts == "released" and len(told) > 1:
            raise ConfigError(
                'long_prompts is "released" and some tasks alone are told the prompt; expected all or '
                'none of them, as its long prompts have any length, or long_prompts "chunk"'
            )
        for name in ("unfamiliar_above", "statistics_dropout"):
            if getattr(self, name) and self.pooling != "statistics":
                raise ConfigError(
                    f"{name} is {getattr(self, name)} and pooling is {self.pooling!r}; it goes with "
                    'pooling "statistics"'
                )
        _check_range("timestep", self.timestep, 0, 999)
        _check_range("noise_draws", self.noise_draws, 1, 64)
        _check_range("number of tasks", len(self.tasks), 1, 16)
        _check_range("number of features", len(self.features), 1, 64)
        _check_range("number of pyramid_kernels", len(self.pyramid_kernels), 1, 16)
        _check_range("prompter_channels", self.prompter_channels, 1, 1024)
        _check_range("unfamiliar_above", self.unfamiliar_above, 0, 1e9)
        _check_range("pyramid_size", self.pyramid_size, 1, 256)
        for name in ("pyramid_channels", "attention_channels", "fusion_groups"):
            _check_range(name, getattr(self, name), 1, 8192)
        for name in ("feature_channels", "fusion_channels", "head_channels"):
            for width in getattr(self, name):
                _check_range(name, width, 1, 65536)
        for kernel in (self.prompter_kernel, *self.pyramid_kernels):
            if not (1 <= kernel <= 31 and kernel % 2):
                raise ConfigError(f"kernel size {kernel} is not odd and between 1 and 31")
        for rate in (*self.head_dropout, self.statistics_dropout):
            if not 0 <= rate < 1:
                raise ConfigError(f"dropout {rate} is not in [0, 1)")
        if len(self.features) != len(self.feature_channels):
            raise ConfigError(
                f"features names {len(self.features)} and feature_channels "
                f"{len(self.feature_channels)}; expected as many"
            )
        for what, names in (
            ("features", self.features),
            ("words", self.words),
            ("tasks", tuple(task.name for task in self.tasks)),
        ):
            if len(set(names)) != len(names):
                raise ConfigError(f"{what} holds a name twice: {', '.join(names)}")
        if self.fusion_channels[0] % self.fusion_groups or (
            self.fusion_channels[1] % self.fusion_groups
        ):
            raise ConfigError(
                f"fusion_groups {self.fusion_groups} does not divide fusion_channels "
                f"{self.fusion_channels[0]} and {self.fusion_channels[1]}"
            )

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the scores, in order."""
        return tuple(task.name for task in self.tasks)

    @property
    def unet_names(self) -> tuple[str, ...]:
        """All the U-Net modules that are read: ``features``, then ``words``."""
        return (*self.features, *self.words)

    @property
    def level_names(self) -> tuple[str, ...]:
        """Names of the pyramid's inputs, in order."""
        kinds = ("{}", "places of {}", "pairs of {}") if self.textures else ("{}",)
        pictured = (kind.format(name) for name in self.features for kind in kinds)
        return (*pictured, *(f"words of {name}" for name in self.words))

    @property
    def needs_float32(self) -> bool:
        """Whether a VAE encoder in bfloat16 would change scores: statistics of the latents keep fine
        detail (0.01 to 0.03 of a score, docs/speed.md), pooled maps do not."""
        return self.pooling == "statistics"

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
    """Build a frozen configuration dataclass from plain JSON values, strictly.

    Types are those of the field's default; lists become tuples; ``tasks`` holds objects.
    """
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
    return cls(**{name: _checked(cls, fields[name], value) for name, value in values.items()})


def _checked(cls: type[Any], field: dataclasses.Field[Any], value: Any) -> Any:
    """A value of JSON as the field holds it."""
    if field.name == "tasks" and isinstance(value, list):
        if not all(isinstance(task, dict) for task in value):
            raise ConfigError("tasks must be a list of objects with name, mos_min and mos_max")
        return tuple(from_dict(TaskConfig, task) for task in value)
    if isinstance(value, list):
        value = tuple(value)
    _check_type(cls, field, value)
    return value


def _check_range(name: str, value: float, low: float, high: float) -> None:
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
