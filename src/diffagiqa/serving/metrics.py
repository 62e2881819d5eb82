"""What the service counts, for Prometheus."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from diffagiqa.serving.requests import Refused

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """Requests by status, their duration, images by outcome, and the open requests."""

    def __init__(self, queue_limit: int, open_requests: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        settings: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter(
            "diffagiqa_requests", "Requests for scores by status.", ["status"], **settings
        )
        self.seconds = Histogram(
            "diffagiqa_request_seconds", "Duration of requests.", buckets=_SECONDS, **settings
        )
        self.images = Counter("diffagiqa_images", "Images by outcome.", ["outcome"], **settings)
        Gauge("diffagiqa_open_requests", "Requests being served.", **settings).set_function(
            open_requests
        )
        Gauge("diffagiqa_queue_limit", "Most requests at a time.", **settings).set(queue_limit)

    async def timed(self, answer: Callable[[], Awaitable[Any]]) -> Any:
        """Await an answer and count it by its status."""
        begin, status = time.monotonic(), 500
        try:
            response = await answer()
            status = response.status_code
            return response
        except Refused as fault:
            status = fault.status
            raise
        except asyncio.CancelledError:  # Serve ends what nobody waits for any more
            status = 499
            raise
        finally:
            self.requests.labels(str(status)).inc()
            self.seconds.observe(time.monotonic() - begin)

    def count_images(self, scored: int, failed: int) -> None:
        self.images.labels("scored").inc(scored)
        self.images.labels("failed").inc(failed)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)
