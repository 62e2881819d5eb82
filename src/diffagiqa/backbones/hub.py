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
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        return Path(
            snapshot_download(
                hub_id, revision=revision, allow_patterns=[*patterns], ignore_patterns=[*never]
            )
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError, ValueError):
        at = f" at revision {revision}" if revision else ""
        raise error(
            f"{what} {hub_id}{at} is neither a local folder nor in the hub cache, and the hub did not "
            f"give it; fetch it where there is a network (hf download {hub_id} --local-dir FOLDER) "
            f"and give FOLDER as the {what}"
        ) from None
