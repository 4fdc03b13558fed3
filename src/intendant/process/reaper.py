"""The only place where a process collects its ended children, each by its pid.

A governor's children are its workload's leader and whatever of the workload was orphaned and came
to it as the subreaper. The reaper keeps the leader's status, and tells when a child has ended.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

from intendant.process.identity import exit_code


class Reaper:
    """Reaps on SIGCHLD. Enter it inside the event loop that is to be told."""

    def __init__(self) -> None:
        self.statuses: dict[int, int] = {}
        self._watched: set[int] = set()
        self._waiters: list[asyncio.Future[None]] = []

    def __enter__(self) -> Reaper:
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._on_child_ended)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)

    def watch(self, pid: int) -> None:
        """Keep the status of this child; those of all others are forgotten."""
        self._watched.add(pid)
        self._on_child_ended()

    async def wait_until(self, is_true: Callable[[], bool]) -> None:
        """Return once the condition holds; it is looked at again whenever a child has ended."""
        loop = asyncio.get_running_loop()
        while not is_true():
            waiter = loop.create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)

    async def wait_exit(self, pid: int) -> int:
        """The exit code of a watched child, or minus the signal's number, once it has ended."""
        await self.wait_until(lambda: pid in self.statuses)
        return self.statuses[pid]

    def has_children(self) -> bool:
        """Whether any child is left; the ended ones are collected first."""
        self._collect()
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return True

    def _on_child_ended(self) -> None:
        self._collect()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _collect(self) -> None:
        """Peek first, reap by pid second, so that nothing is reaped unseen."""
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            os.waitid(os.P_PID, found.si_pid, os.WEXITED | os.WNOHANG)
            if found.si_pid in self._watched:
                self.statuses[found.si_pid] = exit_code(found)
