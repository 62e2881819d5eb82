"""Errors that a user can cause. Each message is one sentence: found, expected, what to do."""


class DiffAGIQAError(Exception):
    """Base of all these errors; the command line prints the message and exits with 2."""


class ImageError(DiffAGIQAError):
    """An image cannot be read, or is outside the limits."""


class PromptError(DiffAGIQAError):
    """A prompt cannot be used: no text, or too long."""


class TableError(DiffAGIQAError):
    """A table of images, labels or scores is malformed, or does not fit what it is used with."""


class DatabaseError(DiffAGIQAError):
    """A quality database is not laid out as distributed."""


class ConfigError(DiffAGIQAError):
    """An argument or configuration value is unknown, of the wrong type or out of range."""


class BackboneError(DiffAGIQAError):
    """The backbone (diffusion model) cannot be found, or lacks parts."""


class WeightsError(DiffAGIQAError):
    """Trained weights cannot be found, or do not fit their configuration or backbone."""


class DeviceError(DiffAGIQAError):
    """The device has too little memory for what was asked."""


class TrainingError(DiffAGIQAError):
    """A training run cannot start or continue."""


class MissingExtraError(DiffAGIQAError):
    """An optional dependency is not installed."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(
            f"{library} is not installed; install it with: pip install 'diffagiqa[{extra}]'"
        )
