"""Web addresses: refused unless the user names the host, then fetched over https alone.

A table may come from a stranger, and must not make this machine fetch what the stranger names. So the
hosts are a list of the user's own (``--allow-host``, ``ImageLimits.hosts``), redirects are not followed,
and ports, logins and other schemes are refused.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Collection
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

TIMEOUT = 30.0
"""Seconds without an answer, or without a further byte."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None  # an allowed host could lead anywhere


def is_web(location: str) -> bool:
    """Whether a location is a web address.

    >>> is_web("https://example.org/cat.png"), is_web("s3://bucket/cat.png")
    (True, False)
    """
    return location.lower().startswith(("http://", "https://"))


def is_allowed(url: str, hosts: Collection[str]) -> bool:
    """Whether a URL is https on port 443 of one of ``hosts`` (in any case), without a login.

    >>> is_allowed("https://example.org/cat.png", {"Example.org"})
    True
    >>> is_allowed("https://example.org:8080/cat.png", {"example.org"})
    False
    """
    try:
        parts = urlsplit(url)
        named = parts.scheme == "https" and parts.hostname in {host.lower() for host in hosts}
        return named and parts.port in (None, 443) and parts.username is None
    except ValueError:
        return False


def open_web(url: str) -> BinaryIO:
    """The bytes behind an allowed URL as a stream; raises OSError, ValueError or HTTPException."""
    opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler())
    return cast(BinaryIO, opener.open(url, timeout=TIMEOUT))
