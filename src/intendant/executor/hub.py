"""Who wants to hear of changes: those who wait for runs, follow logs or read events.

A subscription keeps at most the newest row of each run it is about, and a flag; so a slow reader
costs no more memory than a fast one. What is shown of a row is made when somebody looks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from intendant.protocol.records import RunRecord
from intendant.protocol.run_states import RunState
from intendant.store.rows import RunRow


class Subscription:
    """The changes since the last look."""

    def __init__(self, run_ids: Collection[int] | None, *, ends_only: bool = False) -> None:
        self._run_ids = None if run_ids is None else frozenset(run_ids)
        self._ends_only = ends_only
        self._changed: dict[int, RunRow] = {}
        self._woken = asyncio.Event()

    def offer(self, row: RunRow) -> None:
        """A run has changed."""
        if self._run_ids is None:
            self._woken.set()  # about every run: only that something happened
        elif row.id in self._run_ids and (not self._ends_only or row.state is RunState.ENDED):
            self._changed.pop(row.id, None)
            self._changed[row.id] = row
            self._woken.set()

    async def wait_changes(self) -> list[RunRecord]:
        """The newest record of each run that changed, in the order of the changes."""
        await self._woken.wait()
        self._woken.clear()
        changed, self._changed = self._changed, {}
        return [row.record() for row in changed.values()]


class Hub:
    """Hands every change to every subscription."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()

    def publish(self, rows: Sequence[RunRow]) -> None:
        """These runs have changed."""
        for subscription in self._subscriptions:
            for row in rows:
                subscription.offer(row)

    @contextmanager
    def subscribe(
        self, run_ids: Collection[int] | None, *, ends_only: bool = False
    ) -> Iterator[Subscription]:
        """Hear of these runs (`None`: that any has changed), or of their ends, in the block."""
        subscription = Subscription(run_ids, ends_only=ends_only)
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
