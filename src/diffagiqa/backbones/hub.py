"""A repository of the Hugging Face hub -> its folder in the local cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diffagiqa.errors import DiffAGIQAError


def is_hub_id(name: str) -> bool:
    """Whether a name that is no folder here may be one of the hub's, ``owner/name``.

    >>> [is_hub_id(name) for name in ("owner/name", "./name", "a/b/c", "name")]
    [True, False, False, False]
    """
    return not name.startswith((".", "/", "~")) and name.count("/") == 1


def fetch(
    hub_id: str,
    revision: str | None,
    *,
    patterns: Sequence[str],
    never: Sequence[str] = (),
    what: str,
    error: type[DiffAGIQAError],
) -> Path:
    """The files that match ``patterns`` and none of ``never``, from the cache or the network.

    ``what`` the repository holds is said where it cannot be had, in an ``error``.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    try:
        return Path(
            snapshot_download(
                hub_id, revision=revision, allow_patterns=[*patterns], ignore_patterns=[*never]
            )
        )
    except GatedRepoError:
        raise error(
            f"{what} {hub_id} is given to those who accept its licence: do so on "
            f"https://huggingface.co/{hub_id}, then hf auth login"
        ) from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError, ValueError):
        at = f" at revision {revision}" if revision else ""
        raise error(
            f"{what} {hub_id}{at} is neither a local folder nor in the hub cache, and the hub did not "
            f"give it; fetch it where there is a network (hf download {hub_id} --local-dir FOLDER) "
            f"and give FOLDER as the {what}"
        ) from None


def half_precision_twins(hub_id: str, revision: str | None) -> list[str]:
    """``["*.fp16.*"]`` where all such weights are there in full precision too, so that none are fetched
    twice; nothing where the hub cannot be asked."""
    from huggingface_hub import HfApi

    try:
        files = HfApi().list_repo_files(hub_id, revision=revision)
    except Exception:  # offline: what is in the cache is found without asking
        return []
    folders = [set(), set()]  # type: list[set[str]]
    for file in files:
        if file.endswith(".safetensors"):
            folders[".fp16" in file].add(file.rpartition("/")[0])
    return ["*.fp16.*"] if folders[1] <= folders[0] else []
