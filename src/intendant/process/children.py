"""The executor's children: which are known, what to do with the others, and how to reap them.

The executor is a subreaper. What it started is known; so is a governor, from before its middle
process lets go of it. Any other child is an orphan: something that a dead governor left behind.
Orphans are killed with all that is below them and reaped, each by its pid.
"""

from __future__ import annotations

import asyncio
import os
import signal

from intendant.process.identity import children
from intendant.process.tree import kill_descendants


class Children:
    """Enter it inside the event loop; it hears of SIGCHLD from then on."""

    def __init__(self) -> None:
        self._known: set[int] = set()
        self._to_reap: set[int] = set()
        self._heard: list[asyncio.Future[None]] = []

    def __enter__(self) -> Children:
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._on_child_ended)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)

    def know(self, pid: int) -> None:
        """This child is no orphan."""
        self._known.add(pid)

    def forget(self, pid: int, *, is_reaped: bool) -> None:
        """This child has ended. One that could not be reaped yet is reaped as soon as it comes.

        A governor may die while its middle process lives: it is that one's zombie then, and ours
        when the middle has ended, of which SIGCHLD tells.
        """
        if is_reaped:
            self._known.discard(pid)
        else:
            self._to_reap.add(pid)
            self._reap_late()

    def orphans(self) -> list[int]:
        """The children that nobody knows, zombies among them."""
        return [pid for pid in children(os.getpid()) if pid not in self._known]

    async def end_orphans(self) -> None:
        """Kill and reap every orphan and what is below it. Bound it outside."""
        while orphans := self.orphans():
            heard = asyncio.get_running_loop().create_future()
            self._heard.append(heard)
            kill_descendants(os.getpid(), spare=self._known)
            if not [pid for pid in orphans if _reap(pid)]:
                await heard

    def _on_child_ended(self) -> None:
        self._reap_late()
        for pid in self.orphans():
            _reap(pid)
        heard, self._heard = self._heard, []
        for future in heard:
            if not future.done():
                future.set_result(None)

    def _reap_late(self) -> None:
        for pid in [pid for pid in self._to_reap if _reap(pid)]:
            self._to_reap.discard(pid)
            self._known.discard(pid)


def _reap(pid: int) -> bool:
    """Whether this child had ended and is reaped now."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG) is not None
    except ChildProcessError:
        return False
