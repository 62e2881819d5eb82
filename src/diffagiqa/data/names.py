"""Images by name: where one lies that a table names, and which two tables mean by different paths.

Tables are written on other systems: a path may have Windows' backslashes, and its letters may be composed
("é") where the disk has them decomposed ("e" and an accent, as macOS writes), or the other way round.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from unicodedata import normalize

from diffagiqa.data.samples import printable, protocol
from diffagiqa.errors import TableError

_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\")


def locate(name: str, folder: str, confined: bool = False) -> str:
    """Where an image named in a table lies, its name relative to a folder, here or in a store.

    A name that is not there as written is looked for without spaces around it, with slashes for
    backslashes, and with composed or decomposed letters. A relative name never leads out of its folder.

    Args:
        confined: refuse full paths and URLs too.

    Raises:
        TableError: the name leads elsewhere, or is a full path of Windows on another system.
    """
    full = bool(protocol(name)) or os.path.isabs(name)
    if full and confined:
        raise TableError(f"{printable(name)} is a full path; with a root, give it relative to it.")
    path = name if full else _join(folder, name.replace(os.sep, "/"))
    if protocol(path):
        return path if full else _join(folder, name.replace("\\", "/"))
    plain = path.isascii() and "\\" not in name and name[1:2] != ":" and name == name.strip()
    if plain or os.path.lexists(path):
        return path
    if not full and _WINDOWS.match(name):
        raise TableError(
            f"{printable(name)} is a full path of Windows, which is not on this machine; "
            "give it relative to the table or to a root."
        )
    path = path if full else _join(folder, name.strip().replace("\\", "/"))
    return in_other_letters(path) or path


def _join(folder: str, name: str) -> str:
    relative = posixpath.normpath(name)
    if relative == ".." or relative.startswith("../"):
        raise TableError(
            f"{printable(name)} leads out of the folder of the images; "
            "name the folder above it as root, and the image relative to it."
        )
    return (
        f"{folder.rstrip('/')}/{relative}" if protocol(folder) else os.path.join(folder, relative)
    )


def in_other_letters(path: str) -> str | None:
    """What a path means with composed or decomposed letters in its parts; None where nothing is there."""
    here = ""
    for part in Path(path).parts:
        forms = dict.fromkeys((part, normalize("NFC", part), normalize("NFD", part)))
        paths = (os.path.join(here, form) for form in forms)
        there = next((form for form in paths if os.path.lexists(form)), None)
        if there is None:
            return None
        here = there
    return here


class NameIndex:
    """Names of images, found as they are given, else by the parts they share from the end.

    >>> index = NameIndex(["a/cat.png", "b/cat.png", "dog.png"])
    >>> index.find("in/b/cat.png"), index.find("in/dog.png"), index.find("fox.png")
    (['b/cat.png'], ['dog.png'], [])
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._exact = dict.fromkeys(names)
        self._by_end: dict[str, list[str]] = {}
        for name in self._exact:
            for end in _ends(name):
                self._by_end.setdefault(end, []).append(name)

    def find(self, image: str) -> list[str]:
        """The name itself, else all that share the most parts with it; none where no last part is its."""
        if image in self._exact:
            return [image]
        return next((self._by_end[end] for end in _ends(image) if end in self._by_end), [])


def _ends(name: str) -> list[str]:
    """A path and all that it ends with, longest first."""
    parts = path_parts(name)
    return ["/".join(parts[start:]) for start in range(len(parts))]


def path_parts(name: str) -> list[str]:
    """A path or URL from its first folder to its last part, as systems and Unicode forms write it alike.

    >>> path_parts("./renders/cat.png"), path_parts("renders\\\\cafe\u0301.png")
    (['renders', 'cat.png'], ['renders', 'café.png'])
    """
    parts = normalize("NFC", name).replace("\\", "/").split("/")
    return [part for part in parts if part not in ("", ".")] or [""]


def shared_parts(path: Sequence[str], other: Sequence[str]) -> int:
    """How many parts two paths share from the beginning.

    >>> shared_parts(["renders", "a"], ["renders", "b"])
    1
    """
    pairs = zip(path, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(path), len(other)))
