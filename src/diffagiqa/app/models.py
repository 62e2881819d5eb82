"""The models that the page offers; one is held in memory at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from diffagiqa.data.images import ImageLimits
from diffagiqa.errors import WeightsError
from diffagiqa.scorer import Scorer

PACKAGED = "in the package"
LIMITS = ImageLimits(max_bytes=50_000_000, max_pixels=50_000_000)


def load(name: str | None, **options: Any) -> Scorer:
    """A model that takes images up to this page's limits."""
    return Scorer.from_pretrained(name, limits=LIMITS, **options)


class Models:
    """Model folders and hub ids by name, loaded when first asked for.

    Only what was named at the start can be loaded: a visitor chooses, and never types a path.
    """

    def __init__(
        self, names: Sequence[str] = (), load: Callable[[str | None], Scorer] = load
    ) -> None:
        self._sources: dict[str, str | None] = {}
        for name in names:
            label = Path(name).name if Path(name).name not in self._sources else name
            self._sources[label] = name
        if not self._sources:
            self._sources = {PACKAGED: None}
        self._load = load
        self._lock = threading.Lock()
        self._held: tuple[str, Scorer] | None = None

    @property
    def names(self) -> list[str]:
        return list(self._sources)

    def get(self, name: str | None = None) -> Scorer:
        """The scorer of that name; default: the first.

        Raises:
            WeightsError: the name is not offered, or the model cannot be loaded.
        """
        name = name or self.names[0]
        if name not in self._sources:
            raise WeightsError(f"this page offers no model of that name; choose {self.names[0]}")
        with self._lock:
            if self._held is None or self._held[0] != name:
                self._held = None  # give the memory back before the next one comes
                self._held = (name, self._load(self._sources[name]))
            return self._held[1]
