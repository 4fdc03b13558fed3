"""Ending a tree: asked, then SIGTERM, then SIGKILL until nothing is left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from intendant.process.reaper import Reaper
from intendant.process.tree import WorkloadTree
from intendant.process.waits import first_of
from intendant.protocol.run_states import RunNote

log = structlog.get_logger()

KILL_WAIT_S = 3.0
"""How long the kernel may take over a SIGKILL before the tree counts as unkillable."""
RETRY_FIRST_S = 1.0
RETRY_MAX_S = 60.0


class Escalation:
    """The way one tree is ended. `hurry` may be set at any time: no grace from then on."""

    def __init__(
        self, tree: WorkloadTree, *, leader: int, reaper: Reaper, note: Callable[[RunNote], None]
    ) -> None:
        self._tree = tree
        self._leader = leader
        self._reaper = reaper
        self._note = note
        self.hurry = asyncio.Event()

    async def ask(self, ask: Callable[[], None], *, patience_s: float) -> bool:
        """Ask the workload itself; whether the tree is empty before the patience is over."""
        if self.hurry.is_set():
            return False
        ask()
        self._note(RunNote.ASKED_TO_END)
        return await self._ebbs_within(patience_s)

    async def end(self, *, grace_s: float) -> None:
        """Return once the tree is empty, however long that takes."""
        if not self.hurry.is_set():
            self._tree.ask()
            self._note(RunNote.TERM_SENT)
            if await self._ebbs_within(grace_s):
                return
            self._note(RunNote.GRACE_EXPIRED)
        await self._kill()

    async def _ebbs_within(self, grace_s: float) -> bool:
        """Whether the tree empties by itself before the grace, or the patience, is over."""
        is_empty, _ = await first_of(self._ebb(), self.hurry.wait(), limit_s=grace_s)
        return is_empty

    async def _ebb(self) -> None:
        await self._reaper.wait_exit(self._leader)
        if not self._tree.is_empty():
            self._tree.ask()  # those outside the leader's group have not heard of it yet
        await self._tree.wait_empty()

    async def _kill(self) -> None:
        retry_s = RETRY_FIRST_S
        self._note(RunNote.TREE_KILLED)
        while not await _within(KILL_WAIT_S, self._tree.kill()):
            log.error("tree_unkillable", retry_in_s=retry_s)
            if retry_s == RETRY_FIRST_S:
                self._note(RunNote.UNKILLABLE)
            await _within(retry_s, self._tree.wait_empty())
            retry_s = min(2 * retry_s, RETRY_MAX_S)


async def _within(limit_s: float, work: Coroutine[Any, Any, None]) -> bool:
    try:
        async with asyncio.timeout(limit_s):
            await work
    except TimeoutError:
        return False
    return True
