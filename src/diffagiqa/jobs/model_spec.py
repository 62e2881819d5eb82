"""Which model a job or service scores with: plain values that travel to workers, and its loading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from diffagiqa.data.images import DEFAULT_LIMITS, ImageLimits

if TYPE_CHECKING:
    from diffagiqa.model.config import ModelConfig
    from diffagiqa.scorer import Scorer


@dataclass(frozen=True)
class ModelSpec:
    """The arguments of ``Scorer.from_pretrained``; None takes its default."""

    model: str | None = None
    backbone: str | None = None
    revision: str | None = None
    device: str | None = None
    dtype: str | None = None
    seed: int = 0
    batch_size: int | None = None
    limits: ImageLimits = DEFAULT_LIMITS
    noise_draws: int | None = None
    timesteps: tuple[int, ...] | None = None
    offload: bool = False
    prompt_cache: str | None = None

    def load(self) -> Scorer:
        """The model, on its device and ready to score."""
        from diffagiqa.scorer import Scorer

        options = dict(vars(self))
        return Scorer.from_pretrained(options.pop("model"), **options)

    def describe(self) -> ModelFacts:
        """Name the model without loading it: for a driver that may have neither GPU nor memory."""
        from diffagiqa.pretrained import locate

        located = locate(self.model, backbone=self.backbone, revision=self.revision)
        located = located.averaged(self.noise_draws, self.timesteps)
        return ModelFacts(located.config, located.fingerprint, self.seed)


@dataclass(frozen=True)
class ModelFacts:
    """What a job writes down about its model."""

    config: ModelConfig
    fingerprint: str
    seed: int

    @classmethod
    def of(cls, scorer: Scorer) -> ModelFacts:
        return cls(scorer.config, scorer.fingerprint, scorer.seed)


def arithmetic(scorer: Scorer) -> str:
    """Device kind and number format, on which the last digits of a score depend: ``cpu float32``."""
    dtype = str(scorer.backbone.dtype).removeprefix("torch.")
    return f"{scorer.device.type} {dtype}"
