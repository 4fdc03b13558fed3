"""When a stream that was cut off is asked for again, from its place."""

from __future__ import annotations

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

_LOSSES_IN_A_ROW = 5
_PAUSE_S = 0.2


def gone(endpoint: str) -> DaemonLost:
    """The daemon that was asked has ended."""
    return DaemonLost(f"the daemon at {endpoint} is gone")


class Resumption:
    """Decides for one reading. A daemon that ends takes leave of its streams one by one."""

    def __init__(self, reading: Reading[object], endpoint: str) -> None:
        self._keeps_place = reading.keeps_place
        self._endpoint = endpoint
        self._losses = 0

    def went_on(self) -> None:
        """Something came."""
        self._losses = 0

    def pause_s(self, error: RequestRefused | Unreachable) -> float:
        """How long to wait before asking again; raises if there is no use in that."""
        if isinstance(error, Unreachable):
            if not self._losses:
                raise error
            raise gone(self._endpoint) from error
        if isinstance(error, SlowReader):
            if not self._keeps_place:
                raise error
            return 0.0
        self._losses += 1
        if self._losses > _LOSSES_IN_A_ROW:
            raise gone(self._endpoint) from error
        return _PAUSE_S
