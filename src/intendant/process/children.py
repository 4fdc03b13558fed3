"""The executor's children: which are known, what to do with the others, and how to reap them.

The executor is a subreaper. What it started is known; so is a governor, once it has told its pid.
Any other child is an orphan: something that a dead governor left behind. Orphans are killed with
all that is below them and reaped, each by its pid; but not while a governor is being born, which
looks like one of them until it is known.

Whose an orphan was can't be told for sure once its parent is dead. But while a governor lives, what
it started is never ours: an orphan that was seen then, or that is in the session of another
governor, was not this one's, and does not keep this one's end from being recorded.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from intendant.process.descendants import kill_descendants
from intendant.process.identity import children, process_stat


class Children:
    """Enter it inside the event loop; it hears of SIGCHLD from then on."""

    def __init__(self, known: Iterable[int] = ()) -> None:
        self._known = set(known)
        self._to_reap: set[int] = set()
        self._heard: list[asyncio.Future[None]] = []
        self._alive_before: dict[int, frozenset[int]] = {}
        """For each orphan the known children that lived when it was first seen."""
        self._census = asyncio.Lock()
        """Held while a governor is born, or orphans are told from the others."""
        self._is_look_due = False

    def __enter__(self) -> Children:
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._on_child_ended)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)

    @asynccontextmanager
    async def birth(self) -> AsyncIterator[None]:
        """Have a child in the block that can't be known before it lives; one at a time."""
        try:
            async with self._census:
                yield
        finally:
            if self._is_look_due:
                self._look_at_orphans()

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

    async def end_orphans(self, governor: int) -> None:
        """Kill every orphan and what is below it, until none is left that may be this governor's.

        Bound it outside.
        """
        loop = asyncio.get_running_loop()
        while True:
            async with self._census:
                orphans = [pid for pid in self.orphans() if self._may_be_of(governor, pid)]
                if not orphans:
                    return
                heard = loop.create_future()
                self._heard.append(heard)
                kill_descendants(os.getpid(), spare=self._known)
                is_progress = bool([pid for pid in orphans if _reap(pid)])
            if not is_progress:
                await heard

    def _may_be_of(self, governor: int, orphan: int) -> bool:
        if governor in self._alive_before.get(orphan, ()):
            return False
        stat = process_stat(orphan)
        return stat is None or stat.session == governor or stat.session not in self._known

    def _on_child_ended(self) -> None:
        self._reap_late()
        self._look_at_orphans()
        heard, self._heard = self._heard, []
        for future in heard:
            if not future.done():
                future.set_result(None)

    def _look_at_orphans(self) -> None:
        """Reap those that have ended, note when the others were there first; later if need be."""
        self._is_look_due = self._census.locked()
        if self._is_look_due:
            return
        try:
            left = [pid for pid in self.orphans() if not _reap(pid)]
        except OSError:  # no descriptor is to be had
            self._is_look_due = True
            return
        alive = frozenset(filter(_is_alive, self._known)) if left else frozenset()
        self._alive_before = {pid: self._alive_before.get(pid, alive) for pid in left}

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


def _is_alive(pid: int) -> bool:
    stat = process_stat(pid)
    return stat is not None and stat.state != "Z"
