"""What the service manager hears: the daemon is ready, does this, lives, ends."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from intendant.executor.desk import Desk
from intendant.process.service_manager import ServiceManager
from intendant.protocol.executor_states import ExecutorState

PAUSE_S = 0.5
"""Between two reports at least: many runs may begin and end in it."""


class ServiceReport:
    """Reports at each change, and as often as a sign of life is wanted."""

    def __init__(self, manager: ServiceManager) -> None:
        self._manager = manager
        self._changed = asyncio.Event()

    def note_change(self) -> None:
        """Something may have changed."""
        self._changed.set()

    async def run(self, desk: Desk) -> None:
        """Report until cancelled. That this task gets its turn is what the watchdog is told."""
        if not self._manager.is_there:
            return
        pause_s, rest_s = waits(self._manager.beat_s)
        while True:
            self._changed.clear()
            self._manager.tell(f"STATUS={_status(desk)}", "WATCHDOG=1")
            await asyncio.sleep(pause_s)
            with suppress(TimeoutError):
                async with asyncio.timeout(rest_s):
                    await self._changed.wait()

    def ready(self) -> None:
        """The daemon serves."""
        self._manager.tell("READY=1")

    def stopping(self) -> None:
        """The daemon ends: what takes too long from here on may be killed."""
        self._manager.tell("STOPPING=1")


def waits(beat_s: float | None) -> tuple[float, float | None]:
    """Between two signs of life: how long in any case, and then at most (`None`: for ever)."""
    if beat_s is None:
        return PAUSE_S, None
    pause_s = min(PAUSE_S, beat_s)
    return pause_s, beat_s - pause_s


def _status(desk: Desk) -> str:
    """`running, 3 runs live`."""
    state, live = desk.lifecycle.state, len(desk.live)
    if state in (ExecutorState.PRISTINE, ExecutorState.INITIALIZED):
        return "starting"
    return f"{state}, {live} {'run' if live == 1 else 'runs'} live"
