"""Digests of large files: right, and computed once."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from diffagiqa.data import digest
from diffagiqa.data.digest import digest_of


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_it_is_computed_once_and_follows_the_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a b é.safetensors"
    file.write_bytes(b"one")
    assert digest_of(file) == sha(b"one")
    with monkeypatch.context() as without:
        without.setattr(digest.hashlib, "sha256", lambda key: hashlib.new("sha256", key))
        assert digest_of(file) == sha(b"one")  # the content is hashed by sha256(), which fails here
    later = file.stat().st_mtime_ns + 1
    file.write_bytes(b"two")
    os.utime(file, ns=(later, later))
    assert digest_of(file) == sha(b"two")
    link = tmp_path / "link"
    link.symlink_to(file)
    assert digest_of(link) == sha(b"two")


def test_a_cache_that_is_damaged_or_cannot_be_written_is_passed_over(
    tmp_path: Path, cache: Path
) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    digest_of(file)
    (kept,) = (path for path in cache.rglob("*") if path.is_file())
    for damage in (b"", b"\xff", b"0" * 63):
        kept.write_bytes(damage)
        assert digest_of(file) == sha(b"one")
    kept.unlink()
    kept.parent.rmdir()
    kept.parent.write_text("in the way")
    assert digest_of(file) == sha(b"one")


def test_the_hubs_cache_names_files_by_their_digest(tmp_path: Path) -> None:
    blob = tmp_path / "blobs" / sha(b"one")
    blob.parent.mkdir()
    blob.write_bytes(b"never read")
    (tmp_path / "model.safetensors").symlink_to(blob)
    assert digest_of(tmp_path / "model.safetensors") == sha(b"one")
