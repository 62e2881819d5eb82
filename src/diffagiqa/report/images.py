"""Where the images of a table of scores lie, also after the folder of both has moved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ImageFinder:
    """Finds images by the columns ``image`` and ``file`` of a table of scores.

    Attributes:
        root: folder that ``image`` is relative to, and nothing outside of it is found; None: see below.
        scores: without ``root``, the folder of the table, which ``file`` is relative to, and where
            ``image`` is looked for after the current folder.
    """

    root: Path | None = None
    scores: Path | None = None

    def find(self, image: str, file: object = None) -> Path | None:
        """The image's file, or None where it is not there or may not be shown.

        What is in a store is not fetched.
        """
        try:
            return next((path for path in self._places(image, file) if path.is_file()), None)
        except (OSError, ValueError):  # a name that no file can have
            return None

    def _places(self, image: str, file: object) -> Iterator[Path]:
        if isinstance(file, str) and file and "://" not in file and self.root is None:
            yield (self.scores or Path()) / file
        if not image or "://" in image:
            return
        if self.root is None:
            yield Path(image)
        folder = self.scores if self.root is None else self.root
        if folder is not None:
            path = (folder / image).resolve()
            if path.is_relative_to(folder.resolve()):
                yield path
