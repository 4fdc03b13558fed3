"""What must be done and can't be for the moment: shown to people, and not tried without end.

The run keeps its state meanwhile. Once the daemon is to end, what the next one finds in the spool
anyway is left to that; one that drains has time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypeVar

from intendant.errors import LeftToRecovery
from intendant.process.waits import first_of
from intendant.store.insist import insist

T = TypeVar("T")

LEAVE_S = 5.0
"""How long a daemon that is to end, and does not drain, tries on."""
_LAST_TRIES_S = 0.5


@dataclass(frozen=True, slots=True)
class Trouble:
    """What can't be done, of which run, why, since when."""

    what: str
    run_id: int
    error: str
    since: datetime

    @property
    def text(self) -> str:
        """As people read it."""
        return f"its {self.what} can't be recorded ({self.error})"


def in_a_line(troubles: Sequence[Trouble]) -> str | None:
    """All of them in a line that names no run, as not everybody knows all; `None`: none."""
    if not troubles:
        return None
    count = len({trouble.run_id for trouble in troubles})
    return f"{count} {'run' if count == 1 else 'runs'} can't go on: {troubles[0].text}"


class Troubles:
    """The troubles there are. `now` is for people; what is bounded goes by the loop's clock."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._shown: dict[tuple[int, str], Trouble] = {}
        self._hurried = asyncio.Event()

    def all(self) -> list[Trouble]:
        """Those there are now, the oldest first."""
        return list(self._shown.values())

    def of(self, run_id: int) -> Trouble | None:
        """What keeps this run, if something does."""
        return next((each for each in self._shown.values() if each.run_id == run_id), None)

    def hurry(self) -> None:
        """The daemon is to end, and does not drain: what can be left is left soon."""
        self._hurried.set()

    async def insist(
        self,
        what: str,
        act: Callable[[], Awaitable[T]],
        *,
        run_id: int,
        can_be_left: bool = False,
    ) -> T:
        """What `act` gives, tried again and again while the disk refuses.

        `LeftToRecovery` if it `can_be_left`, and the daemon was told to `hurry` `LEAVE_S` ago.
        """
        pause = _Leaving(self._hurried, f"run {run_id}: {what}") if can_be_left else asyncio.sleep
        try:
            return await insist(what, act, on_error=partial(self._note, what, run_id), pause=pause)
        finally:
            self._shown.pop((run_id, what), None)

    @contextmanager
    def shown(self, what: str, error: Exception, *, run_id: int) -> Iterator[None]:
        """Show a trouble during the block."""
        self._note(what, run_id, error)
        try:
            yield
        finally:
            self._shown.pop((run_id, what), None)

    def _note(self, what: str, run_id: int, error: Exception) -> None:
        known = self._shown.get((run_id, what))
        since = self._now() if known is None else known.since
        self._shown[run_id, what] = Trouble(what, run_id, str(error), since)


class _Leaving:
    """Pauses between tries that end some time after the daemon is to end."""

    def __init__(self, hurried: asyncio.Event, what: str) -> None:
        self._hurried = hurried
        self._what = what
        self._leave_at: float | None = None

    async def __call__(self, delay_s: float) -> None:
        if not self._hurried.is_set():
            await first_of(self._hurried.wait(), limit_s=delay_s)
            return
        loop = asyncio.get_running_loop()
        if self._leave_at is None:
            self._leave_at = loop.time() + LEAVE_S
        if loop.time() > self._leave_at:
            raise LeftToRecovery(self._what)
        await asyncio.sleep(min(delay_s, _LAST_TRIES_S))
