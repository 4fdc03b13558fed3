"""The whole tree of one workload: everything it started, wherever that went.

With a cgroup the kernel keeps the tree. Without one the governor is a child subreaper: whatever of
the workload loses its parent becomes the governor's child, so the tree is empty exactly when the
governor has no child left (ECHILD).
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Literal

from intendant.process.cgroup import Cgroup
from intendant.process.descendants import descendants, kill_descendants, signal_each
from intendant.process.identity import (
    send_group_signal,
    start_time,
)
from intendant.process.reaper import Reaper

TreeMethod = Literal["cgroup", "subreaper"]


class WorkloadTree:
    """The tree below a governor: its leader's process group, and all that left it."""

    def __init__(self, leader: int, *, reaper: Reaper, cgroup: Cgroup | None) -> None:
        self._leader = leader
        self._reaper = reaper
        self._cgroup = cgroup

    @property
    def method(self) -> TreeMethod:
        """What keeps the tree together."""
        return "subreaper" if self._cgroup is None else "cgroup"

    def is_empty(self) -> bool:
        """Whether nothing is left, as far as the method in use can know."""
        return not self._reaper.has_children() and (self._cgroup is None or self._cgroup.is_empty())

    def ask(self) -> None:
        """SIGTERM, and SIGCONT so that a stopped process can act on it.

        To the leader's group while the leader lives, as a terminal would; afterwards to everyone
        who is left. The group's number can't be given out again before the leader is reaped.
        """
        if self._leader not in self._reaper.statuses:
            send_group_signal(self._leader, signal.SIGTERM)
            send_group_signal(self._leader, signal.SIGCONT)
            return
        left = self._members()
        signal_each(left, signal.SIGTERM)
        signal_each(left, signal.SIGCONT)

    async def kill(self) -> None:
        """SIGKILL to the whole tree, again and again until nothing is left. Bound it outside."""
        if self._cgroup is not None:
            self._cgroup.kill()
            await self._cgroup.wait_empty()
        while self._reaper.has_children():
            killed = kill_descendants(os.getpid())
            await asyncio.sleep(0)  # let a bound that has passed come in between two passes
            await self._reaper.wait_until(self._needs_more_than(killed))

    async def wait_empty(self) -> None:
        """Return once nothing is left."""
        await self._reaper.wait_until(lambda: not self._reaper.has_children())
        if self._cgroup is not None:
            await self._cgroup.wait_empty()

    def _members(self) -> dict[int, int]:
        if self._cgroup is None:
            return descendants(os.getpid())
        return {pid: start for pid in self._cgroup.members() if (start := start_time(pid))}

    def _needs_more_than(self, killed: dict[int, int]) -> Callable[[], bool]:
        """Nothing is left, or somebody whom that pass of killing has missed."""
        return lambda: (
            not self._reaper.has_children()
            or not descendants(os.getpid()).items() <= killed.items()
        )
