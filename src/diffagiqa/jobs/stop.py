"""SIGINT and SIGTERM as a request that the work looks at between two batches."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class Stopped(Exception):  # noqa: N818  # a request that was granted, not a fault
    """The work ended early because a signal asked for it; what was done is kept."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum


class StopRequest:
    """Within ``with``, the first SIGINT or SIGTERM is noted; a second one ends the process at once."""

    def __init__(self) -> None:
        self.signum: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        self.listen()
        return self

    def listen(self) -> None:
        """Take the signals, also back from a library that has put its own handlers in place."""
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM):
                before = signal.signal(signum, self._note)
                self._before.setdefault(signum, before)

    def __exit__(self, *_: Any) -> None:
        for signum, before in self._before.items():
            signal.signal(signum, before)

    def _note(self, signum: int, _: FrameType | None) -> None:
        self.signum = signum
        signal.signal(signum, signal.SIG_DFL)

    def check(self) -> None:
        """Raise Stopped where a signal has come."""
        if self.signum is not None:
            raise Stopped(self.signum)
