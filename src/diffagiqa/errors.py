"""Errors a user can cause. Each message is one sentence: found, expected, what to do."""


class DiffAGIQAError(Exception):
    """Base of every error that a user's input can cause; the command line prints it and exits 2."""


class ImageError(DiffAGIQAError):
    """One image cannot be read or is outside the limits."""


class PromptError(DiffAGIQAError):
    """One prompt cannot be used."""


class TableError(DiffAGIQAError):
    """A table of samples or labels is malformed."""


class DatabaseError(DiffAGIQAError):
    """A quality database is not laid out as its distribution says."""


class ConfigError(DiffAGIQAError):
    """A configuration value is unknown or out of range."""


class BackboneError(DiffAGIQAError):
    """The diffusion model cannot be found, or lacks parts."""


class WeightsError(DiffAGIQAError):
    """Trained weights cannot be found or do not fit their configuration."""


class DeviceError(DiffAGIQAError):
    """The device has not the memory for what was asked."""


class TrainingError(DiffAGIQAError):
    """A training run cannot start or go on."""


class MissingExtraError(DiffAGIQAError):
    """An optional dependency is needed and not installed."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(
            f"{library} is not installed; install it with: pip install 'diffagiqa[{extra}]'"
        )
