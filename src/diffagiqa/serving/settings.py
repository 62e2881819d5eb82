"""What a service accepts and how it behaves, as data."""

from __future__ import annotations

import os
from dataclasses import dataclass

from diffagiqa.data.images import ImageLimits
from diffagiqa.errors import ConfigError

KEY_VARIABLE = "DIFFAGIQA_API_KEYS"


@dataclass(frozen=True)
class ServiceSettings:
    """Limits and behaviour of ``diffagiqa serve``.

    Attributes:
        max_queue: requests that may wait or be worked on; the next one is told 429.
        max_images: images per request.
        max_body: bytes of a request's body.
        limits: bytes and pixels of one image.
        timeout: seconds for one request, from its first byte to its answer.
        batch_size, batch_wait: images per forward pass, and seconds to wait for it to fill.
        retries: how often an image goes to another replica after one died with it.
        api_keys: keys of which a client must show one; empty asks for none.
        drain: seconds that open requests get to end after a request to stop.
    """

    max_queue: int = 64
    max_images: int = 16
    max_body: int = 64_000_000
    limits: ImageLimits = ImageLimits(max_bytes=20_000_000, max_pixels=25_000_000)  # noqa: RUF009
    timeout: float = 120.0
    batch_size: int = 8
    batch_wait: float = 0.02
    retries: int = 3
    api_keys: tuple[str, ...] = ()
    drain: float = 30.0

    def __post_init__(self) -> None:
        for name in ("max_queue", "max_images", "max_body", "batch_size", "timeout"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected more than 0")
        for name in ("batch_wait", "retries", "drain"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected 0 or more")
        if any(len(key) < 16 for key in self.api_keys):
            raise ConfigError("an API key has fewer than 16 characters; make longer ones")


def keys_from_environment() -> tuple[str, ...]:
    """The API keys in ``DIFFAGIQA_API_KEYS``, separated by commas.

    A command line would show them to every user of the machine.
    """
    return tuple(filter(None, map(str.strip, os.environ.get(KEY_VARIABLE, "").split(","))))
