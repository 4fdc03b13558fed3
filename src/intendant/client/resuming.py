"""When a stream that was cut off is asked for again, from its place."""

from __future__ import annotations

import time
from collections.abc import Callable

from intendant.client.conversations import Reading
from intendant.errors import (
    DaemonLost,
    RequestRefused,
    ServiceUnknown,
    SlowReader,
    Unreachable,
    WorkerLost,
)

BEREFT = (WorkerLost, ServiceUnknown)
"""What a broker says whose daemon has ended, until it ends too."""
CUT_OFF = (SlowReader, Unreachable, *BEREFT)
"""How a stream ends too soon."""

COMES_BACK_S = 10.0
"""How long a daemon may be away that ended while it was read: it may be restarted."""
_PAUSE_S = 0.2


def gone(endpoint: str) -> DaemonLost:
    """The daemon that was asked has ended."""
    return DaemonLost(f"the daemon at {endpoint} is gone")


class Resumption:
    """Decides for one reading. A daemon that ends takes leave of its streams one by one."""

    def __init__(
        self,
        reading: Reading[object],
        endpoint: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keeps_place = reading.keeps_place
        self._limit = reading.limit
        self._endpoint = endpoint
        self._clock = clock
        self._lost_at: float | None = None
        self._failed_at = 0.0
        # When the stream must have ended, by the clock.
        self.deadline = None if self._limit is None else clock() + self._limit.timeout_s

    def went_on(self) -> None:
        """Something came."""
        self._lost_at = None

    def pause_s(self, error: RequestRefused | Unreachable) -> float:
        """How long to wait before asking again; raises if there is no use in that."""
        if isinstance(error, SlowReader):
            if not self._keeps_place:
                raise error
            return 0.0
        if self._lost_at is None and isinstance(error, Unreachable):
            raise error
        now = self._clock()
        if self._limit and self.deadline is not None and now >= self.deadline:
            raise self._limit.passed() from error
        if self._lost_at is None or now - self._failed_at > COMES_BACK_S:
            self._lost_at = now  # it was there in between, and had nothing to say
        self._failed_at = now
        if now - self._lost_at > COMES_BACK_S:
            raise gone(self._endpoint) from error
        return _PAUSE_S
