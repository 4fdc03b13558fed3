"""Who wants to hear of changes: those who wait for runs, follow logs or read events.

A subscription keeps at most the newest record of each run it is about, and a flag; so a slow
reader costs no more memory than a fast one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

from intendant.protocol.records import RunRecord


class Subscription:
    """The changes since the last look."""

    def __init__(self, run_ids: Collection[int] | None) -> None:
        self._run_ids = None if run_ids is None else frozenset(run_ids)
        self._changed: dict[int, RunRecord] = {}
        self._woken = asyncio.Event()

    def offer(self, record: RunRecord) -> None:
        """A run has changed."""
        if self._run_ids is None:
            self._woken.set()  # about every run: only that something happened
        elif record.id in self._run_ids:
            self._changed.pop(record.id, None)
            self._changed[record.id] = record
            self._woken.set()

    async def wait_changes(self) -> list[RunRecord]:
        """The newest record of each run that changed, in the order of the changes."""
        await self._woken.wait()
        self._woken.clear()
        changed, self._changed = self._changed, {}
        return list(changed.values())


class Hub:
    """Hands every change to every subscription."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()

    def publish(self, records: Iterable[RunRecord]) -> None:
        """These runs have changed."""
        for record in records:
            for subscription in self._subscriptions:
                subscription.offer(record)

    @contextmanager
    def subscribe(self, run_ids: Collection[int] | None) -> Iterator[Subscription]:
        """Hear of these runs (`None`: that any has changed) until the block ends."""
        subscription = Subscription(run_ids)
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
