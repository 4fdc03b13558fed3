"""When a stream that was cut off is asked for again, from its place."""

from __future__ import annotations

from intendant.client.conversations import Reading
from intendant.errors import DaemonLost, RequestRefused, SlowReader, Unreachable, WorkerLost

CUT_OFF = (SlowReader, WorkerLost, Unreachable)
"""How a stream ends too soon."""

_LOSSES_IN_A_ROW = 5
_PAUSE_S = 0.2


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
            raise DaemonLost(f"the daemon at {self._endpoint} is gone") from error
        if isinstance(error, SlowReader):
            if not self._keeps_place:
                raise error
            return 0.0
        self._losses += 1
        if self._losses > _LOSSES_IN_A_ROW:
            raise error
        return _PAUSE_S
