"""Quality and prompt alignment of AI-generated images, by a frozen text-to-image diffusion model."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["DiffAGIQAError", "ModelConfig", "Score", "Scorer", "TaskConfig", "__version__"]

if TYPE_CHECKING:
    from diffagiqa.errors import DiffAGIQAError
    from diffagiqa.model.config import ModelConfig, TaskConfig
    from diffagiqa.scorer import Score, Scorer

_HOME = {
    "DiffAGIQAError": "diffagiqa.errors",
    "ModelConfig": "diffagiqa.model.config",
    "TaskConfig": "diffagiqa.model.config",
    "Score": "diffagiqa.scorer",
    "Scorer": "diffagiqa.scorer",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that ``diffagiqa --help`` answers without loading PyTorch."""
    if name in _HOME:
        from importlib import import_module

        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'diffagiqa' has no attribute {name!r}")
