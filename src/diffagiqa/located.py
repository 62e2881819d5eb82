"""From the name of a model to the folders that it is read from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from diffagiqa import checks
from diffagiqa.backbones.folder import EMBEDDED, find_backbone
from diffagiqa.model.config import ModelConfig
from diffagiqa.pretrained import backbone_reference, find_model, fingerprint, load_config

DEFAULT_MODEL = EMBEDDED.parent


@dataclass(frozen=True)
class Located:
    """A model's folder, its configuration, and its backbone's folder."""

    folder: Path
    config: ModelConfig
    backbone: Path

    @property
    def fingerprint(self) -> str:
        """Of both folders: 16 hex digits."""
        return fingerprint(self.folder, self.backbone)


def locate(
    model: str | Path | None = None, *, backbone: str | None = None, revision: str | None = None
) -> Located:
    """Find a model folder or hub id, by default the package's own, and its backbone.

    ``backbone`` replaces the one that the configuration names. Raises ``WeightsError`` or
    ``BackboneError`` saying what to fetch and where to put it, ``ConfigError`` for what is no name.
    """
    named = DEFAULT_MODEL if model is None else model
    expected = "a folder or hub id"
    if revision is not None:
        checks.text("revision", revision)
    folder = find_model(checks.location("model", named, expected), revision)
    config = load_config(folder)
    if backbone is not None:
        own = find_backbone(checks.location("backbone", backbone, expected))
        return Located(folder, config, own)
    source = backbone_reference(config, folder)
    return Located(folder, config, find_backbone(source, config.backbone_revision))
