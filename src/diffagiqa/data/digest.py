"""What names weights in results: their content, computed once where files are large."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from diffagiqa.data.atomic import write_file

LARGE = 64 << 20
"""Bytes above which a digest is kept: hashing a large backbone takes as long as reading it."""


def digest_of(file: Path) -> str:
    """SHA-256 of a file, 64 hex digits.

    A file of the hub's cache has it as its name. Others' is kept in the user's cache folder, by the
    file's place, size and time of change; where that cannot be written, it is computed every time.
    """
    real = file.resolve()
    if real.parent.name == "blobs" and _is_digest(real.name):
        return real.name
    facts = real.stat()
    key = f"{real}\0{facts.st_size}\0{facts.st_mtime_ns}\0{facts.st_ino}"
    kept = _folder() / hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
    try:
        if _is_digest(text := kept.read_text(encoding="ascii")):
            return text
    except (OSError, ValueError):
        pass
    digest = hashlib.sha256()
    with real.open("rb") as stream:
        while block := stream.read(1 << 22):
            digest.update(block)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_file(kept, digest.hexdigest().encode())
    except OSError:
        pass
    return digest.hexdigest()


def _is_digest(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{64}", text) is not None


def _folder() -> Path:
    return (
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "diffagiqa" / "digests"
    )
