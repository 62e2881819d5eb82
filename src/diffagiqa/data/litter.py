"""What storage devices and operating systems leave in folders: thumbnails, resource forks, indexes."""

from __future__ import annotations

import re
from collections.abc import Iterable

_NAMES = frozenset((
    "@eadir", "#recycle", "@recycle", "@recently-snapshot", "#snapshot", "@tmp", ".@__thumb",
    "__macosx", ".ds_store", ".appledouble", ".appledb", ".spotlight-v100", ".trashes", ".fseventsd",
    "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "$recycle.bin",
    "system volume information", "lost+found", ".thumbnails", ".directory", ".picasa.ini",
))  # fmt: skip


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name is none of the user's.

    >>> [is_litter(name) for name in ("@eaDir", "._a.png", "Thumbs.db", "a.png")]
    [True, True, True, False]
    """
    return name.startswith("._") or name.lower() in _NAMES


def holds_litter(path: str, named: Iterable[str] = ()) -> bool:
    """Whether a file is litter or lies in such a folder, which the user has not ``named`` himself.

    >>> holds_litter("nas/@eaDir/a.png/THUMB.jpg"), holds_litter("nas/@eaDir/a.jpg", ["nas", "@eaDir"])
    (True, False)
    """
    return any(is_litter(part) for part in set(re.split(r"[/\\]", path)).difference(named))
