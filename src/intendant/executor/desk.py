"""What requests, scheduling and recovery share: the parts, the live runs, the daemon's state."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from intendant.errors import LeftToRecovery, RunUnreadable
from intendant.executor.access import Audit
from intendant.executor.hub import Hub
from intendant.executor.lifecycle import Lifecycle
from intendant.executor.parts import Parts
from intendant.executor.schedule import QueueState, free_slots, may_let_start
from intendant.executor.stop import stop_of
from intendant.executor.supervise import Supervision
from intendant.protocol.records import QueueRecord
from intendant.store.insist import insist
from intendant.store.rows import RunRow

log = structlog.get_logger()


@dataclass(slots=True)
class Desk:
    """The executor's own memory; all of it can be made again from store and spool."""

    parts: Parts
    hub: Hub
    lifecycle: Lifecycle
    runtime_dir: Path
    started_at: datetime
    live: dict[int, Supervision] = field(default_factory=dict)
    """By run the attempts that are not over; all but those that only wait hold a slot."""
    put_aside: set[int] = field(default_factory=set)
    """Runs that this daemon can do nothing with."""
    queues: dict[str, QueueState] = field(default_factory=dict)
    queue_changes: int = 0
    """How many have been noted."""
    queues_doubtful: bool = False
    """A change of one was reported failed, and may be on disk all the same."""
    audit: Audit = field(default_factory=Audit)
    schedule_wanted: asyncio.Event = field(default_factory=asyncio.Event)
    slot_freed: asyncio.Event = field(default_factory=asyncio.Event)
    stops_wanted: asyncio.Event = field(default_factory=asyncio.Event)
    """The store may know of wishes to stop that live runs have not been told of."""

    def live_by_queue(self) -> Counter[str]:
        """How many slots each queue holds."""
        holders = (each for each in self.live.values() if each.holds_slot)
        return Counter(supervision.queue for supervision in holders)

    def free_slots(self) -> dict[str, int]:
        """How many runs of each queue could start now, where any could."""
        slots = self.parts.settings.slots
        return free_slots(self.queues.values(), self.live_by_queue(), slots=slots)

    def parents(self) -> list[int]:
        """The live runs that hold no slot: they only wait for runs of their own."""
        return [run_id for run_id, each in self.live.items() if not each.holds_slot]

    def is_granted(self, run_id: int) -> bool:
        """Whether the run lives, and that is on disk."""
        return run_id in self.live and self.live[run_id].is_granted

    def notice(self, service: str, is_present: bool) -> None:
        """The broker hears of a governor, or no longer."""
        for supervision in self.live.values():
            if supervision.service == service:
                supervision.notice(is_present=is_present)

    def expect_words(self) -> None:
        """A new broker comes: every governor must register again."""
        for supervision in self.live.values():
            supervision.expect_word()

    def note_runs(self, rows: Sequence[RunRow]) -> None:
        """Runs have changed, which may let one start."""
        if may_let_start(rows, self.free_slots):
            self.schedule_wanted.set()

    def note_queue(self, record: QueueRecord) -> None:
        """A queue has changed."""
        self.queues[record.name] = QueueState(record.name, record.slots, record.paused)
        self.queue_changes += 1
        self.schedule_wanted.set()

    def forget_queue(self, name: str) -> None:
        """A queue has been removed."""
        self.queues.pop(name, None)
        self.queue_changes += 1

    def doubt_queues(self) -> None:
        """Have the queues looked at again before anything starts."""
        self.queues_doubtful = True
        self.schedule_wanted.set()

    def put_run_aside(self, run_id: int, error: RunUnreadable) -> None:
        """Do nothing more with a run: it, or one that depends on it, can't be read."""
        self.put_aside.add(run_id)
        log.critical("run_put_aside", run_id=run_id, error=str(error))

    async def follow_stops(self) -> None:
        """Tell live runs of wishes that only the store knows of, until cancelled.

        They come with the end of a pipeline, or with a cancel that was reported failed.
        """
        while True:
            await self.stops_wanted.wait()
            self.stops_wanted.clear()
            for live in await insist("stops", self.parts.store.live):
                supervision, stop = self.live.get(live.run.id), stop_of(live)
                if supervision is not None and stop is not None:
                    supervision.stop(stop)

    async def hold_slot(self, supervision: Supervision, life: Coroutine[Any, Any, None]) -> None:
        """Live an attempt's life; its slot, taken before, is given back at the end of it."""
        try:
            await life
        except LeftToRecovery as error:
            log.critical("run_left_to_recovery", run_id=supervision.run_id, error=str(error))
        except RunUnreadable as error:
            self.put_run_aside(supervision.run_id, error)
        finally:
            del self.live[supervision.run_id]
            self.slot_freed.set()
            self.schedule_wanted.set()
